"""Two TCP connections joined to one: what comes on either goes out on the other, at the other's pace, with its end."""

import asyncio
import socket
import struct
from typing import cast

from lamplighter.sandbox.reach import Address

_KEPT_FOR = 300  # seconds of silence after which it is asked whether the other side is still there


class End(asyncio.Protocol):
    """One of the two."""

    transport: asyncio.Transport

    def __init__(self) -> None:
        self.other: End | None = None
        self.lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's are no subclass
        self.transport.pause_reading()

    def data_received(self, data: bytes) -> None:
        if self.other is not None:
            self.other.transport.write(data)

    def eof_received(self) -> bool:
        if self.other is not None and not self.other.lost.done():
            self.other.transport.write_eof()
        return True

    def pause_writing(self) -> None:
        if self.other is not None and not self.other.lost.done():
            self.other.transport.pause_reading()

    def resume_writing(self) -> None:
        if self.other is not None and not self.other.lost.done():
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
        ends[0].other, ends[1].other = ends[1], ends[0]
        for end in ends:
            if end.lost.done():
                return
            end.transport.resume_reading()
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
