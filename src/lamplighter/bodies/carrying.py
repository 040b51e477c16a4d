"""The carrier: a process that reads payloads of megabytes from sockets, judges them, keeps them, and writes them.

The event loop would need milliseconds of each for nothing but bytes, in long turns; whoever it wakes up meanwhile is
put behind it by the kernel (decision 0058). It decides and this process carries: it knows no HTTP, no function and no
caller, but descriptors and how many bytes to move. `carrier.py` starts it, and it ends with that end of the channel.
"""

import asyncio
import ctypes
import logging
import os
import resource
import socket
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from lamplighter.bodies.judging import is_json
from lamplighter.bodies.large_bodies import LargeBodies
from lamplighter.bodies.messages import Channel, Kind, Message
from lamplighter.bodies.patience import BODY_RATE, BODY_TICKS, WRITE_TICKS
from lamplighter.sandbox.confinement import confine

_NICENESS = 0  # the service, and calls of a few bytes, come first
_THREADS = 2  # that look at payloads, beside the one that moves them
TICK = 1.0  # seconds
_REST = 3  # seconds
_PIECE = 256 << 10  # bytes that are read or written in one go

_log = logging.getLogger(__name__)


class _Job:
    """Something on its way. `late`: whether it goes too slowly, asked once a second."""

    def __init__(self, sock: socket.socket, message: Message, pieces: list[bytes]) -> None:
        sock.setblocking(False)  # as it is, since the event loop has it too
        self.sock = sock
        self.message = message
        self.pieces = pieces  # of what is read, or of what is written before
        self.moved = 0  # bytes
        self.seconds = 0  # of a caller's that is read: since its begin; that is written: since it last took something
        self.slow = False
        self.task: asyncio.Task[None] | None = None

    @property
    def late(self) -> bool:
        if self.message.kind is Kind.PUT:
            return self.seconds > WRITE_TICKS
        return self.seconds > BODY_TICKS and self.moved < self.seconds * BODY_RATE


class Carrying:
    def __init__(self, channel: Channel, loop: asyncio.AbstractEventLoop) -> None:
        self._channel = channel
        self._loop = loop
        self._jobs: dict[int, _Job] = {}
        self._firsts: dict[int, list[bytes]] = {}  # pieces of jobs that are about to come
        self._parcels: dict[int, bytes] = {}
        self._bodies = LargeBodies()
        self._trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        self._idle = _REST  # seconds without a payload; from so many on nothing is kept for the next
        self.carried = 0  # payloads that were read
        self._ticker = loop.call_later(TICK, self._tick)
        self.ended: asyncio.Future[None] = loop.create_future()
        channel.follow(self._heard, partial(self.ended.set_result, None))

    @property
    def kept(self) -> int:
        """Payloads that it has, or has a part of."""
        return len(self._jobs.keys() | self._parcels.keys() | self._firsts.keys())

    def stop(self) -> None:
        self._ticker.cancel()
        for job in self._jobs.values():
            if job.task is not None:
                job.task.cancel()

    def _heard(self, message: Message, descriptors: list[int]) -> None:
        match message.kind:
            case Kind.FIRST:
                self._firsts.setdefault(message.number, []).append(message.behind)
            case Kind.TAKE | Kind.PUT:
                pieces = [*self._firsts.pop(message.number, ()), message.behind]
                if descriptors:
                    self._begin(_Job(socket.socket(fileno=descriptors[0]), message, pieces))
                else:  # we have too many
                    self._channel.send(Message(Kind.LOST, message.number))
            case Kind.FETCH:
                self._fetch(message)
            case Kind.DROP:
                self._parcels.pop(message.other, None)
            case _:  # CANCEL
                job = self._jobs.pop(message.number, None)
                if job is not None and job.task is not None:
                    job.task.cancel()
                self._parcels.pop(message.number, None)  # done at the same time

    def _begin(self, job: _Job) -> None:
        self._jobs[job.message.number] = job
        self._idle = 0
        job.task = self._loop.create_task(self._carry(job))
        job.task.add_done_callback(lambda _: job.sock.close())

    async def _carry(self, job: _Job) -> None:
        number = job.message.number
        try:
            told = await (self._take(job) if job.message.kind is Kind.TAKE else self._put(job))
        except OSError:
            told = Message(Kind.LOST, number)
        except Exception:  # whatever it is, somebody waits
            _log.exception("a large payload could not be carried")
            told = Message(Kind.LOST, number)
        except asyncio.CancelledError:
            if not job.slow:
                return  # nobody waits for it
            told = Message(Kind.SLOW, number)
        self._jobs.pop(number, None)
        self._channel.send(told)

    async def _take(self, job: _Job) -> Message:
        _, number, left, judged, _ = job.message
        pieces = job.pieces
        while left:
            piece = await self._loop.sock_recv(job.sock, min(left, _PIECE))
            if not piece:
                raise ConnectionError
            pieces.append(piece)
            left -= len(piece)
            job.moved += len(piece)
        body = b"".join(pieces)
        pieces.clear()
        digest, well_formed = "", False
        if judged:
            digest = await self._bodies.digest(body)
            well_formed = await self._bodies.is_json(body, is_json)
        self._parcels[number] = body
        self.carried += 1
        return Message(Kind.DONE, number, len(body), well_formed, digest.encode())

    async def _put(self, job: _Job) -> Message:
        number, body = job.message.number, self._parcels.get(job.message.other)
        if body is None:
            raise ConnectionError
        for whole in (*job.pieces, body):
            left = memoryview(whole)
            while left:
                try:
                    sent = job.sock.send(left[:_PIECE], socket.MSG_NOSIGNAL)
                except BlockingIOError:
                    await self._writable(job.sock)
                    continue
                left = left[sent:]
                job.seconds = 0
        return Message(Kind.DONE, number)

    async def _writable(self, sock: socket.socket) -> None:
        ready: asyncio.Future[None] = self._loop.create_future()
        self._loop.add_writer(sock, _set, ready)
        try:
            await ready
        finally:
            self._loop.remove_writer(sock)

    def _fetch(self, message: Message) -> None:
        """Hand it over in a file of memory: a rare way, for who has to look at the bytes."""
        body = self._parcels.get(message.other)
        if body is None:
            self._channel.send(Message(Kind.LOST, message.number))
            return
        with open(os.memfd_create("parcel"), "wb") as file:
            file.write(body)
            file.flush()
            self._channel.send(Message(Kind.DONE, message.number, len(body)), [os.dup(file.fileno())])

    def _tick(self) -> None:
        for job in tuple(self._jobs.values()):
            job.seconds += 1
            if job.message.flag and job.late and job.task is not None:
                job.slow = True
                job.task.cancel()
        self._idle = 0 if self._jobs or self._parcels else self._idle + 1
        if self._idle == _REST and self._trim is not None:
            self._trim(0)
        self._ticker = self._loop.call_later(TICK, self._tick)


def _set(ready: asyncio.Future[None]) -> None:
    if not ready.done():
        ready.set_result(None)


async def _carry(own: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    loop.set_default_executor(ThreadPoolExecutor(_THREADS))
    await Carrying(Channel(own, loop), loop).ended


def main() -> None:
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    confine(_NICENESS)
    asyncio.run(_carry(socket.socket(fileno=int(sys.argv[1]))))


if __name__ == "__main__":
    main()
