"""The relay: takes what functions connect to, and connects there for them, if they may reach it.

A process of its own, without privilege, on the host's network: so bulk costs the service no turn of its loop, and a
destination is judged by its address at the moment of connecting, whatever name it had. Never reached: this host, by
any of its addresses, link-local ones (cloud metadata among them) and what is no unicast; private networks only as
allowed. Names are asked of the host's resolvers. IPv4 and TCP (and UDP to the resolver), nothing else.
"""

import asyncio
import ipaddress
import resource
import socket
import struct
import sys
from collections.abc import Coroutine, Sequence
from pathlib import Path
from typing import Any, cast

import uvloop

from lamplighter.sandbox.channel import Channel
from lamplighter.sandbox.diversion import RESOLVER

CONNECTIONS = 512  # of one environment
QUESTIONS = 64  # of one environment, that wait for a resolver
CONNECT_LIMIT = 30.0  # seconds
ANSWER_LIMIT = 10.0
Networks = Sequence[ipaddress.IPv4Network]


def reachable(address: str, allowed: Networks) -> bool:
    """Whether functions may connect there. `allowed`: networks beside the internet."""
    there = ipaddress.IPv4Address(address)
    if there.is_loopback or there.is_link_local or there.is_multicast or there.is_reserved or there.is_unspecified:
        return False
    if int(there) >> 24 == 0 or _is_this_host(address):
        return False
    return there.is_global or any(there in network for network in allowed)


def _is_this_host(address: str) -> bool:
    """Only an address of one's own can be bound to."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as probe:
        try:
            probe.bind((address, 0))
        except OSError:
            return False
    return True


def resolvers(path: Path = Path("/etc/resolv.conf")) -> list[str]:
    """The addresses that the host asks for names."""
    try:
        lines = [line.split() for line in path.read_text().splitlines()]
    except OSError:
        return []
    return [line[1] for line in lines if len(line) > 1 and line[0] == "nameserver" and "%" not in line[1]]


class End(asyncio.Protocol):
    """One of the two ends of a relayed connection: what comes goes to the other, at the other's pace."""

    transport: asyncio.Transport

    def __init__(self) -> None:
        self.other: End | None = None
        self.lost = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's are no subclass

    def data_received(self, data: bytes) -> None:
        if self.other is not None:
            self.other.transport.write(data)

    def eof_received(self) -> bool:
        if self.other is not None and not self.other.lost:
            self.other.transport.write_eof()
        return True

    def pause_writing(self) -> None:
        if self.other is not None and not self.other.lost:
            self.other.transport.pause_reading()

    def resume_writing(self) -> None:
        if self.other is not None and not self.other.lost:
            self.other.transport.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True
        if self.other is not None and not self.other.lost:
            self.other.transport.abort() if exc else self.other.transport.close()


class Near(End):
    """The guest's end."""

    def __init__(self, way: "Way") -> None:
        super().__init__()
        self._way = way

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.transport.pause_reading()
        self._way.joined(self)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._way.ends.discard(self)

    def refuse(self) -> None:
        """By a reset: so the guest sees that nothing was taken."""
        sock = self.transport.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.transport.abort()


class Way:
    """One environment's way out."""

    def __init__(self, allowed: Networks, asked: Sequence[str]) -> None:
        self.ends: set[Near] = set()
        self.tasks: set[asyncio.Task[None]] = set()
        self._allowed = allowed
        self._resolvers = asked
        self._server: asyncio.Server | None = None
        self._names: asyncio.DatagramTransport | None = None

    async def open(self, listener: socket.socket, names: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: Near(self), sock=listener)
        self._names, _ = await loop.create_datagram_endpoint(lambda: Names(self), sock=names)

    def close(self) -> None:
        if self._server is not None:
            self._server.close()
        if self._names is not None:
            self._names.close()
        for end in tuple(self.ends):
            end.transport.abort()
        for task in tuple(self.tasks):
            task.cancel()

    def joined(self, near: Near) -> None:
        if len(self.ends) >= CONNECTIONS:
            near.refuse()
            return
        self.ends.add(near)
        self.own(self._connect(near))

    def own(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def _connect(self, near: Near) -> None:
        host, port = near.transport.get_extra_info("sockname")[:2]
        if (host, port) == RESOLVER and self._resolvers:
            host = self._resolvers[0]
        elif not reachable(host, self._allowed):
            near.refuse()
            return
        try:
            async with asyncio.timeout(CONNECT_LIMIT):
                _, far = await asyncio.get_running_loop().create_connection(End, host, port)
        except (OSError, TimeoutError):
            near.refuse()
            return
        if near.lost:
            far.transport.abort()
            return
        near.other, far.other = far, near
        near.transport.resume_reading()

    async def answer(self, question: bytes, asker: tuple[str, int]) -> None:
        """Ask one resolver after the other; a guest's question is none of ours to read."""
        loop = asyncio.get_running_loop()
        for address in self._resolvers[:3]:
            family = socket.AF_INET6 if ":" in address else socket.AF_INET
            with socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as asking:
                asking.setblocking(False)
                try:
                    async with asyncio.timeout(ANSWER_LIMIT / 3):
                        asking.connect((address, 53))
                        await loop.sock_sendall(asking, question)
                        answer = await loop.sock_recv(asking, 65535)
                except (OSError, TimeoutError):
                    continue
            if self._names is not None:
                self._names.sendto(answer, asker)
            return


class Names(asyncio.DatagramProtocol):
    def __init__(self, way: Way) -> None:
        self._way = way

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        if len(self._way.tasks) < CONNECTIONS + QUESTIONS:
            self._way.own(self._way.answer(data, addr))


class Relay:
    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._ways: dict[int, Way] = {}
        self._allowed: Networks = ()
        self._resolvers = resolvers()
        self._opening: set[asyncio.Task[None]] = set()
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
            if "allowed" in body:
                self._allowed = [ipaddress.IPv4Network(text) for text in body["allowed"]]
            elif "open" in body:
                way = self._ways[body["open"]] = Way(self._allowed, self._resolvers)
                listener, names = (socket.socket(fileno=each) for each in descriptors)
                task = asyncio.get_running_loop().create_task(way.open(listener, names))
                self._opening.add(task)
                task.add_done_callback(self._opening.discard)
            elif way := self._ways.pop(body["close"], None):
                way.close()


async def _serve(descriptor: int) -> None:
    own = socket.socket(fileno=descriptor)
    own.setblocking(False)
    channel = Channel(own)
    relay = Relay(channel)
    loop = asyncio.get_running_loop()
    loop.add_reader(own, relay.on_packet)
    await relay.ended
    loop.remove_reader(own)


def main() -> None:
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    uvloop.run(_serve(int(sys.argv[1])))


if __name__ == "__main__":
    main()
