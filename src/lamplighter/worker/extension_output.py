"""What external extensions write to stdout and stderr, from their one pipe: whole lines into the environment's log, and
to who subscribed to them (AWS: spec 3.5, 3.6). A guest decides what comes: lines and turns have a bound.
"""

import asyncio
import os

from lamplighter.model.clock import Clock
from lamplighter.worker.lines import Lines
from lamplighter.worker.logs import Logs, Tap

_READ = 65536
_READS_AT_ONCE = 32


class ExtensionOutput:
    """Reads from `attach` to `detach`; the sandbox owns the descriptor."""

    def __init__(self, logs: Logs, clock: Clock) -> None:
        self.tap: Tap | None = None
        self._logs = logs
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._pipe = -1
        self._lines = Lines()

    def attach(self, pipe: int) -> None:
        self._pipe = pipe
        self._loop.add_reader(pipe, self._read)

    def drain(self) -> None:
        """Take what has been written so far."""
        for _ in range(_READS_AT_ONCE):
            if self._pipe < 0 or not self._read():
                return

    def detach(self) -> None:
        """Take what is left and stop reading. Idempotent."""
        self.drain()
        if self._pipe >= 0:
            self._loop.remove_reader(self._pipe)
            self._pipe = -1
        self._finish()

    def _read(self) -> bool:
        """Once; whether there was something."""
        try:
            data = os.read(self._pipe, _READ)
        except BlockingIOError:
            return False
        if not data:
            self._loop.remove_reader(self._pipe)
            self._pipe = -1
            self._finish()
            return False
        lines = self._lines.take(data)
        if lines:
            self._give(lines)
        return True

    def _finish(self) -> None:
        line = self._lines.finish()
        if line:
            self._give(line)

    def _give(self, lines: bytes) -> None:
        self._logs.lines(lines)
        if self.tap is not None:
            self.tap.lines(self._clock.now(), lines)
