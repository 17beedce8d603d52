"""A mail server that takes STARTTLS with one certificate, and every command.

Prints `ready` when it listens, and then the verb of each command.
"""
import argparse
import socket
import ssl
import threading


def serve(stream: socket.socket, tls: ssl.SSLContext | None) -> None:
    with stream:
        stream.sendall(b"220 sink ESMTP\r\n")
        lines = stream.makefile("rb")
        while line := lines.readline():
            verb = line.split()[0].upper() if line.split() else b""
            print(verb.decode(), flush=True)
            if verb == b"EHLO":
                stream.sendall(b"250-sink\r\n250 STARTTLS\r\n" if tls else b"250 sink\r\n")
            elif verb == b"STARTTLS" and tls:
                stream.sendall(b"220 go on\r\n")
                stream = tls.wrap_socket(stream, server_side=True)
                lines = stream.makefile("rb")
            elif verb == b"QUIT":
                stream.sendall(b"221 bye\r\n")
                return
            else:
                stream.sendall(b"250 ok\r\n")


def session(stream: socket.socket, tls: ssl.SSLContext | None) -> None:
    try:
        serve(stream, tls)
    except OSError:
        # A client that does not like the certificate goes away.
        pass


def main() -> None:
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--host", required=True)
    arguments.add_argument("--port", required=True, type=int)
    arguments.add_argument("--certificate", required=True)
    arguments.add_argument("--key", required=True)
    arguments.add_argument("--clear", action="store_true", help="offer no STARTTLS")
    given = arguments.parse_args()
    tls = None
    if not given.clear:
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(given.certificate, given.key)
    with socket.create_server((given.host, given.port)) as listener:
        print("ready", flush=True)
        while True:
            threading.Thread(target=session, args=(listener.accept()[0], tls), daemon=True).start()


main()
