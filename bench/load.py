"""The load generator: what it sends is prepared beforehand, so that it measures the server and not itself.

It runs in a process of its own and does the same work whoever answers: write the bytes, find the end of the answer,
look at the clock. A closed loop: each connection has one call in flight. Every run ends, by count or by time; it only
ever connects to the loopback.
"""

import asyncio
import os
import re
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass
from itertools import cycle
from multiprocessing import get_context
from time import perf_counter_ns
from types import TracebackType
from typing import Self, cast

import uvloop

HOST = "127.0.0.1"
GRACE = 30.0  # seconds that calls in flight have at the end; as long as the slowest thing we ever call
SECOND = 1_000_000_000  # ns
SUCCESSES = (b"http/1.1 200", b"http/1.1 201", b"http/1.1 202", b"http/1.1 204")
REQUEST_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f-]{22}")  # in the way of counting equal failures


class LoadError(Exception):
    """The run gave no figures: calls failed or stayed without an answer."""


@dataclass(frozen=True, slots=True)
class Plan:
    """`requests`: whole HTTP requests, taken in turn by all connections, again from the first after the last.
    `pause`: seconds that a connection waits between an answer and its next request."""

    port: int
    requests: tuple[bytes, ...]
    connections: int = 1
    seconds: float = 1.0  # no call begins later
    count: int | None = None  # nor any after so many in all, warm-up included
    warm_up: float = 0.0  # seconds before `seconds` whose calls don't count
    pause: float = 0.0


@dataclass(frozen=True, slots=True)
class Result:
    """`latencies` in ns, unordered; `seconds` from the end of the warm-up to the last answer."""

    latencies: tuple[int, ...]
    seconds: float
    bytes_both_ways: int

    @property
    def per_second(self) -> float:
        return len(self.latencies) / self.seconds

    @property
    def megabytes_per_second(self) -> float:
        return self.bytes_both_ways / self.seconds / 1e6


class Load:
    """The load generator's process."""

    def __enter__(self) -> Self:
        self._process = ProcessPoolExecutor(1, mp_context=get_context("spawn"))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.shutdown(cancel_futures=True)

    def wait_until_it_stands(self) -> None:
        """So that its start disturbs nobody who is measured."""
        self._process.submit(os.getpid).result(GRACE)

    def run(self, plan: Plan) -> Result:
        """Raises LoadError when any call failed: a service that refuses is fast, and that is no figure."""
        return self.begin(plan).result(plan.warm_up + plan.seconds + 2 * GRACE)

    def begin(self, plan: Plan) -> "Future[Result]":
        return self._process.submit(perform, plan)


def perform(plan: Plan) -> Result:
    """Run the plan in this process."""
    return uvloop.run(_Run(plan).perform())


class _Run:
    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self.pause = plan.pause
        self._requests: Iterator[bytes] = cycle(plan.requests)
        self._left = plan.count if plan.count is not None else -1  # never reaches 0 from there
        self._from = self._until = self._last = 0
        self._latencies: list[int] = []
        self._bytes = 0
        self._busy = plan.connections
        self.failures: Counter[str] = Counter()

    async def perform(self) -> Result:
        loop = asyncio.get_running_loop()
        self._over = loop.create_future()
        connections: list[Connection] = []
        try:
            for _ in range(self._plan.connections):
                connections.append((await loop.create_connection(lambda: Connection(self), HOST, self._plan.port))[1])
        except OSError as error:
            raise LoadError(f"no connection: {error}") from None
        begun = perf_counter_ns()
        self._from = self._last = begun + int(self._plan.warm_up * SECOND)
        self._until = self._from + int(self._plan.seconds * SECOND)
        for connection in connections:
            connection.send(perf_counter_ns())
        try:
            async with asyncio.timeout(self._plan.warm_up + self._plan.seconds + GRACE):
                await self._over
        except TimeoutError:
            self.failures[f"no answer within {GRACE:.0f} s"] += self._busy
        finally:
            for connection in connections:
                connection.close()
        if self.failures:
            what = ", ".join(f"{count} times: {failure}" for failure, count in self.failures.most_common(3))
            raise LoadError(f"{self.failures.total()} calls failed: {what}")
        if not self._latencies:
            raise LoadError("no call was answered in the time measured")
        return Result(tuple(self._latencies), (self._last - self._from) / SECOND, self._bytes)

    def next_request(self, now: int) -> bytes | None:
        """None: this connection has done its part."""
        if now < self._until and self._left:
            self._left -= 1
            return next(self._requests)
        self.leave()
        return None

    def leave(self) -> None:
        self._busy -= 1
        if self._busy == 0 and not self._over.done():
            self._over.set_result(None)

    def record(self, sent: int, now: int, size: int) -> None:
        if sent >= self._from:
            self._latencies.append(now - sent)
            self._bytes += size
            self._last = now


class Connection(asyncio.Protocol):
    """Reads just as much of an answer as is needed to know where it ends and whether it is a success."""

    def __init__(self, run: _Run) -> None:
        self._run = run
        self._request = b""
        self._head: bytes = b""  # as much of it as has come
        self._size: int = 0
        self._missing: int = 0  # bytes of the body
        self._sent = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's are, in all but name

    def send(self, now: int) -> None:
        request = self._run.next_request(now)
        if request is None:
            self._request = b""
            return
        self._request = request
        self._sent = now
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        if self._missing:
            self._missing -= len(data)
        else:
            data = self._head + data
            end = data.find(b"\r\n\r\n")
            if end < 0:
                self._head = data
                return
            self._head = b""
            head = data[: end + 2].lower()
            self._judge(head, data)
            self._size = end + 4
            if not head.startswith(b"http/1.1 204"):  # it has no body, and no length of one
                start = head.index(b"content-length:") + 15
                self._size += int(head[start : head.index(b"\r\n", start)])
            self._missing = self._size - len(data)
        if self._missing == 0:
            now = perf_counter_ns()
            self._run.record(self._sent, now, self._size + len(self._request))
            if self._run.pause:
                asyncio.get_running_loop().call_later(self._run.pause, lambda: self.send(perf_counter_ns()))
            else:
                self.send(now)
        elif self._missing < 0:
            self._fail("an answer longer than it said")

    def connection_lost(self, exc: Exception | None) -> None:
        if self._request:
            self._fail(f"connection lost ({exc or 'closed by the server'})")

    def close(self) -> None:
        self._request = b""
        self._transport.abort()

    def _judge(self, head: bytes, data: bytes) -> None:
        if not head.startswith(SUCCESSES) or b"x-amz-function-error" in head:
            status = data[9 : data.index(b"\r\n")]
            text = b"%s %s" % (status, data[len(head) + 2 :][:200])
            self._run.failures[REQUEST_ID.sub("…", text.decode(errors="replace").strip())] += 1

    def _fail(self, why: str) -> None:
        self._run.failures[why] += 1
        self.close()
        self._run.leave()
