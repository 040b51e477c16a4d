"""What an environment writes, as it comes out of one of its pipes, and no faster than the others bear.

A pipe that nobody empties would block the function on `print`, so every pipe is always read. But whoever reads as fast
as a function can write gives it the service's processor: lines are split, stamped and stored. So large reads are
counted, and beyond a rate a pipe rests for a moment, in which its writer waits. That slows a flood alone: what a
function writes otherwise comes in pieces too small to count, or fits into what may come at once.
"""

import asyncio
import os
from collections.abc import Callable

_READ = 65536  # bytes, as much as a pipe holds
_LARGE = 4096  # bytes; what is less is not counted
RATE = 6_400_000  # bytes per second of one environment
RATE_OF_ALL = 4 * RATE
AT_ONCE = 0.15  # seconds' worth that may come at once after a rest: 1 MB of one environment


class Allowance:
    """So many bytes per second. Of one environment, or of all together."""

    __slots__ = ("_rate", "_used")

    def __init__(self, rate: float) -> None:
        self._rate = rate
        self._used = 0.0  # until when, on the loop's clock, what has come uses it up

    def use(self, now: float, size: int) -> float:
        """When the next bytes may come; `now` or before: at once."""
        self._used = max(self._used, now - AT_ONCE) + size / self._rate
        return self._used


class Pipe:
    """Read from the beginning until `close`, or until every process that held the other end is gone."""

    __slots__ = ("_allowances", "_descriptor", "_ended", "_loop", "_rest", "_take")

    def __init__(
        self,
        descriptor: int,
        allowances: tuple[Allowance, ...],
        take: Callable[[bytes], object],
        ended: Callable[[], None],
    ) -> None:
        """`descriptor`: non-blocking, and its owner's to close. `ended`: called at its end of file; is to `close`."""
        self._descriptor = descriptor
        self._allowances = allowances
        self._take = take
        self._ended = ended
        self._rest: asyncio.TimerHandle | None = None
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(descriptor, self.read)

    def read(self) -> int:
        """Once; how many bytes came."""
        try:
            data = os.read(self._descriptor, _READ)
        except BlockingIOError:
            return 0
        if not data:
            self._ended()
            return 0
        if len(data) >= _LARGE:
            self._count(len(data))
        self._take(data)
        return len(data)

    def _count(self, size: int) -> None:
        now = self._loop.time()
        due = max([allowance.use(now, size) for allowance in self._allowances])
        if due > now and self._rest is None:
            self._loop.remove_reader(self._descriptor)
            self._rest = self._loop.call_at(due, self._go_on)

    def _go_on(self) -> None:
        self._rest = None
        self._loop.add_reader(self._descriptor, self.read)

    def close(self) -> None:
        """Read no more. Idempotent."""
        if self._rest is not None:
            self._rest.cancel()
            self._rest = None
        elif self._descriptor >= 0:
            self._loop.remove_reader(self._descriptor)
        self._descriptor = -1
