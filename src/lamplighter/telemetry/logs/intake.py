"""Takes in what functions write, at the speed at which they run: a line costs its copy to the end of a buffer.

What is written is kept as it will stand on disk, one buffer for each stream, so that nothing is kept in pieces (they
would push everything else out of the processor's caches) and the archive's writing thread has little left to do, at
most `FLUSH` seconds later. Each function has a queue of its own with a bound. One that writes faster than its log can
be kept loses its own oldest lines, is told how many in their place, and takes nothing from anybody else.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Final
from weakref import WeakSet

import orjson

from lamplighter.model.functions import FunctionId, FunctionVersion
from lamplighter.telemetry.logs.archive import Archive, GroupId
from lamplighter.telemetry.logs.segment import LINES, MESSAGE, RECORD, Events

FLUSH: Final = 0.5  # seconds between batches
BOUND: Final = 8 << 20  # bytes that one function may have waiting
BOUND_OF_ALL: Final = 64 << 20  # shared evenly when many functions flood at once
SMALLEST: Final = 256 << 10  # but so much is for each
BLOCK: Final = 256 << 10  # bytes of one block on disk
_HEAD: Final = RECORD.size
_PACK: Final = RECORD.pack
_EMBEDDED: Final = b'"_aws"'  # without it, a line has no embedded metrics

# Account, region, log group, when it was written (seconds since the epoch), and the lines.
Embed = Callable[[str, str, str, float, bytes], None]

_log = logging.getLogger(__name__)


class StreamLog:
    """One environment's way into its log stream."""

    __slots__ = ("__weakref__", "_buffer", "_first", "_last", "_queue", "_records", "json", "name")

    def __init__(self, queue: "_Queue", name: str, json: bool) -> None:
        self._queue = queue
        self.name = name
        self.json = json
        self._buffer = bytearray()  # records, as on disk
        self._records = 0
        self._first = self._last = 0  # their times, ms

    def message(self, now: float, data: bytes) -> None:
        """One message, whatever is in it."""
        self.lines(now, data, MESSAGE)

    def lines(self, now: float, data: bytes, kind: int = LINES) -> None:
        """Whole lines, each with its line end (the last one may lack it)."""
        time = int(now * 1000)
        queue, buffer = self._queue, self._buffer
        if not buffer:
            queue.open.append(self)
            self._first = self._last = time
        elif time > self._last:
            self._last = time
        elif time < self._first:
            self._first = time
        size = len(data)
        buffer += _PACK(size, kind, time)
        buffer += data
        self._records += 1
        queue.added += _HEAD + size
        self._look(buffer)

    def many(self, entries: Sequence[tuple[float, bytes]]) -> None:
        """Whole lines of each of these times."""
        queue, buffer = self._queue, self._buffer
        times = [int(now * 1000) for now, _ in entries]
        first, last = min(times), max(times)
        if not buffer:
            queue.open.append(self)
            self._first, self._last = first, last
        self._first, self._last = min(self._first, first), max(self._last, last)
        before = len(buffer)
        for time, (_, data) in zip(times, entries, strict=True):
            buffer += _PACK(len(data), LINES, time)
            buffer += data
        self._records += len(entries)
        queue.added += len(buffer) - before
        self._look(buffer)

    def _look(self, buffer: bytearray) -> None:
        """Whether there is too much of it."""
        queue = self._queue
        if len(buffer) >= BLOCK:
            queue.seal(self)
        if queue.added - queue.taken > SMALLEST:
            queue.check()

    def take(self) -> Events:
        """What is in the buffer."""
        events = Events(self.name, self._first, self._last, self._records, bytes(self._buffer))
        self._buffer = bytearray()
        self._records = 0
        return events


class _Loss:
    """Stands in the place of what a stream has lost."""

    __slots__ = ("lines", "size", "time")

    def __init__(self) -> None:
        self.lines = self.size = self.time = 0  # size: bytes of their texts; time: of the last of them, ms


