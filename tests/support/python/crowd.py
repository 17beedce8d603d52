"""A crowd of clients that want nothing but places: opens COUNT connections, RATE a second, and keeps what it gets.

    crowd.py HOST PORT COUNT RATE MANNER SOURCE SPREAD

MANNER: silent (says nothing), half (ends its sending at once), handshake (the beginning of a ClientHello, byte by byte),
command (an endless command line, byte by byte). The clients come from SOURCE, or with SPREAD from so many addresses behind it.
Prints a line when all have come; ends with its standard input.
"""

import errno
import ipaddress
import resource
import select
import socket
import sys
import time

host, port, count, rate, manner, source, spread = sys.argv[1:8]
count, rate, spread = int(count), int(rate), int(spread)
first = ipaddress.IPv4Address(source)
words = {
    "silent": b"",
    "half": b"",
    "handshake": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500),
    "command": b"EHLO " + b"x" * 500,
}[manner]
IP_BIND_ADDRESS_NO_PORT = 24
_, most = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))

# All that were opened, and of each that has something to say still how much it has said.
held, speaking = [], {}


def come(number):
    client = socket.socket()
    client.setblocking(False)
    client.setsockopt(socket.IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1)
    client.bind((str(first + number % spread), 0))
    if client.connect_ex((host, int(port))) not in (0, errno.EINPROGRESS):
        sys.exit(f"no connection from {first + number % spread}")
    held.append(client)
    if words or manner == "half":
        speaking[client] = 0


def drip():
    for client, count in list(speaking.items()):
        try:
            if manner == "half":
                client.shutdown(socket.SHUT_WR)
                del speaking[client]
            else:
                speaking[client] += client.send(words[count : count + 1])
        except BlockingIOError:
            pass
        except OSError as error:
            # Not connected yet, or sent away.
            if error.errno != errno.ENOTCONN:
                del speaking[client]


begun, said, opened = time.monotonic(), 0, 0
while True:
    now = time.monotonic()
    while opened < min(count, (now - begun) * rate):
        come(opened)
        opened += 1
        if opened == count:
            print("all have come", flush=True)
    if now - said > 0.5:
        said = now
        drip()
    if select.select([sys.stdin], [], [], 0.005)[0]:
        break
