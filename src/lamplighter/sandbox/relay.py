"""The relay: takes what functions connect to, and connects there for them, if they may reach it.

A process of its own on the host's network: so bulk costs the service no turn of its loop, and a destination is judged
by its address at the moment of connecting, whatever name it had. It needs no right but to connect, and keeps no other:
no root, no files but the resolvers' addresses, and the system calls that guests have. `ways.py` starts it, again if it
dies; `way.py` is what it does for one environment.
"""

import asyncio
import codecs
import gc
import resource
import socket
import sys
from pathlib import Path

import uvloop

from lamplighter.sandbox.channel import Channel
from lamplighter.sandbox.confinement import confine
from lamplighter.sandbox.reach import Reach, networks
from lamplighter.sandbox.way import Outside, Way

RESOLV_CONF = Path("/etc/resolv.conf")
_NICENESS = 5  # the service and functions come first
_OWN = 256  # descriptors, for what isn't a connection


class Relay:
    def __init__(self, channel: Channel, outside: Outside) -> None:
        self._channel = channel
        self._outside = outside
        self._ways: dict[int, Way] = {}
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def on_packet(self) -> None:
        while True:
            try:
                packet = self._channel.receive()
            except BlockingIOError:
                return
            if packet is None:
                if not self.ended.done():
                    self.ended.set_result(None)
                return
            body, descriptors = packet
            if "open" in body:
                self._ways[body["open"]] = Way(self._outside, [socket.socket(fileno=each) for each in descriptors])
            elif "close" in body:
                if way := self._ways.pop(body["close"], None):
                    way.close()
            else:
                self._outside.reach = Reach(networks(body["allowed"]), networks(body["refused"]))


async def _serve(channel: Channel, outside: Outside) -> None:
    relay = Relay(channel, outside)
    loop = asyncio.get_running_loop()
    loop.add_reader(channel, relay.on_packet)
    await relay.ended
    loop.remove_reader(channel)


def main() -> None:
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    own = socket.socket(fileno=int(sys.argv[1]))
    own.setblocking(False)
    outside = Outside((most - _OWN) // 3, RESOLV_CONF)  # two for a connection, and those of the environments
    codecs.lookup("idna")  # the event loop reads addresses with it
    # Before there is an event loop: it would begin with io_uring, which guests haven't, and be stopped.
    confine(_NICENESS, RESOLV_CONF.resolve().parent)
    gc.freeze()
    uvloop.run(_serve(Channel(own), outside))


if __name__ == "__main__":
    main()
