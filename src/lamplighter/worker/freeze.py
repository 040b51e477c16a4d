"""An environment that has nothing to do is frozen (AWS: spec 3.1): what its function left running gets no time.

Only after a moment, so that a function that is called again at once pays nothing for it: a busy one notes the time, and
a timer that is left standing looks at it, as with `deadline.py`.
"""

import asyncio
from collections.abc import Callable

from lamplighter.sandbox.contract import Sandbox

FREEZE_AFTER = 0.075  # seconds
_TICK = 0.002  # seconds; timers of the loop are no finer


class Freeze:
    """`idle`: gives the sandbox, if nothing goes on in it. `after`: seconds; None: never."""

    __slots__ = ("_after", "_idle", "_loop", "_since", "_timer", "frozen")

    def __init__(
        self, loop: asyncio.AbstractEventLoop, idle: Callable[[], Sandbox | None], after: float | None
    ) -> None:
        self.frozen: Sandbox | None = None
        self._loop = loop
        self._idle = idle
        self._after = after
        self._since = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def begin(self) -> None:
        """From now on it may have nothing to do."""
        self._since = self._loop.time()
        if self._timer is None and self._after is not None:
            self._timer = self._loop.call_later(self._after, self._look)

    def end(self) -> None:
        """It has, or it is let go."""
        sandbox, self.frozen = self.frozen, None
        if sandbox is not None:
            sandbox.thaw()

    def clear(self) -> None:
        self.end()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        self._timer = None
        assert self._after is not None
        left = self._since + self._after - self._loop.time()
        if left > _TICK:
            self._timer = self._loop.call_later(left, self._look)
            return
        sandbox = self._idle()
        if sandbox is not None:
            self.frozen = sandbox
            sandbox.freeze()