class _Queue:
    """What one function has waiting. The event loop puts in, and drops; the writing thread takes from the other end;
    each counter has one writer."""

    def __init__(self, group: GroupId, intake: "Intake") -> None:
        self.group = group
        self._intake = intake
        self.streams: WeakSet[StreamLog] = WeakSet()  # of environments that live
        self.open: list[StreamLog] = []  # that have something in their buffers
        self.blocks: deque[tuple[StreamLog, Events | _Loss]] = deque()  # oldest first
        self.added = 0  # bytes; by the loop, which also takes off what it drops
        self.taken = 0  # by the thread

    @property
    def waiting(self) -> bool:
        return bool(self.open or self.blocks)

    def seal(self, stream: StreamLog) -> None:
        """Its buffer is full."""
        self.open.remove(stream)
        self.blocks.append((stream, stream.take()))

    def seal_all(self) -> None:
        """So that the thread can take everything."""
        for stream in self.open:
            self.blocks.append((stream, stream.take()))
        self.open.clear()

    def check(self) -> None:
        bound, waiting = self._intake.bound, self.added - self.taken
        if waiting > bound // 2:
            self._intake.hurry()
        if waiting > bound:
            self._drop(waiting - bound * 3 // 4)

    def _drop(self, size: int) -> None:
        """The oldest records of so many bytes; in their place it says how many lines each stream has lost."""
        self.seal_all()
        losses: dict[StreamLog, _Loss] = {}
        while size > 0:
            try:
                stream, found = self.blocks.popleft()
            except IndexError:
                break
            loss = losses.setdefault(stream, _Loss())
            if isinstance(found, _Loss):
                loss.lines += found.lines
                loss.size += found.size
                loss.time = max(loss.time, found.time)
                continue
            rest, gone = _without_oldest(found, size, loss)
            self.added -= gone
            size -= gone
            if rest is not None:
                self.blocks.appendleft((stream, rest))
        self.blocks.extendleft(losses.items())

    def take(self, embedded: "Embed | None" = None) -> Sequence[Events]:
        """In the writing thread: what is sealed, oldest first."""
        blocks: list[Events] = []
        for _ in range(len(self.blocks)):
            try:
                stream, found = self.blocks.popleft()
            except IndexError:  # the loop has dropped some meanwhile
                break
            if isinstance(found, _Loss):
                blocks.append(_told(stream, found))
                continue
            self.taken += len(found.payload)
            if embedded is not None and _EMBEDDED in found.payload:
                for _, time, data in _records(found.payload):
                    if _EMBEDDED in data:
                        embedded(*self.group, time / 1000, data)
            blocks.append(found)
        return blocks


def _records(payload: bytes) -> Iterator[tuple[int, int, bytes]]:
    """Kind, time (ms) and data of each."""
    at = 0
    while at < len(payload):
        length, kind, time = RECORD.unpack_from(payload, at)
        at += _HEAD + length
        yield kind, time, payload[at - length : at]


def _without_oldest(events: Events, size: int, loss: _Loss) -> tuple[Events | None, int]:
    """The rest when records of so many bytes are gone, and of how many they were in fact."""
    gone = count = 0
    for kind, time, data in _records(events.payload):
        gone += _HEAD + len(data)
        count += 1
        loss.lines += data.count(b"\n") if kind == LINES else 1
        loss.size += len(data)
        loss.time = max(loss.time, time)
        if gone >= size:
            break
    if gone == len(events.payload):
        return None, gone
    return events._replace(records=events.records - count, payload=events.payload[gone:]), gone


def _told(stream: StreamLog, loss: _Loss) -> Events:
    line = _dropped(stream.json, loss.lines, loss.size, loss.time)
    return Events(stream.name, loss.time, loss.time, 1, _PACK(len(line), LINES, loss.time) + line)


class Intake:
    """Gives each environment its StreamLog. Belongs to the event loop; `close` writes what still waits.

    `embedded`: shown, in the writing thread, what may have metrics in it."""

    def __init__(self, archive: Archive, embedded: Embed | None = None) -> None:
        self._archive = archive
        self._embedded = embedded
        self._loop = asyncio.get_running_loop()
        self._queues: dict[tuple[FunctionId, str], _Queue] = {}
        self._timer = self._loop.call_later(FLUSH, self._tick)
        self._writing: asyncio.Future[None] | None = None
        self.bound = BOUND
        self.settle: Callable[[], object] = tuple  # has all told that is not told yet

    def open(self, function: FunctionVersion, stream: str) -> StreamLog:
        name = function.log_group or f"/aws/lambda/{function.id.name}"
        queue = self._queues.get((function.id, name))
        if queue is None:
            queue = _Queue(GroupId(function.id.account, function.id.region, name), self)
            self._queues[function.id, name] = queue
        log = StreamLog(queue, stream, function.log_format == "JSON")
        queue.streams.add(log)
        return log

    def hurry(self) -> None:
        """Write now, unless that is being done already."""
        if self._writing is None:
            self._write_all()

    async def flush(self) -> None:
        """What has been added so far, and what `settle` adds, is written when this returns."""
        self.settle()
        if self._writing is not None:
            await asyncio.wait([self._writing])
        self.hurry()
        if self._writing is not None:
            await asyncio.wait([self._writing])

    async def close(self) -> None:
        self._timer.cancel()
        await self.flush()

    def _tick(self) -> None:
        self._timer = self._loop.call_later(FLUSH, self._tick)
        self.settle()
        self.hurry()
        for key, queue in tuple(self._queues.items()):
            if queue.waiting:
                queue.check()  # the disk may be slow; what waits for it has its bound
            elif not queue.streams:
                del self._queues[key]

    def _write_all(self) -> None:
        waiting = [queue for queue in self._queues.values() if queue.waiting]
        if waiting:
            for queue in waiting:
                queue.seal_all()
            self.bound = max(SMALLEST, min(BOUND, BOUND_OF_ALL // len(waiting)))
            self._writing = self._loop.run_in_executor(self._archive.writing, self._write, waiting)
            self._writing.add_done_callback(self._written)

    def _written(self, done: "asyncio.Future[None]") -> None:
        self._writing = None
        if not done.cancelled() and (error := done.exception()) is not None:
            _log.error("logs could not be written", exc_info=error)

    def _write(self, queues: Sequence[_Queue]) -> None:
        """In the writing thread."""
        for queue in queues:
            batches = queue.take(self._embedded)
            if batches:
                self._archive.write(queue.group, batches)


def _dropped(json: bool, lines: int, size: int, at: int) -> bytes:
    """`at`: ms since the epoch."""
    reason = "the function wrote faster than its log could be kept"
    if json:
        record = {"reason": reason, "droppedRecords": lines, "droppedBytes": size}
        time = datetime.fromtimestamp(at / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"
        return orjson.dumps({"time": time, "type": "platform.logsDropped", "record": record}) + b"\n"
    return f"LOGS_DROPPED\tLines: {lines}\tBytes: {size}\tReason: {reason}\n".encode()
