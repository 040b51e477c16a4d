"""Plain invocations are noted as they end, and told many at once: their lines to the log, their figures to who counts.

Beside guests and clients that share the processor's caches, what a call costs goes by the code and the data that it
touches, so the warm path leaves one record here and nothing else. What the records are for is made of many in a row,
which is nearly free. Whoever writes or shows what was told calls `catch_up` first, and so does an environment's own log
before anything else goes into it: what is read has the order and the times in which it happened.
"""

from struct import Struct
from typing import Final
from weakref import WeakSet

from lamplighter.model.clock import Clock
from lamplighter.model.functions import FunctionVersion
from lamplighter.model.usage import Count, Observe, Ran
from lamplighter.worker import log_lines
from lamplighter.worker.logs import Logs

AT_ONCE: Final = 256  # invocations, of all environments
ID: Final = 36  # characters of a request id
FAILED, STARTED, REPORTED = 1, 2, 4  # its answer is an error; START is told; all its lines are told, or are not wanted
_UNKNOWN: Final = -1  # memory peak

_Call = tuple[bytes, float, float, float, int, int]
# Request id; seconds since the epoch at its start and when it was over; milliseconds; bytes; flags.
_RECORD: Final = Struct(f"<{ID}sdddqB")
_PACK: Final = _RECORD.pack


class Notebook:
    """Of all environments. `count`, `observe`: told of every invocation; None: nobody wants to know."""

    def __init__(self, count: Count | None = None, observe: Observe | None = None, at_once: int = AT_ONCE) -> None:
        self.count = count
        self.observe = observe
        self.at_once = at_once
        self.noted = 0
        self.waiting: set[Notes] = set()
        self._all: WeakSet[Notes] = WeakSet()

    def open(self, function: FunctionVersion, logs: Logs, clock: Clock, initialization: str) -> "Notes":
        notes = Notes(self, function, logs, clock, initialization)
        self._all.add(notes)
        return notes

    def tell(self) -> None:
        """What is over."""
        self.noted = 0
        while self.waiting:
            self.waiting.pop().tell()

    def catch_up(self) -> None:
        """What is over, and what has begun."""
        self.tell()
        for notes in tuple(self._all):
            notes.catch_up()


class Notes:
    """One environment's."""

    __slots__ = (
        *("__weakref__", "_arn", "_began", "_book", "_clock", "_function", "_initialization", "_logs", "_records"),
        "begun",
    )

    def __init__(
        self, book: Notebook, function: FunctionVersion, logs: Logs, clock: Clock, initialization: str
    ) -> None:
        self._book = book
        self._function = function
        self._logs = logs
        self._clock = clock
        self._initialization = initialization
        self._arn = ""  # by which those in the records were invoked
        self._records = bytearray()
        self._began = 0.0  # when the one in hand did, seconds since the epoch
        self.begun = ""  # its request id, until its START is told
        logs.before = self.catch_up

    def begin(self, request_id: str) -> None:
        """Its START is to be told before anything else, but not now."""
        self.begun = request_id
        self._began = self._clock.now()

    def end(self, request_id: str, arn: str, duration: float, peak: int | None, flags: int) -> None:
        """It is over now. `duration`: milliseconds; `peak`: bytes."""
        book = self._book
        if not self._records or arn != self._arn:
            self.tell()
            self._arn = arn
            book.waiting.add(self)
        if not self.begun:
            flags |= STARTED
        self.begun = ""
        peak = _UNKNOWN if peak is None else peak
        self._records += _PACK(request_id.encode(), self._began, self._clock.now(), duration, peak, flags)
        book.noted += 1
        if book.noted >= book.at_once:
            book.tell()

    def catch_up(self) -> None:
        if self._records:
            self.tell()
        if self.begun:
            begun, self.begun = self.begun, ""
            self._logs.put(((self._began, log_lines.start(begun, self._function.version)),))

    def tell(self) -> None:
        """Of those that are over."""
        if not self._records:
            return
        records, self._records = self._records, bytearray()
        calls = tuple(_RECORD.iter_unpack(records))
        entries: list[tuple[float, bytes]] = []
        version, size = self._function.version.encode(), self._function.memory_size
        for id, began, over, duration, peak, flags in calls:
            if flags < REPORTED:
                if flags < STARTED:
                    entries.append((began, log_lines.plain_start(id, version)))
                entries.append((over, log_lines.plain_end(id, duration, size, _known(peak))))
        if entries:
            self._logs.put(entries)
        if self._book.count is not None:
            self._count(self._book.count, calls)

    def _count(self, count: Count, calls: tuple[_Call, ...]) -> None:
        """Together where that can be."""
        _, _, first, duration, _, _ = calls[0]
        _, _, last, _, peak, _ = calls[-1]
        kind = self._function, self._arn, self._initialization
        durations = [call[3] for call in calls]
        errors = sum([call[5] & FAILED for call in calls])
        if not count(*kind, first - duration / 1000, last, durations, _known(peak), errors):
            for call in calls:
                self._observe(*call)

    def _observe(self, id: bytes, _: float, over: float, duration: float, peak: int, flags: int) -> None:
        if self._book.observe is not None:
            ran = Ran(
                function=self._function,
                request_id=id.decode(),
                invoked_arn=self._arn,
                tenant=None,
                source="sync",
                payload=0,  # nobody counts it
                initialization=self._initialization,
                began=over - duration / 1000,
                duration=duration,
                init=None,
                extensions=0.0,
                memory_peak=_known(peak),
                status="error" if flags & FAILED else "success",
                error_type=None,
                streamed=0,
            )
            self._book.observe(ran)


def _known(peak: int) -> int | None:
    return None if peak == _UNKNOWN else peak
