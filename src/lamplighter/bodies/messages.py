"""What the event loop and the carrier say to each other: packets, some with a descriptor alongside.

A packet is a head of fixed length and bytes behind it: the beginning of what is read, or what is written first. It is
smaller than what the kernel takes by default (208 KiB), whatever the host allows.
"""

import asyncio
import socket
import struct
from collections import deque
from collections.abc import Callable, Sequence
from enum import IntEnum
from typing import Final, NamedTuple

from lamplighter.sandbox.channel import close_all, receive

PACKET: Final = 64 << 10  # bytes behind the head
_BUFFER: Final = 1 << 20  # bytes that the kernel may keep, if the host allows
_MOST: Final = PACKET + 4096

_HEAD: Final = struct.Struct("<BQQ?")


class Kind(IntEnum):
    # To the carrier.
    FIRST = 1
    TAKE = 2
    PUT = 3
    FETCH = 4
    DROP = 5
    CANCEL = 6
    # From it.
    DONE = 7
    LOST = 8
    SLOW = 9


class Message(NamedTuple):
    """`number`: of the job, which is also the parcel's that it makes.

    `other`: TAKE: bytes that are still to be read. PUT, FETCH, DROP: the parcel. `flag`: TAKE, PUT: for a caller; DONE:
    it is JSON. `behind`: TAKE: what was read before; PUT: what is written before; DONE: the digest. What of it is more
    than a packet takes goes ahead, in order, as FIRST."""

    kind: Kind
    number: int
    other: int = 0
    flag: bool = False
    behind: bytes = b""

    def pack(self) -> bytes:
        return _HEAD.pack(self.kind, self.number, self.other, self.flag) + self.behind


class Channel:
    """One end. Owns the socket, and descriptors that are given to `send`. Nothing here blocks: what the kernel doesn't
    take waits."""

    def __init__(self, sock: socket.socket, loop: asyncio.AbstractEventLoop) -> None:
        sock.setblocking(False)
        for direction in (socket.SO_SNDBUF, socket.SO_RCVBUF):
            sock.setsockopt(socket.SOL_SOCKET, direction, _BUFFER)
        self._sock = sock
        self._loop = loop
        self._queue: deque[tuple[bytes, list[int]]] = deque()

    def follow(self, heard: Callable[[Message, list[int]], None], ended: Callable[[], None]) -> None:
        """Be told of what comes; descriptors are the hearer's. `ended`: nothing comes any more."""
        self._loop.add_reader(self._sock, self._read, heard, ended)

    def send(self, message: Message, descriptors: Sequence[int] = ()) -> None:
        """To an end that is gone nothing is sent; `follow` tells of it."""
        self._queue.append((message.pack(), list(descriptors)))
        if self._sock.fileno() < 0:
            self._drop()
        elif len(self._queue) == 1:
            self._write()
            if self._queue:
                self._loop.add_writer(self._sock, self._write)

    @property
    def ended(self) -> bool:
        """Whether the other end is gone, and has left nothing to read."""
        try:
            return not self._sock.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return False
        except OSError:
            return True

    def close(self) -> None:
        self._loop.remove_reader(self._sock)
        self._loop.remove_writer(self._sock)
        while self._queue:
            self._drop()
        self._sock.close()

    def _read(self, heard: Callable[[Message, list[int]], None], ended: Callable[[], None]) -> None:
        while self._sock.fileno() >= 0:
            try:
                data, descriptors, _ = receive(self._sock, _MOST, 1)
            except BlockingIOError:
                return
            except ConnectionError:
                data, descriptors = b"", []
            if not data:
                self._loop.remove_reader(self._sock)
                ended()
                return
            kind, number, other, flag = _HEAD.unpack_from(data)
            heard(Message(Kind(kind), number, other, flag, data[_HEAD.size :]), descriptors)

    def _write(self) -> None:
        while self._queue:
            data, descriptors = self._queue[0]
            try:
                socket.send_fds(self._sock, [data], descriptors, socket.MSG_NOSIGNAL)
            except BlockingIOError:
                return
            except ConnectionError:
                pass
            except OSError:  # no memory, or too many descriptors on their way
                self._sock.shutdown(socket.SHUT_RDWR)  # who waits for an answer to it must hear of it
            self._drop()
        self._loop.remove_writer(self._sock)

    def _drop(self) -> None:
        close_all(self._queue.popleft()[1])
