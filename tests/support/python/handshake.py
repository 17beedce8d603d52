"""Does a TLS handshake with pyOpenSSL, whose OpenSSL knows X25519MLKEM768, and prints what was agreed on.

The groups come from the file that OPENSSL_CONF names: pyOpenSSL has no call for them."""
import socket

from OpenSSL import SSL
from server import parser

# What the client says, and the beginning of the last line of the answer to it; first the greeting.
DIALOGUES = {
    "smtp": [("", "220 "), ("EHLO client.example.net", "250 "), ("STARTTLS", "220 ")],
    "lmtp": [("", "220 "), ("LHLO client.example.net", "250 "), ("STARTTLS", "220 ")],
    "imap": [("", "* OK"), ("a STARTTLS", "a OK")],
    "pop3": [("", "+OK"), ("STLS", "+OK")],
    "sieve": [("", "OK"), ("STARTTLS", "OK")],
}

arguments = parser()
arguments.add_argument("protocol", choices=DIALOGUES)
server = arguments.parse_args()


def start_tls(connection: socket.socket) -> None:
    # Nothing follows the last line before the handshake, so a buffered reader takes no byte of it.
    lines = connection.makefile("r", newline="\r\n")
    for command, answer in DIALOGUES[server.protocol]:
        if command:
            connection.sendall(command.encode() + b"\r\n")
        while line := lines.readline():
            if line.startswith(answer):
                break
        else:
            raise EOFError(f"no {answer!r} after {command!r}")


connection = socket.create_connection((server.host, server.port), timeout=100)
if server.security == "starttls":
    start_tls(connection)
connection.settimeout(None)
context = SSL.Context(SSL.TLS_CLIENT_METHOD)
context.load_verify_locations(server.ca)
context.set_verify(SSL.VERIFY_PEER)
client = SSL.Connection(context, connection)
client.set_tlsext_host_name(server.name.encode())
client.set_connect_state()
client.do_handshake()
print("version", client.get_protocol_version_name())
print("cipher", client.get_cipher_name())
print("group", client.get_group_name())
print("openssl", SSL.OpenSSL_version(SSL.OPENSSL_VERSION).decode())
