"""How late the event loop is: what was to be done at a time is done so many seconds after it, as every call is then.

A timer looks four times a second, from its construction to `close`.
"""

import asyncio
from bisect import bisect_left
from itertools import accumulate
from typing import Final

from lamplighter.telemetry.exposition import Histogram

EVERY: Final = 0.25  # seconds
BOUNDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)  # seconds


class LoopLag:
    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._counts = [0] * (len(BOUNDS) + 1)
        self._total = 0.0
        self._timer = self._loop.call_later(EVERY, self._look, self._loop.time() + EVERY)

    def histogram(self) -> Histogram:
        upto = tuple(accumulate(self._counts))
        return Histogram(tuple(zip(BOUNDS, upto[:-1], strict=True)), self._total, upto[-1])

    def close(self) -> None:
        self._timer.cancel()

    def _look(self, due: float) -> None:
        now = self._loop.time()
        late = max(0.0, now - due)
        self._counts[bisect_left(BOUNDS, late)] += 1
        self._total += late
        self._timer = self._loop.call_later(EVERY, self._look, now + EVERY)
