"""Takes in what functions write, at the speed at which they run: an invocation costs a few appends to a queue.

Everything else (making the service's own lines, sorting by stream, writing) is done in batches by the archive's writing
thread, at most `FLUSH` seconds later. Each function has a queue of its own with a bound. One that writes faster than
its log can be kept loses its own oldest lines, is told how many in their place, and takes nothing from anybody else.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any, Final
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
_MADE: Final = 256  # bytes that lines of the service's own count as while they are not made

# What waits: time (s), stream, kind of record, how the text is made (None: it is there), the text or the arguments.
Entry = tuple[float, "StreamLog", int, Callable[..., bytes] | None, Any]

# Account, region, log group, when it was written (seconds since the epoch), and the lines.
Embed = Callable[[str, str, str, float, bytes], None]

_log = logging.getLogger(__name__)


class StreamLog:
    """One environment's way into its log stream."""

    __slots__ = ("__weakref__", "_append", "_queue", "json", "name", "parts", "span")

    def __init__(self, queue: "_Queue", name: str, json: bool) -> None:
        self._queue = queue
        self._append = queue.entries.append
        self.name = name
        self.json = json
        self.parts: list[bytes] = []  # the writing thread's: records on their way
        self.span: tuple[int, int] = (0, 0)  # the times of the first and the last of them

    def lines(self, now: float, data: bytes) -> None:
        """Whole lines, each with its line end (the last one may lack it)."""
        self._append((now, self, LINES, None, data))
        self._queue.added(len(data))

    def message(self, now: float, data: bytes) -> None:
        """One message, whatever is in it."""
        self._append((now, self, MESSAGE, None, data))
        self._queue.added(len(data))

    def later(self, now: float, make: Callable[..., bytes], arguments: tuple[Any, ...]) -> None:
        """Whole lines that `make` will give when they are needed, in another thread. They are counted at the next
        flush: an invocation has two of these, and no time to spare."""
        self._append((now, self, LINES, make, arguments))


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

    def check(self, waiting: int | None = None) -> None:
        """`waiting`: bytes; None: counted here, with an estimate of the lines that are not made yet."""
        if waiting is None:
            waiting = self._added - self._taken + _MADE * len(self.entries)
        bound = self._intake.bound
        if waiting > bound // 2:
            self._intake.hurry()
        if waiting > bound:
            self._drop(waiting - bound * 3 // 4)

    def _drop(self, size: int) -> None:
        """The oldest entries of so many bytes; in their place it says how many lines each stream has lost."""
        lost: dict[StreamLog, list[int]] = {}
        now = 0.0
        while size > 0:
            try:
                now, stream, kind, make, data = self.entries.popleft()
            except IndexError:
                break
            count = lost.setdefault(stream, [0, 0])
            if make is _dropped:
                count[0] += data[1]
                count[1] += data[2]
            elif make is None:
                count[0] += data.count(b"\n") if kind == LINES else 1
                count[1] += len(data)
                self._added -= len(data)
                size -= len(data)
            else:
                count[0] += 1
                count[1] += _MADE
                size -= _MADE
        for stream, (lines, length) in lost.items():
            self.entries.appendleft((now, stream, LINES, _dropped, (stream.json, lines, length, now)))

    def take(self, embedded: "Embed | None" = None) -> Sequence[Events]:
        """In the writing thread: what waits now, as blocks in the order of their beginnings."""
        streams: dict[StreamLog, int] = {}  # with the size of what is in `parts`
        done: list[Events] = []
        entries, pack = self.entries, RECORD.pack
        for _ in range(len(entries)):
            try:
                now, stream, kind, make, data = entries.popleft()
            except IndexError:  # the loop has dropped some meanwhile
                break
            if make is None:
                self._taken += len(data)
                if embedded is not None and b'"_aws"' in data:
                    embedded(*self.group, now, data)
            else:
                data = make(*data)
            time = int(now * 1000)
            size = streams.get(stream, 0)
            if size > BLOCK:
                done.append(_block(stream))
                size = 0
            if size:
                first, last = stream.span
                if not first <= time <= last:  # else the span stays: most events come many to a millisecond
                    stream.span = (min(first, time), max(last, time))
            else:
                stream.span = (time, time)
            stream.parts.append(pack(len(data), kind, time) + data)
            streams[stream] = size + len(data) + RECORD.size
        done.extend(map(_block, streams))
        return done


def _block(stream: StreamLog) -> Events:
    parts, stream.parts = stream.parts, []
    return Events(stream.name, *stream.span, len(parts), b"".join(parts))


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
                queue.check()  # the disk may be slow; what waits for it has its bound
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


def _dropped(json: bool, lines: int, size: int, now: float) -> bytes:
    reason = "the function wrote faster than its log could be kept"
    if json:
        record = {"reason": reason, "droppedRecords": lines, "droppedBytes": size}
        time = datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"
        return orjson.dumps({"time": time, "type": "platform.logsDropped", "record": record}) + b"\n"
    return f"LOGS_DROPPED\tLines: {lines}\tBytes: {size}\tReason: {reason}\n".encode()
