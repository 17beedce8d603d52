"""What every script here is told about the server, and the TLS settings that follow from it."""
import argparse
import ssl


def parser() -> argparse.ArgumentParser:
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--host", required=True)
    arguments.add_argument("--port", required=True, type=int)
    arguments.add_argument("--name", required=True, help="the server's name, for SNI and the certificate")
    arguments.add_argument("--ca", default="", help="PEM file of the one authority that is trusted")
    arguments.add_argument("--security", required=True, choices=["plain", "starttls", "implicit"])
    arguments.add_argument("--user", default="", help="nobody logs in when it is empty")
    arguments.add_argument("--password", default="")
    return arguments


class NamedContext(ssl.SSLContext):
    """Python's mail clients connect to an address here, but must name the server and check its certificate by its name."""

    name = ""

    def wrap_socket(self, sock, *args, **kwargs):
        kwargs["server_hostname"] = self.name
        return super().wrap_socket(sock, *args, **kwargs)


def tls(server: argparse.Namespace) -> ssl.SSLContext:
    context = NamedContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cafile=server.ca)
    context.name = server.name
    return context
