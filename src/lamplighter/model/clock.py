"""Time is given, never taken: whatever waits, ages or expires asks a Clock, so tests can move it.

Two scales, as everywhere: wall time (epoch) for what people and the wire see, monotonic time for durations.
"""

import time
from typing import Protocol


class Clock(Protocol):
    def now(self) -> float:
        """Wall time, seconds since the epoch, with fraction."""
        ...

    def monotonic(self) -> float:
        """Seconds on a scale that never jumps; only differences mean anything."""
        ...


class SystemClock:
    """The machine's own clocks."""

    def now(self) -> float:
        return time.time()  # noqa: TID251  # the one place that may

    def monotonic(self) -> float:
        return time.monotonic()
