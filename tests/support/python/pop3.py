"""Reads the last message, or what CAPA lists, with poplib."""
import poplib
import sys

from server import parser, tls

arguments = parser()
arguments.add_argument("action", choices=["capabilities", "fetch"])
server = arguments.parse_args()

if server.security == "implicit":
    client = poplib.POP3_SSL(server.host, server.port, timeout=100, context=tls(server))
else:
    client = poplib.POP3(server.host, server.port, timeout=100)
    if server.security == "starttls":
        client.stls(context=tls(server))
if server.action == "capabilities":
    for name, values in client.capa().items():
        print(name, *values)
else:
    client.user(server.user)
    client.pass_(server.password)
    count, _ = client.stat()
    _, lines, _ = client.retr(count)
    sys.stdout.buffer.write(b"".join(line + b"\r\n" for line in lines))
client.quit()
