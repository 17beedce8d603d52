"""A mail server that takes STARTTLS with one certificate, and every command.

Prints `ready` when it listens, and then the verb of each command.
"""
import argparse
import socket
import ssl
import threading


def serve(stream: socket.socket, tls: ssl.SSLContext | None, stalled: bool) -> None:
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
                if stalled:
                    threading.Event().wait()
                stream = tls.wrap_socket(stream, server_side=True)
                lines = stream.makefile("rb")
            elif verb == b"QUIT":
                stream.sendall(b"221 bye\r\n")
                return
            else:
                stream.sendall(b"250 ok\r\n")


def session(stream: socket.socket, tls: ssl.SSLContext | None, stalled: bool) -> None:
    try:
        serve(stream, tls, stalled)
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
    arguments.add_argument("--newest", help="the newest version of TLS that it knows, such as TLSv1_1")
    arguments.add_argument("--ciphers", help="the ciphers that it knows, in OpenSSL's words")
    arguments.add_argument("--dh", help="a file of parameters for Diffie-Hellman")
    arguments.add_argument("--stalled", action="store_true", help="begin no handshake")
    given = arguments.parse_args()
    tls = None
    if not given.clear:
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(given.certificate, given.key)
        if given.newest:
            tls.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
            tls.maximum_version = ssl.TLSVersion[given.newest]
        if given.dh:
            tls.load_dh_params(given.dh)
        # OpenSSL itself would rather not know what is this old.
        tls.set_ciphers((given.ciphers or "ALL") + ":@SECLEVEL=0")
    with socket.create_server((given.host, given.port)) as listener:
        print("ready", flush=True)
        while True:
            threading.Thread(target=session, args=(listener.accept()[0], tls, given.stalled), daemon=True).start()


main()
