"""One environment's way out, on the relay's side: what it may take of the relay, and where it may go.

Bounds are for the others' sake: how many connections at once (and, in `connections.py`, how many in a row and in one
turn of the loop), and never more than is left for everybody else.
"""

import asyncio
import ipaddress
import os
import socket
from collections.abc import Coroutine, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from lamplighter.sandbox.connections import Connections
from lamplighter.sandbox.datagrams import Datagrams, Flow
from lamplighter.sandbox.packets import Place
from lamplighter.sandbox.reach import RESOLVER, Address, Reach

CONNECTIONS = 512  # of one environment at once
QUESTIONS = 64  # of one environment, that wait for a resolver
ANSWER_LIMIT = 10.0
_RESOLVER = Place(socket.inet_aton(RESOLVER[0]), RESOLVER[1])
_RESOLVERS = 3  # as many as C libraries ask


class Outside:
    """The host as functions may use it."""

    def __init__(self, room: int, resolvers: Path) -> None:
        """room: connections and flows of all environments together. resolvers: a file like /etc/resolv.conf."""
        self.free = room
        self.reach = Reach()
        self._path = resolvers
        self._read: tuple[int, int] | None = None
        self._resolvers: list[str] = []
        self._bind_tells = {
            family: Path(f"/proc/sys/net/{name}/ip_nonlocal_bind").read_text().strip() == "0"
            for family, name in ((4, "ipv4"), (6, "ipv6"))
            if Path(f"/proc/sys/net/{name}/ip_nonlocal_bind").exists()
        }

    def reachable(self, address: Address) -> bool:
        """Whether functions may connect there."""
        return self.reach.has(address) and not self._is_this_host(address)

    def resolvers(self) -> list[str]:
        """The addresses that the host asks for names, as of now."""
        try:
            found = os.stat(self._path)
            version = (found.st_mtime_ns, found.st_ino)
            if version != self._read:
                lines = [line.split() for line in self._path.read_text().splitlines()]
                named = [line[1] for line in lines if len(line) > 1 and line[0] == "nameserver" and "%" not in line[1]]
                self._read, self._resolvers = version, named[:_RESOLVERS]
        except OSError:
            self._read, self._resolvers = None, []
        return self._resolvers

    def _is_this_host(self, address: Address) -> bool:
        """One sends to oneself from the same address; and only an address of one's own can be bound to, usually."""
        family = socket.AF_INET if address.version == 4 else socket.AF_INET6
        with socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as probe:
            try:
                probe.connect((str(address), 9))
            except OSError:
                return False  # nobody gets there
            if ipaddress.ip_address(probe.getsockname()[0]) == address:
                return True
        if not self._bind_tells.get(address.version):
            return False
        with socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as probe:
            try:
                probe.bind((str(address), 0))
            except OSError:
                return False
        return True


class Way:
    def __init__(self, outside: Outside, sockets: list[socket.socket]) -> None:
        """sockets: as `diversion.open_way_out` made them."""
        self._outside = outside
        self._loop = asyncio.get_running_loop()
        listener, near, *others = sockets
        taps = [one for one in others if one.family == socket.AF_PACKET]
        raw = [one for one in others if one not in taps]
        self._tasks: set[asyncio.Task[None]] = set()
        self._questions = 0
        self._datagrams = Datagrams(near, raw, self._flow, self._question)
        room = partial(self._has_room, most=CONNECTIONS)
        self._connections = Connections(listener, taps, raw, self._places, room, self._count)

    def close(self) -> None:
        self._connections.close()
        self._datagrams.close()
        for task in tuple(self._tasks):
            task.cancel()

    def _own(self, work: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _places(self, address: Address, port: int) -> Sequence[Address | str]:
        if (str(address), port) == RESOLVER:
            return self._outside.resolvers()
        address = getattr(address, "ipv4_mapped", None) or address
        return [address] if self._outside.reachable(address) else []

    def _count(self, change: int) -> None:
        self._outside.free -= change

    def _has_room(self, own: int, most: int) -> bool:
        """Never more than what is left: so who comes later finds some, however many take all they can."""
        return own < min(most, self._outside.free)

    def _flow(self, wanted: Place) -> socket.socket | None:
        address = ipaddress.ip_address(wanted.address)
        if not self._has_room(len(self._datagrams), CONNECTIONS) or not self._outside.reachable(address):
            return None
        try:
            return _asking(str(address), wanted.port)
        except OSError:
            return None

    def _question(self, question: bytes, flow: Flow) -> bool:
        """For the resolver; what it says is none of ours to read."""
        if flow.wanted != _RESOLVER:
            return False
        if self._questions < QUESTIONS:
            self._own(self._answer(question, flow))
        return True

    async def _answer(self, question: bytes, flow: Flow) -> None:
        """Ask one resolver after the other."""
        self._questions += 1
        try:
            resolvers = self._outside.resolvers()
            for address in resolvers:
                try:
                    with _asking(address, RESOLVER[1]) as asking:
                        async with asyncio.timeout(ANSWER_LIMIT / len(resolvers)):
                            await self._loop.sock_sendall(asking, question)
                            answer = await self._loop.sock_recv(asking, 65_535)
                except OSError:
                    continue
                self._datagrams.answer(flow, answer)
                return
        finally:
            self._questions -= 1


def _asking(address: str, port: int) -> socket.socket:
    """A UDP socket that is connected there."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    made = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
    try:
        made.connect((address, port))
    except OSError:
        made.close()
        raise
    return made
