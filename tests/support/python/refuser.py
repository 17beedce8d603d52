"""A name server that answers every question with SERVFAIL, as those do that do not know a type.

Prints `ready` when it listens, and then a line for each question.
"""
import argparse
import socket


def main() -> None:
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--host", required=True)
    given = arguments.parse_args()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind((given.host, 53))
        print("ready", flush=True)
        while True:
            question, client = server.recvfrom(4096)
            print("asked", flush=True)
            # RFC 1035 §4.1.1: a response, with RCODE 2 and the question; nothing behind it.
            flags = bytes([question[2] | 0x80, 2])
            end = question.index(0, 12) + 5
            server.sendto(question[:2] + flags + question[4:6] + bytes(6) + question[12:end], client)


main()
