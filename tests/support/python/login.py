"""Logs in by a named SASL mechanism with Python's mail clients and prints `logged in`."""
import base64
import hashlib
import hmac
import imaplib
import poplib
import smtplib

from server import parser, tls

arguments = parser()
arguments.add_argument("protocol", choices=["smtp", "imap", "pop3"])
arguments.add_argument("mechanism")
arguments.add_argument("--initial", action="store_true", help="send the first response with the command")
server = arguments.parse_args()


class Plain:
    def __call__(self, challenge: bytes) -> bytes:
        return f"\0{server.user}\0{server.password}".encode()


class Login:
    """Answers whatever is asked: first the name, then the password."""

    def __init__(self) -> None:
        self.answers = [server.user, server.password]

    def __call__(self, challenge: bytes) -> bytes:
        return self.answers.pop(0).encode()


class CramMd5:
    def __call__(self, challenge: bytes) -> bytes:
        digest = hmac.new(server.password.encode(), challenge, "md5").hexdigest()
        return f"{server.user} {digest}".encode()


class Scram:
    """SCRAM-SHA-256 without channel binding (RFC 5802, RFC 7677); checks that the server knows the password too."""

    def __init__(self) -> None:
        self.first = f"n={server.user},r=fyko+d2lbbFgONRv9qkxdawL"
        self.step = 0

    def __call__(self, challenge: bytes) -> bytes:
        self.step += 1
        if self.step == 1:
            return b"n,," + self.first.encode()
        if self.step == 2:
            return self.prove(challenge.decode())
        assert challenge == self.expected, challenge
        return b""

    def prove(self, challenge: str) -> bytes:
        fields = dict(field.split("=", 1) for field in challenge.split(","))
        final = f"c=biws,r={fields['r']}"
        said = f"{self.first},{challenge},{final}".encode()
        salted = hashlib.pbkdf2_hmac(
            "sha256", server.password.encode(), base64.b64decode(fields["s"]), int(fields["i"])
        )
        key = sign(salted, b"Client Key")
        proof = bytes(a ^ b for a, b in zip(key, sign(hashlib.sha256(key).digest(), said)))
        self.expected = b"v=" + base64.b64encode(sign(sign(salted, b"Server Key"), said))
        return f"{final},p={base64.b64encode(proof).decode()}".encode()


def sign(key: bytes, text: bytes) -> bytes:
    return hmac.new(key, text, "sha256").digest()


def smtp(respond) -> None:
    if server.security == "implicit":
        client = smtplib.SMTP_SSL(server.host, server.port, "client.example.net", timeout=100, context=tls(server))
    else:
        client = smtplib.SMTP(server.host, server.port, "client.example.net", timeout=100)
        client.starttls(context=tls(server))
    client.ehlo()
    assert server.mechanism in client.esmtp_features["auth"].split(), client.esmtp_features
    client.auth(
        server.mechanism,
        # smtplib asks without a challenge for the initial response.
        lambda challenge=None: text(respond(challenge or b"")),
        initial_response_ok=server.initial,
    )
    client.quit()


def text(response: bytes) -> str:
    return response.decode()


def imap(respond) -> None:
    if server.security == "implicit":
        client = imaplib.IMAP4_SSL(server.host, server.port, ssl_context=tls(server), timeout=100)
    else:
        client = imaplib.IMAP4(server.host, server.port, timeout=100)
        client.starttls(tls(server))
    assert f"AUTH={server.mechanism}" in client.capabilities, client.capabilities
    client.authenticate(server.mechanism, respond)
    client.select()
    client.logout()


def pop3(respond) -> None:
    if server.security == "implicit":
        client = poplib.POP3_SSL(server.host, server.port, timeout=100, context=tls(server))
    else:
        client = poplib.POP3(server.host, server.port, timeout=100)
        client.stls(context=tls(server))
    assert server.mechanism in client.capa()["SASL"], client.capa()
    reply = client._shortcmd(f"AUTH {server.mechanism}")
    while reply.startswith(b"+ "):
        reply = client._shortcmd(base64.b64encode(respond(base64.b64decode(reply[2:]))).decode())
    client.stat()
    client.quit()


respond = {"PLAIN": Plain, "LOGIN": Login, "CRAM-MD5": CramMd5, "SCRAM-SHA-256": Scram}[server.mechanism]()
{"smtp": smtp, "imap": imap, "pop3": pop3}[server.protocol](respond)
print("logged in")
