"""Sends standard input as a message with smtplib and prints the EHLO keywords of the session."""
import smtplib
import sys

from server import parser, tls

arguments = parser()
arguments.add_argument("sender")
arguments.add_argument("recipient")
server = arguments.parse_args()
message = sys.stdin.buffer.read()

if server.security == "implicit":
    client = smtplib.SMTP_SSL(server.host, server.port, "client.example.net", timeout=100, context=tls(server))
else:
    client = smtplib.SMTP(server.host, server.port, "client.example.net", timeout=100)
with client:
    if server.security == "starttls":
        client.starttls(context=tls(server))
    client.ehlo()
    if server.user:
        client.login(server.user, server.password)
    options = ["BODY=8BITMIME"] if client.has_extn("8bitmime") else []
    client.sendmail(server.sender, [server.recipient], message, mail_options=options)
    for keyword, value in client.esmtp_features.items():
        print(keyword.upper(), value.strip())
