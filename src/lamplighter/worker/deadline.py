"""The time by which something must have happened in an environment: one timer, set lazily.

While answers come in time the timer is left standing, and looks at the deadline only when it fires: a warm invocation
costs no timer at all.
"""

import asyncio
from collections.abc import Callable

_TICK = 0.002  # seconds; timers of the loop are no finer


class Deadline:
    """`reached` is called when it is, unless another `set` or `clear` comes first; it may find nothing running."""

    __slots__ = ("_loop", "_reached", "_timer", "_timer_at", "at")

    def __init__(self, loop: asyncio.AbstractEventLoop, reached: Callable[[], None]) -> None:
        self.at = 0.0  # on the loop's own clock, as are timers
        self._loop = loop
        self._reached = reached
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = 0.0

    def set(self, seconds: float) -> None:
        """From now. The timer is touched only if none is due by then."""
        self.at = at = self._loop.time() + seconds
        if self._timer is None or self._timer_at > at:
            if self._timer is not None:
                self._timer.cancel()
            self._timer_at = at
            self._timer = self._loop.call_at(at, self._tick)

    def clear(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _tick(self) -> None:
        self._timer = None
        left = self.at - self._loop.time()
        if left > _TICK:
            self.set(left)
        else:
            self._reached()
