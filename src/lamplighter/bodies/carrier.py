"""The event loop's side of the carrier: starts it when there is something to carry, and tells it what.

If it dies, what it carried is lost, which is what a caller is told by its connection's end; the next large payload
starts another. Until that stands, and where it can't be started, the loop moves the bytes itself.
"""

import asyncio
import contextlib
import logging
import os
import socket
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from lamplighter.bodies.messages import PACKET, Channel, Kind, Message
from lamplighter.model.parcels import CarrierLost, Parcel, TooSlow
from lamplighter.sandbox.channel import close_all

_AGAIN = 1.0  # seconds after a start until the next
_END_LIMIT = 5.0

# What a payload was in is kept for the next: fresh pages take as long as everything else. At rest it goes back.
_ENVIRONMENT = {
    "PYTHONPATH": str(Path(__file__).parents[2]),
    "PATH": os.defpath,
    "LANG": "C.UTF-8",
    "MALLOC_MMAP_THRESHOLD_": str(32 << 20),
    "MALLOC_TRIM_THRESHOLD_": str(64 << 20),
}

_T = TypeVar("_T")

_log = logging.getLogger(__name__)


class HeldParcel:
    """Implements `model.parcels.Parcel`."""

    def __init__(self, carrier: "ProcessCarrier", channel: Channel, told: Message) -> None:
        self._carrier = carrier
        self._channel = channel
        self._number = told.number
        self._size = told.other
        self.digest = told.behind.decode()
        self.is_json = told.flag

    def __len__(self) -> int:
        return self._size

    def put(self, transport: asyncio.BaseTransport, head: bytes, caller: bool) -> asyncio.Future[None]:
        return self._carrier.put(self._channel, self._number, transport, head, caller)

    async def fetch(self) -> bytes:
        return await self._carrier.fetch(self._channel, self._number)

    def __del__(self) -> None:  # in whatever thread collects it
        self._carrier.drop(self._channel, self._number)


