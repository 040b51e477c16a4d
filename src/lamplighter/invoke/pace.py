"""How fast a streamed answer goes: the first 6 MB as fast as the caller takes them, the rest at 2 MB/s (AWS: spec 2.4).

Arithmetic only: it says how long to wait, and whoever sends waits. Time that a function leaves unused is not saved up
for a burst later on.
"""

from lamplighter.model.clock import Clock

BURST = 6_291_456  # bytes
RATE = 2_097_152  # bytes per second


class Pace:
    """Of one stream."""

    def __init__(self, clock: Clock, burst: int = BURST, rate: float = RATE) -> None:
        self._clock = clock
        self._free = burst
        self._rate = rate
        self._paid_until = 0.0  # when the bytes so far are through, at the rate

    def delay(self, size: int) -> float:
        """Seconds until the next `size` bytes may go. They count as gone then."""
        free = min(size, self._free)
        self._free -= free
        if free == size:
            return 0.0
        now = self._clock.monotonic()
        since = max(self._paid_until, now)
        self._paid_until = since + (size - free) / self._rate
        return since - now
