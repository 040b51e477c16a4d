"""One environment's log: what the runtime writes to its pipe, and the service's own lines among it.

The pipe is always emptied (`pipe.py`), with bounded memory. Beyond that, nothing is done
that nobody asked for: without a sink and without a wanted tail, bytes are read and dropped. What goes to the sink is
handed on as it is, unsplit; an invocation does not wait for it to be written. A guest decides what is in the pipe, so
every buffer here has a limit.
"""

import array
import fcntl
import select
import termios
from collections.abc import Callable, Sequence
from typing import Protocol

from lamplighter.model.clock import Clock
from lamplighter.model.functions import FunctionVersion
from lamplighter.worker.application_levels import passes, passing
from lamplighter.worker.lines import LONGEST, Lines
from lamplighter.worker.log_frames import LogFrames, Record
from lamplighter.worker.pipe import RATE, Allowance, Pipe


class LogSink(Protocol):
    """Where one environment's log goes. Called in the event loop; must not wait. `now`: seconds since the epoch."""

    def lines(self, now: float, data: bytes) -> None:
        """Whole lines, each with its line end (the last one may lack it)."""
        ...

    def message(self, now: float, data: bytes) -> None:
        """One entry of the log, whatever is in it."""
        ...

    def many(self, entries: Sequence[tuple[float, bytes]]) -> None:
        """Whole lines of each of these times."""
        ...


# Gives an environment of the version, with this log stream, its sink.
OpenLog = Callable[[FunctionVersion, str], LogSink]


class Tap(Protocol):
    """Who hears of what is written, too. `now`: seconds since the epoch."""

    def lines(self, now: float, data: bytes) -> None:
        """Whole lines."""
        ...

    def record(self, now: float, text: bytes) -> None:
        """One record, whatever lines it has."""
        ...


TAIL = 4096  # bytes of the log that Invoke returns on request (AWS: spec 2.1)
_CLOCK_SKEW = 60.0  # seconds that a record's own time may be off; else it has the time at which it came


