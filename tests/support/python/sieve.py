"""Stores standard input as the active script of a user with sievelib, and prints it as the server gives it back."""
import sys

from server import parser
from sievelib.managesieve import Client

server = parser().parse_args()
client = Client(server.host, server.port, srvhostname=server.name)
tls = {"starttls": server.security == "starttls", "ssl": server.security == "implicit"}
assert client.connect(server.user, server.password, **tls), client.errmsg
assert client.putscript("test", sys.stdin.read()), client.errmsg
assert client.setactive("test"), client.errmsg
active, _ = client.listscripts()
assert active == "test", active
print(client.getscript("test"))
client.logout()
