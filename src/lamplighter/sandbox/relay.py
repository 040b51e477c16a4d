"""The relay: takes what functions connect to, and connects there for them, if they may reach it.

A process of its own on the host's network: so bulk costs the service no turn of its loop, and a destination is judged
by its address at the moment of connecting, whatever name it had. It needs no right but to connect, and keeps no other:
no root, no files but the resolvers' addresses, and the system calls that guests have. `ways.py` starts it, again if it
dies; `way.py` is what it does for one environment.
"""

import asyncio
import codecs
import contextlib
import gc
import os
import resource
import socket
import sys
from pathlib import Path

import uvloop

from lamplighter.sandbox import linux, seccomp
from lamplighter.sandbox.channel import Channel
from lamplighter.sandbox.privileges import SERVICE_UID
from lamplighter.sandbox.reach import Reach, networks
from lamplighter.sandbox.way import Outside, Way

RESOLV_CONF = Path("/etc/resolv.conf")
_NICENESS = 5  # the service and functions come first
_NOBODY = 65_534
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


def _confine() -> None:
    """Everything has been imported, and the event loop isn't there yet: it would begin with io_uring, which guests
    haven't, and be stopped. What a host doesn't offer is left out: this process reads no guest's
    bytes, so all of it is a second line."""
    codecs.lookup("idna")  # the event loop reads addresses with it
    os.setpriority(os.PRIO_PROCESS, 0, _NICENESS)  # whatever the service has
    if os.geteuid() == 0:
        os.setgroups([])
        for uid in (SERVICE_UID, _NOBODY):  # a user namespace may not know the first
            with contextlib.suppress(OSError):
                os.setresgid(uid, uid, uid)
                os.setresuid(uid, uid, uid)
                break
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    linux.prctl(linux.PR_SET_DUMPABLE, 0)
    linux.drop_capabilities()
    linux.prctl(linux.PR_SET_NO_NEW_PRIVS, 1)
    with contextlib.suppress(OSError):
        linux.forbid_files(but=RESOLV_CONF.resolve().parent)
    with contextlib.suppress(OSError, KeyError):
        linux.install_seccomp(seccomp.program(linux.MACHINE))


def main() -> None:
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    own = socket.socket(fileno=int(sys.argv[1]))
    own.setblocking(False)
    outside = Outside((most - _OWN) // 3, RESOLV_CONF)  # two for a connection, and those of the environments
    _confine()
    gc.freeze()
    uvloop.run(_serve(Channel(own), outside))


if __name__ == "__main__":
    main()