class ProcessCarrier:
    """Implements `model.parcels.Carrier`. Give it back with `close`."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._channel: Channel | None = None
        self._waiting: dict[int, Callable[[Message, list[int]], None]] = {}  # what a job's end is told to
        self._last = 0  # job
        self._running: asyncio.Task[None] | None = None
        self._started = -_AGAIN  # on the loop's clock

    def stands(self) -> bool:
        if self._channel is not None and self._channel.ended:
            self._hang_up()  # what it had is lost, but not what it would have been given now
        if self._channel is None and self._running is None and self._loop.time() - self._started >= _AGAIN:
            self._started = self._loop.time()
            self._running = self._loop.create_task(self._run())
        return self._channel is not None

    def take(self, transport: asyncio.BaseTransport, first: bytes, left: int, caller: bool) -> asyncio.Future[Parcel]:
        assert self._channel is not None
        done: asyncio.Future[Parcel] = self._loop.create_future()
        finish = partial(self._taken, self._channel, done)
        self._ask(self._channel, Message(Kind.TAKE, 0, left, caller, first), done, finish, transport)
        return done

    def put(
        self, channel: Channel, parcel: int, transport: asyncio.BaseTransport, head: bytes, caller: bool
    ) -> asyncio.Future[None]:
        done: asyncio.Future[None] = self._loop.create_future()
        self._ask(channel, Message(Kind.PUT, 0, parcel, caller, head), done, partial(_put, done), transport)
        return done

    async def fetch(self, channel: Channel, parcel: int) -> bytes:
        done: asyncio.Future[int] = self._loop.create_future()
        self._ask(channel, Message(Kind.FETCH, 0, parcel), done, partial(_fetched, done))
        return await asyncio.to_thread(_whole, await done)

    def drop(self, channel: Channel, parcel: int) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed, and the carrier gone
            self._loop.call_soon_threadsafe(channel.send, Message(Kind.DROP, 0, parcel))

    async def close(self) -> None:
        if self._running is not None:
            self._running.cancel()
            await asyncio.gather(self._running, return_exceptions=True)

    def _ask(
        self,
        channel: Channel,
        message: Message,
        done: asyncio.Future[Any],
        finish: Callable[[Message, list[int]], None],
        transport: asyncio.BaseTransport | None = None,
    ) -> None:
        try:
            descriptors = [] if transport is None else [os.dup(transport.get_extra_info("socket").fileno())]
        except OSError:  # we have too many
            done.set_exception(CarrierLost())
            return
        if channel is not self._channel:  # the one that had it is gone
            close_all(descriptors)
            done.set_exception(CarrierLost())
            return
        self._last = number = self._last + 1
        self._waiting[number] = finish
        behind = message.behind
        while len(behind) > PACKET:
            channel.send(Message(Kind.FIRST, number, behind=behind[:PACKET]))
            behind = behind[PACKET:]
        channel.send(message._replace(number=number, behind=behind), descriptors)
        done.add_done_callback(partial(self._left, number))

    def _left(self, number: int, done: asyncio.Future[Any]) -> None:
        """Whoever waited does so no more."""
        if self._waiting.pop(number, None) is not None and self._channel is not None:
            self._channel.send(Message(Kind.CANCEL, number))

    def _heard(self, message: Message, descriptors: list[int]) -> None:
        finish = self._waiting.pop(message.number, None)
        if finish is not None:
            finish(message, descriptors)
        else:
            close_all(descriptors)

    def _taken(self, channel: Channel, done: asyncio.Future[Parcel], told: Message, _: list[int]) -> None:
        if told.kind is Kind.DONE:
            _settle(done, HeldParcel(self, channel, told))
        else:
            _fail(done, told)

    # The process

    def use(self, sock: socket.socket) -> None:
        """Have what is at the other end carry; the socket is ours."""
        self._channel = Channel(sock, self._loop)
        self._channel.follow(self._heard, self._hang_up)

    async def _run(self) -> None:
        """Start it, and stay until it is gone."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        process = None
        try:
            with theirs:
                process = await asyncio.create_subprocess_exec(
                    *(sys.executable, "-P", "-m", "lamplighter.bodies.carrying", str(theirs.fileno())),
                    pass_fds=[theirs.fileno()],
                    env=_ENVIRONMENT,
                    stdin=asyncio.subprocess.DEVNULL,
                    start_new_session=True,
                )
            self.use(ours)
            code = await process.wait()
            lost = "the process that carries large payloads died (%s): those that it had are lost"
            _log.error(lost, f"signal {-code}" if code < 0 else f"exit code {code}")
        except OSError as error:
            _log.error("large payloads take the event loop's time, since no process can be started: %s", error)
        finally:
            self._hang_up()
            ours.close()
            if process is not None and process.returncode is None:
                await self._stop(process)
            self._running = None

    async def _stop(self, process: asyncio.subprocess.Process) -> None:
        try:
            async with asyncio.timeout(_END_LIMIT):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()

    def _hang_up(self) -> None:
        """It is gone, with all that it had."""
        if self._channel is None:
            return
        self._channel.close()
        self._channel = None
        waiting, self._waiting = self._waiting, {}
        for number, finish in waiting.items():
            finish(Message(Kind.LOST, number), [])


def _put(done: asyncio.Future[None], told: Message, _: list[int]) -> None:
    if told.kind is Kind.DONE:
        _settle(done, None)
    else:
        _fail(done, told)


def _fetched(done: asyncio.Future[int], told: Message, descriptors: list[int]) -> None:
    if told.kind is not Kind.DONE:
        _fail(done, told)
    elif done.done():
        os.close(descriptors[0])
    else:
        done.set_result(descriptors[0])


def _settle(done: asyncio.Future[_T], value: _T) -> None:
    if not done.done():  # cancelled in this moment
        done.set_result(value)


def _fail(done: asyncio.Future[Any], told: Message) -> None:
    if not done.done():
        done.set_exception(TooSlow() if told.kind is Kind.SLOW else CarrierLost())


def _whole(descriptor: int) -> bytes:
    with open(descriptor, "rb") as file:
        file.seek(0)
        return file.read()
