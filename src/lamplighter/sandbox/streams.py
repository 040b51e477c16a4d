"""Two TCP connections joined to one: what comes on either goes out on the other, at the other's pace, with its end."""

import asyncio
import socket
import struct
from typing import cast

from lamplighter.sandbox.reach import Address

_KEPT_FOR = 300  # seconds of silence after which it is asked whether the other side is still there


class End(asyncio.Protocol):
    """One of the two. What comes before the other is there is kept for it: pausing takes hold only later."""

    transport: asyncio.Transport

    def __init__(self) -> None:
        self.other: End | None = None
        self.lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._early: list[bytes] = []
        self._ended = False  # nothing more comes from here

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's are no subclass
        self.transport.pause_reading()

    def join(self, other: "End") -> None:
        """From now on, to the other; `begin` once both have joined."""
        self.other = other
        for data in self._early:
            other.transport.write(data)
        self._early.clear()

    def begin(self) -> None:
        if self._ended:
            self._pass_end()
        else:
            self.transport.resume_reading()

    def data_received(self, data: bytes) -> None:
        if self.other is None:
            self._early.append(data)
        elif not self.other.lost.done():
            self.other.transport.write(data)

    def eof_received(self) -> bool:
        self._ended = True
        if self.other is not None:
            self._pass_end()
        return True

    def _pass_end(self) -> None:
        """Once both have said all they had to say, nobody would notice that they are gone: so both are closed, after
        what is still to be written."""
        other = self.other
        if other is None or other.lost.done():
            return
        if not other._ended:
            other.transport.write_eof()
            return
        for end in (self, other):
            end.transport.close()

    def pause_writing(self) -> None:
        if self.other is not None and not self.other.lost.done():
            self.other.transport.pause_reading()

    def resume_writing(self) -> None:
        if self.other is not None and not self.other.lost.done() and not self.other._ended:
            self.other.transport.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.lost.done():
            self.lost.set_result(None)
        if self.other is not None and not self.other.lost.done():
            self.other.transport.abort() if exc else self.other.transport.close()


async def join(near: socket.socket, far: socket.socket) -> None:
    """Until both have ended. Takes the sockets."""
    loop = asyncio.get_running_loop()
    ends = (End(), End())
    far.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    far.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, _KEPT_FOR)
    made: list[End] = []
    try:
        for end, one in zip(ends, (near, far), strict=True):
            await loop.connect_accepted_socket(lambda end=end: end, one)
            made.append(end)
        if not any(end.lost.done() for end in ends):
            ends[0].join(ends[1])
            ends[1].join(ends[0])
            for end in ends:
                end.begin()
            for end in ends:
                await end.lost
    finally:
        for end in made:
            end.transport.abort()
        for one in (near, far)[len(made) :]:
            one.close()


async def connect(host: Address | str, port: int, within: float) -> socket.socket:
    """Raises OSError, TimeoutError too."""
    family = socket.AF_INET6 if ":" in str(host) else socket.AF_INET
    made = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
    try:
        async with asyncio.timeout(within):
            await asyncio.get_running_loop().sock_connect(made, (str(host), port))
    except BaseException:
        made.close()
        raise
    return made


def refuse(near: socket.socket) -> None:
    """By a reset: so the guest sees that nothing was taken."""
    near.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    near.close()
