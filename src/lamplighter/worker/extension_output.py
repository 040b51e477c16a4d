"""What external extensions write to stdout and stderr, from their one pipe: whole lines into the environment's log, and
to who subscribed to them (AWS: spec 3.5, 3.6). A guest decides what comes: lines and turns have a bound.
"""

from lamplighter.model.clock import Clock
from lamplighter.worker.lines import Lines
from lamplighter.worker.logs import Logs, Tap
from lamplighter.worker.pipe import Pipe

_READS_AT_ONCE = 32


class ExtensionOutput:
    """Reads from `attach` to `detach`; the sandbox owns the descriptor."""

    def __init__(self, logs: Logs, clock: Clock) -> None:
        self.tap: Tap | None = None
        self._logs = logs
        self._clock = clock
        self._pipe: Pipe | None = None
        self._lines = Lines()

    def attach(self, pipe: int) -> None:
        self._pipe = Pipe(pipe, self._logs.allowances, self._take, self._end)

    def drain(self) -> None:
        """Take what has been written so far."""
        for _ in range(_READS_AT_ONCE):
            if self._pipe is None or not self._pipe.read():
                return

    def detach(self) -> None:
        """Take what is left and stop reading. Idempotent."""
        self.drain()
        self._end()

    def _take(self, data: bytes) -> None:
        lines = self._lines.take(data)
        if lines:
            self._give(lines)

    def _end(self) -> None:
        if self._pipe is not None:
            self._pipe.close()
            self._pipe = None
        line = self._lines.finish()
        if line:
            self._give(line)

    def _give(self, lines: bytes) -> None:
        self._logs.lines(lines)
        if self.tap is not None:
            self.tap.lines(self._clock.now(), lines)