class Logs:
    """Reads from `attach` to `detach`; the sandbox owns the descriptors."""

    def __init__(self, clock: Clock, sink: LogSink | None, of_all: Allowance, least: int | None = None) -> None:
        """`of_all`: what all environments may write together; `least`: the application log level below which records
        are dropped; None: none are."""
        self._now = clock.now
        self._least = least
        self.tap: Tap | None = None
        self.before: Callable[[], object] = tuple  # called before anything but what is `put` goes into the log
        self._sink = sink
        self.wanted = sink is not None  # False: the service's own lines need not even be made
        self._poll = select.poll()
        self._unread = array.array("i", [0])
        self.allowances = Allowance(RATE), of_all
        self._pipes: dict[int, Pipe] = {}  # by descriptor
        self._frames = LogFrames()
        self._lines = Lines()
        self._tail: bytearray | None = None

    def attach(self, pipe: int, frames: int = -1) -> None:
        """Non-blocking descriptors: `pipe` brings lines, `frames` framed records, if there is one."""
        if frames >= 0:
            self._frames = LogFrames()
            self._open(frames, self._take_frames, self._end_of_frames)
        self._open(pipe, self._take_lines, lambda: None)

    def _open(self, descriptor: int, take: Callable[[bytes], None], ended: Callable[[], None]) -> None:
        def gone() -> None:
            self._close(descriptor)
            ended()

        self._pipes[descriptor] = Pipe(descriptor, self.allowances, take, gone)
        self._poll.register(descriptor, select.POLLIN)

    def _close(self, descriptor: int) -> None:
        self._pipes.pop(descriptor).close()
        self._poll.unregister(descriptor)

    def detach(self) -> None:
        """Take what is left and stop reading. Idempotent."""
        self.drain()
        for descriptor in tuple(self._pipes):
            self._close(descriptor)
        self._end_of_frames()
        self.before()
        if self._lines.partial:
            self._finish_line(self._now())

    def drain(self) -> None:
        """Take what has been written so far."""
        for descriptor, _ in self._poll.poll(0):  # both at a quarter of the cost of a read in vain
            fcntl.ioctl(descriptor, termios.FIONREAD, self._unread)
            left = self._unread[0]  # what is written meanwhile can wait: a flood must not keep the loop from others
            pipe = self._pipes[descriptor]
            while (taken := pipe.read()) and left > taken:
                left -= taken

    def collect_tail(self) -> None:
        """From here on keep the last bytes, until `tail` takes them."""
        self.drain()
        self._tail = bytearray()
        self.wanted = True

    def tail(self) -> bytes | None:
        """The last 4,096 bytes since `collect_tail`; None if it was not called."""
        if self._tail is None:
            return None
        kept, self._tail = bytes(self._tail[-TAIL:]), None
        self.wanted = self._sink is not None
        return kept

    def write(self, *lines: bytes) -> None:
        """Lines of the service's own; an unfinished line of the function's ends before them."""
        self.before()
        now = self._now()
        if self._lines.partial:
            self._finish_line(now)
        if self._tail is not None:
            self._keep_lines(b"\n".join(lines) + b"\n")
        if self._sink is not None:
            for line in lines:
                self._sink.message(now, line + b"\n")

    def lines(self, lines: bytes) -> None:
        """Whole lines that come another way than the pipes: of extensions, and those that every invocation has."""
        self.before()
        now = self._now()
        if self._lines.partial:
            self._finish_line(now)
        if self._tail is not None:
            self._keep_lines(lines)
        if self._sink is not None:
            self._sink.lines(now, lines)

    def put(self, entries: Sequence[tuple[float, bytes]]) -> None:
        """Lines that the service had to tell before: with their times, and before any that a tail is to show."""
        if self._lines.partial:
            self._finish_line(entries[0][0])
        if self._sink is not None:
            self._sink.many(entries)

    def _take_lines(self, data: bytes) -> None:
        self.before()
        if self._least is None and self._tail is not None:
            self._keep(data)
        if self._sink is None and self._least is None and self.tap is None:
            return
        lines = self._lines.take(data)
        if lines:
            self._give_lines(lines, self._now())

    def _give_lines(self, lines: bytes, now: float) -> None:
        """Whole ones."""
        if self._least is not None:
            lines = passing(lines, self._least)
            if not lines:
                return
            if self._tail is not None:
                self._keep(lines)
        if self._sink is not None:
            self._sink.lines(now, lines)
        if self.tap is not None:
            self.tap.lines(now, lines)

    def _take_frames(self, data: bytes) -> None:
        records, other = self._frames.take(data)
        for record in records:
            self._take_record(record)
        if other:
            self._take_lines(other)

    def _end_of_frames(self) -> None:
        rest = self._frames.rest()
        if rest:
            self._take_lines(rest)

    def _take_record(self, record: Record) -> None:
        if self._least is not None and not passes(record.level, self._least):
            return
        self.before()
        now = self._now()
        if self._lines.partial:
            self._finish_line(now)
        text = record.text[: LONGEST - 1] if len(record.text) >= LONGEST else record.text
        text = text if text.endswith(b"\n") else text + b"\n"
        if self._tail is not None:
            self._keep_lines(text)
        at = record.time if abs(record.time - now) < _CLOCK_SKEW else now
        if self._sink is not None:
            self._sink.message(at, text)
        if self.tap is not None:
            self.tap.record(at, text)

    def _keep(self, data: bytes) -> None:
        assert self._tail is not None
        self._tail += data
        if len(self._tail) > 2 * TAIL:
            del self._tail[:-TAIL]

    def _keep_lines(self, lines: bytes) -> None:
        assert self._tail is not None
        if self._tail and not self._tail.endswith(b"\n"):
            self._tail += b"\n"
        self._keep(lines)

    def _finish_line(self, now: float) -> None:
        line = self._lines.finish()
        if line:
            self._give_lines(line, now)
