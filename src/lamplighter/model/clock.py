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
    """The machine's own clocks: their functions themselves, since every call asks some ten times."""

    now = staticmethod(time.time)  # noqa: TID251  # the one place that may
    monotonic = staticmethod(time.monotonic)


def wire_time(now: float) -> str:
    """As most of AWS's answers write it: 2026-01-02T03:04:05.678+0000 (AWS: spec 1.1)."""
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now)) + f".{int(now * 1000) % 1000:03d}+0000"
