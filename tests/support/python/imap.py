"""Reads, stores or awaits messages of INBOX with imaplib."""
import imaplib
import sys

from server import parser, tls

arguments = parser()
arguments.add_argument("action", choices=["capabilities", "fetch", "append", "idle"])
server = arguments.parse_args()


def connect() -> imaplib.IMAP4:
    if server.security == "implicit":
        return imaplib.IMAP4_SSL(server.host, server.port, ssl_context=tls(server), timeout=100)
    client = imaplib.IMAP4(server.host, server.port, timeout=100)
    if server.security == "starttls":
        client.starttls(tls(server))
    return client


def fetch(client: imaplib.IMAP4) -> None:
    _, (count,) = client.select(readonly=True)
    status, data = client.fetch(count.decode(), "(BODY.PEEK[])")
    assert status == "OK" and isinstance(data[0], tuple), (status, data)
    sys.stdout.buffer.write(data[0][1])


def append(client: imaplib.IMAP4) -> None:
    status, data = client.append("INBOX", None, None, sys.stdin.buffer.read())
    assert status == "OK", data


def idle(client: imaplib.IMAP4) -> None:
    client.select()
    client.send(b"idle IDLE\r\n")
    await_line(client, lambda line: line.startswith(b"+"))
    print("idling", flush=True)
    announced = await_line(client, lambda line: line.endswith(b"EXISTS"))
    print(announced.decode(), flush=True)
    client.send(b"DONE\r\n")
    await_line(client, lambda line: line.startswith(b"idle OK"))


def await_line(client: imaplib.IMAP4, fits) -> bytes:
    while line := client.readline():
        if fits(line.rstrip()):
            return line.rstrip()
    raise EOFError("the server closed the connection")


with connect() as client:
    before = client.capabilities
    client.login(server.user, server.password)
    match server.action:
        case "capabilities":
            print("before:", *before)
            # The server may have listed them unasked too, in its reply to the login.
            _, after = client.capability()
            print("after:", after[-1].decode())
        case "fetch":
            fetch(client)
        case "append":
            append(client)
        case "idle":
            idle(client)
if server.action == "idle":
    print("done", flush=True)
