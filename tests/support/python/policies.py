"""An HTTPS server that says of each host what it was told to.

Prints `ready` when it listens, and then the host of each request.
"""
import argparse
import http.server
import json
import ssl


def main() -> None:
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--host", required=True)
    arguments.add_argument("--port", required=True, type=int)
    arguments.add_argument("--certificate", required=True)
    arguments.add_argument("--key", required=True)
    arguments.add_argument("--answers", required=True, help="a JSON file: host to status, media type, body")
    given = arguments.parse_args()
    with open(given.answers, encoding="utf-8") as file:
        answers = json.load(file)

    class Handler(http.server.BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

        def do_GET(self) -> None:
            print(self.headers["Host"], flush=True)
            status, kind, body = answers[self.headers["Host"]]
            body = body.encode()
            if self.path != "/.well-known/mta-sts.txt":
                status = 410
            self.send_response(status)
            if 300 <= status < 400:
                self.send_header("Location", "https://mta-sts.enforce.insecure.test/.well-known/mta-sts.txt")
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(given.certificate, given.key)
    server = http.server.ThreadingHTTPServer((given.host, given.port), Handler)
    server.socket = tls.wrap_socket(server.socket, server_side=True)
    print("ready", flush=True)
    server.serve_forever()


main()
