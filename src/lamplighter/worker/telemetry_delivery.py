"""One subscription's events on their way to the extension: collected, sent together, and bounded.

The connection goes to a port of the sandbox's own loopback. Who listens there is a guest: it may be slow, answer
nonsense or not be there. Then its events wait, and beyond the bound it set itself the oldest are dropped; it is told
how many as soon as it takes any (platform.logsDropped). Nobody else waits for it.
"""

import asyncio
import contextlib
import socket
from collections import deque
from collections.abc import Awaitable, Callable

from lamplighter.model.clock import Clock
from lamplighter.worker import platform_events
from lamplighter.worker.telemetry_subscription import Subscription

Connect = Callable[[int], Awaitable[socket.socket]]  # to this port inside the sandbox; raises OSError

PATIENCE = 10.0  # seconds for one attempt
ATTEMPTS = 5  # until a batch is dropped
_PAUSE = 0.1  # seconds before the second attempt; doubled each time
_SMALLEST = 65  # bytes of an event with an empty text
_HEAD_LIMIT = 16_384  # bytes of an answer that are looked at


class Delivery:
    """`run` it as a task; `add` events; `finish` to have sent what waits."""

    def __init__(self, subscription: Subscription, connect: Connect, clock: Clock) -> None:
        self.subscription = subscription
        self._connect = connect
        self._clock = clock
        self._waiting: deque[bytes] = deque()
        self._size = 0
        self._dropped = [0, 0]  # events, bytes
        self._some = asyncio.Event()
        self._due = asyncio.Event()  # now, not when the time is over
        self._idle = asyncio.Event()
        self._idle.set()
        self._finishing = False
        self._stream: socket.socket | None = None  # of TCP, which stays connected

    def add(self, *events: bytes) -> None:
        """`events`: each as JSON."""
        asked = self.subscription
        self._waiting.extend(events)
        self._size += sum(map(len, events))
        while self._size > asked.max_bytes or len(self._waiting) > asked.max_items:
            self._drop(self._waiting.popleft())
        self._some.set()
        self._idle.clear()
        if len(self._waiting) >= asked.max_items or self._size > asked.max_bytes // 2:
            self._due.set()

    def lose(self, events: int, size: int) -> None:
        """So many were never added; `size` in bytes."""
        self._dropped[0] += events
        self._dropped[1] += size

    @property
    def most(self) -> int:
        """Events that can wait at a time, however short they are."""
        return min(self.subscription.max_items, self.subscription.max_bytes // _SMALLEST)

    @property
    def told(self) -> bool:
        """Nothing waits, and nothing is on its way."""
        return self._idle.is_set()

    async def finish(self) -> None:
        """Until nothing waits; the caller sets the deadline."""
        self._finishing = True
        self._due.set()
        await self._idle.wait()

    async def run(self) -> None:
        try:
            while True:
                await self._some.wait()
                if not self._finishing:
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(self.subscription.timeout):
                            await self._due.wait()
                batch = self._take()
                if not await self._sent(batch):
                    for event in batch:
                        self._dropped[0] += 1
                        self._dropped[1] += len(event)
                if not self._waiting:
                    self._idle.set()
        finally:
            self._idle.set()
            self._hang_up()

    def _drop(self, event: bytes) -> None:
        self._size -= len(event)
        self._dropped[0] += 1
        self._dropped[1] += len(event)

    def _take(self) -> list[bytes]:
        batch = list(self._waiting)
        self._waiting.clear()
        self._size = 0
        self._some.clear()
        if not self._finishing:
            self._due.clear()
        if self._dropped[0]:
            now, reason = self._clock.now(), "The destination did not take its events in time"
            record = platform_events.logs_dropped(reason, *self._dropped)
            self._dropped = [0, 0]
            batch.insert(0, platform_events.line(now, "platform.logsDropped", record))
        return batch

    async def _sent(self, batch: list[bytes]) -> bool:
        pause = _PAUSE
        for attempt in range(ATTEMPTS):
            if attempt:
                await asyncio.sleep(pause)
                pause *= 2
            with contextlib.suppress(OSError):  # a TimeoutError is one
                async with asyncio.timeout(PATIENCE):
                    if await (self._post(batch) if self.subscription.path is not None else self._stream_out(batch)):
                        return True
        return False

    async def _post(self, batch: list[bytes]) -> bool:
        body = b"[" + b",".join(batch) + b"]"
        port, path = self.subscription.port, self.subscription.path
        head = (
            f"POST {path} HTTP/1.1\r\nHost: sandbox.localdomain:{port}\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        )
        loop = asyncio.get_running_loop()
        with await self._connect(port) as connection:
            await loop.sock_sendall(connection, head.encode() + body)
            answer = b""
            while b"\r\n" not in answer and len(answer) < _HEAD_LIMIT:
                data = await loop.sock_recv(connection, _HEAD_LIMIT)
                if not data:
                    break
                answer += data
        words = answer.split(b" ", 2)
        return len(words) > 1 and words[0].startswith(b"HTTP/1.") and words[1][:1] == b"2"

    async def _stream_out(self, batch: list[bytes]) -> bool:
        try:
            if self._stream is None:
                self._stream = await self._connect(self.subscription.port)
            lines = b"\n".join(batch) + b"\n"
            await asyncio.get_running_loop().sock_sendall(self._stream, lines)
        except BaseException:
            self._hang_up()
            raise
        return True

    def _hang_up(self) -> None:
        if self._stream is not None:
            self._stream.close()
            self._stream = None
