"""Takes in what functions write, at the speed at which they run: an invocation costs a few appends to a queue.

Everything else (sorting by stream, writing) is done in batches by the archive's writing thread, at most `FLUSH` seconds
later. Each function has a queue of its own with a bound. One that writes faster than
its log can be kept loses its own oldest lines, is told how many in their place, and takes nothing from anybody else.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from struct import Struct
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
_EACH: Final = 256  # bytes that an entry takes beside its text: small ones come many
_DROPPED: Final = 255  # the kind of what stands in the place of dropped entries
_LOSS: Final = Struct("<QQ")  # its data: lines and bytes

# What waits: time (ms), stream, kind of record, text.
Entry = tuple[int, "StreamLog", int, bytes]

# Account, region, log group, when it was written (seconds since the epoch), and the lines.
Embed = Callable[[str, str, str, float, bytes], None]

_log = logging.getLogger(__name__)


class StreamLog:
    """One environment's way into its log stream."""

    __slots__ = ("__weakref__", "_append", "_queue", "json", "name")

    def __init__(self, queue: "_Queue", name: str, json: bool) -> None:
        self._queue = queue
        self._append = queue.entries.append
        self.name = name
        self.json = json

    def lines(self, now: float, data: bytes) -> None:
        """Whole lines, each with its line end (the last one may lack it)."""
        self._append((int(now * 1000), self, LINES, data))
        self._queue.added(len(data))

    def message(self, now: float, data: bytes) -> None:
        """One message, whatever is in it."""
        self._append((int(now * 1000), self, MESSAGE, data))
        self._queue.added(len(data))


class _Queue:
    """What one function has waiting. The event loop appends and drops, the writing thread takes from the other end,
    and each counter has one writer."""

    def __init__(self, group: GroupId, intake: "Intake") -> None:
        self.group = group
        self._intake = intake
        self.entries: deque[Entry] = deque()
        self.streams: WeakSet[StreamLog] = WeakSet()  # of environments that live, or have left something in `entries`
        self._added = 0  # bytes of texts; by the loop, which also takes off what it drops
        self._taken = 0  # by the thread

    def added(self, size: int) -> None:
        self._added += size
        waiting = self._added - self._taken
        if waiting > SMALLEST:
            self.check(waiting)

    def check(self, waiting: int, each: int = 0) -> None:
        """`waiting`: bytes of texts; `each`: what an entry counts beside its text."""
        bound = self._intake.bound
        waiting += each * len(self.entries)
        if waiting > bound // 2:
            self._intake.hurry()
        if waiting > bound:
            self._drop(waiting - bound * 3 // 4, each)

    def check_all(self) -> None:
        """With what entries take beside their texts: now and then, since to count it takes its time."""
        self.check(self._added - self._taken, _EACH)

    def _drop(self, size: int, each: int) -> None:
        """The oldest entries of so many bytes; in their place it says how many lines each stream has lost."""
        lost: dict[StreamLog, list[int]] = {}
        time = 0
        while size > 0:
            try:
                time, stream, kind, data = self.entries.popleft()
            except IndexError:
                break
            count = lost.setdefault(stream, [0, 0])
            if kind == _DROPPED:
                lines, length = _LOSS.unpack(data)
            else:
                lines, length = data.count(b"\n") if kind == LINES else 1, len(data)
            count[0] += lines
            count[1] += length
            self._added -= len(data)
            size -= len(data) + each
        for stream, (lines, length) in lost.items():
            data = _LOSS.pack(lines, length)
            self.entries.appendleft((time, stream, _DROPPED, data))
            self._added += len(data)

    def take(self, embedded: "Embed | None" = None) -> Sequence[Events]:
        """In the writing thread: what waits now, as blocks of each stream."""
        streams: dict[StreamLog, tuple[list[int], list[bytes]]] = {}  # times, and heads and texts in turn
        take, pack = self.entries.popleft, RECORD.pack
        for _ in range(len(self.entries)):
            try:
                time, stream, kind, data = take()
            except IndexError:  # the loop has dropped some meanwhile
                break
            self._taken += len(data)
            if kind == _DROPPED:
                lines, length = _LOSS.unpack(data)
                kind, data = LINES, _dropped(stream.json, lines, length, time)
            elif embedded is not None and b'"_aws"' in data:
                embedded(*self.group, time / 1000, data)
            found = streams.get(stream)
            if found is None:
                found = streams[stream] = [], []
            times, parts = found
            times.append(time)
            parts += (pack(len(data), kind, time), data)
        return [block for stream, found in streams.items() for block in _blocks(stream.name, *found)]


def _blocks(stream: str, times: Sequence[int], parts: Sequence[bytes]) -> Iterator[Events]:
    """Of about BLOCK bytes each, or less. `parts`: a record's head and its text for each time."""
    begin = size = 0
    if sum(map(len, parts)) > BLOCK:
        for end in range(1, len(times)):
            size += len(parts[2 * end - 2]) + len(parts[2 * end - 1])
            if size > BLOCK:
                yield _block(stream, times[begin:end], parts[2 * begin : 2 * end])
                begin, size = end, 0
    yield _block(stream, times[begin:], parts[2 * begin :])


def _block(stream: str, times: Sequence[int], parts: Sequence[bytes]) -> Events:
    return Events(stream, min(times), max(times), len(times), b"".join(parts))


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
        """What has been added so far is written when this returns."""
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
        self.hurry()
        for key, queue in tuple(self._queues.items()):
            if queue.entries:
                queue.check_all()  # the disk may be slow; what waits for it has its bound
            elif not queue.streams:
                del self._queues[key]

    def _write_all(self) -> None:
        waiting = [queue for queue in self._queues.values() if queue.entries]
        if waiting:
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
