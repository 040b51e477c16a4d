"""One environment's log: what the runtime writes to its pipe, and the service's own lines among it.

The pipe is always emptied, with bounded memory, or the function would block on `print`. Beyond that, nothing is done
that nobody asked for: without a sink and without a wanted tail, bytes are read and dropped. A guest decides what is in
the pipe, so every buffer here has a limit.
"""

import asyncio
import os
from collections.abc import Callable, Sequence

from lamplighter.model.functions import FunctionVersion

# Gets (function version, log stream, whole lines without their line ends), in the event loop; must not wait.
LogSink = Callable[[FunctionVersion, str, Sequence[bytes]], None]

TAIL = 4096  # bytes of the log that Invoke returns on request (AWS: spec 2.1)
_READ = 65536
_LINE_LIMIT = 262144  # a longer line is cut here
_READS_AT_ONCE = 32  # of one turn: a function that floods its log keeps the loop from others no longer than this


class Logs:
    """Owns the reading of `pipe` from `attach` to `detach`; the sandbox owns the descriptor."""

    def __init__(self, function: FunctionVersion, stream: str, sink: LogSink | None) -> None:
        self._function = function
        self._stream = stream
        self._sink = sink
        self._loop = asyncio.get_running_loop()
        self._pipe = -1
        self._partial = b""  # an unfinished line, for the sink
        self._tail: bytearray | None = None

    @property
    def wanted(self) -> bool:
        """False: the service's own lines need not even be made."""
        return self._sink is not None or self._tail is not None

    def attach(self, pipe: int) -> None:
        """`pipe`: a non-blocking descriptor."""
        self._pipe = pipe
        self._loop.add_reader(pipe, self._readable)

    def detach(self) -> None:
        """Take what is left and stop reading. Idempotent."""
        if self._pipe >= 0:
            self.drain()
        if self._pipe >= 0:
            self._loop.remove_reader(self._pipe)
            self._pipe = -1
        self._finish_line()

    def drain(self) -> None:
        """Take what has been written so far."""
        for _ in range(_READS_AT_ONCE):
            if self._pipe < 0 or not self._readable():
                return

    def collect_tail(self) -> None:
        """From here on keep the last bytes, until `tail` takes them."""
        self.drain()
        self._tail = bytearray()

    def tail(self) -> bytes | None:
        """The last 4,096 bytes since `collect_tail`; None if it was not called."""
        if self._tail is None:
            return None
        kept, self._tail = bytes(self._tail[-TAIL:]), None
        return kept

    def write(self, *lines: bytes) -> None:
        """Lines of the service's own; an unfinished line of the function's ends before them."""
        self._finish_line()
        if self._tail is not None:
            if self._tail and not self._tail.endswith(b"\n"):
                self._tail += b"\n"
            self._keep(b"\n".join(lines) + b"\n")
        if self._sink is not None:
            self._sink(self._function, self._stream, lines)

    def _readable(self) -> bool:
        """Read once; whether there may be more."""
        try:
            data = os.read(self._pipe, _READ)
        except BlockingIOError:
            return False
        if not data:  # every process that held the other end is gone
            self._loop.remove_reader(self._pipe)
            self._pipe = -1
            return False
        if self._tail is not None:
            self._keep(data)
        if self._sink is not None:
            *lines, self._partial = (self._partial + data).split(b"\n")
            if len(self._partial) > _LINE_LIMIT:
                lines.append(self._partial)
                self._partial = b""
            if lines:
                self._sink(self._function, self._stream, lines)
        return len(data) == _READ

    def _keep(self, data: bytes) -> None:
        assert self._tail is not None
        self._tail += data
        if len(self._tail) > 2 * TAIL:
            del self._tail[:-TAIL]

    def _finish_line(self) -> None:
        if self._partial and self._sink is not None:
            self._sink(self._function, self._stream, (self._partial,))
            self._partial = b""
