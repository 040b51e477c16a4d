"""How many events of one queue may run at once: more while more helps, so that it need not be configured.

A fast function needs few environments for any rate; a slow one needs many; and where the processors are the limit, more
make everything slower. So the window grows while the queue is backed up and attempts don't take longer for it, and
shrinks where they do. Pure: told what happened and when, it only counts.
"""

from typing import Final

FIRST: Final = 8
_ROUND: Final = 0.1  # seconds over which durations are averaged at least: less is chance
QUIET: Final = 1.0  # seconds in which nothing ends: whatever runs takes its time, and more may run beside it
_SLOWER: Final = 2.0  # times the mean duration of few, or of the best: more of them only wait for each other


class Window:
    def __init__(self, now: float, first: int = FIRST, largest: int = 1000) -> None:
        """`now`, as everywhere here: monotonic seconds."""
        self.size = min(first, largest)
        self._first = self.size
        self._largest = largest
        self._began = now  # this round, which is one of `size` attempts
        self._ended = 0
        self._full = 0
        self._seconds = 0.0
        self._best: float | None = None
        self._last = now  # when something ended, or the window was made larger

    def ended(self, now: float, duration: float, backed_up: bool, full: bool = True) -> None:
        """An attempt took `duration` seconds. `backed_up`: others of its queue wait; `full`: at some time beside it as
        many ran as may, so that they waited for this window."""
        self._last = now
        if not backed_up:
            self._begin(now)
            return
        self._ended += 1
        self._full += full
        self._seconds += duration
        if self._ended >= self.size and now - self._began >= _ROUND:
            self._round(self._seconds / self._ended)
            self._begin(now)

    def quiet(self, now: float) -> None:
        """The queue is backed up still."""
        if now - self._last >= QUIET:
            self._last = now
            self._resize(self.size + self._first)

    def throttled(self, now: float, running: int) -> None:
        """A limit let no more than this many run."""
        self.size = max(1, running)
        self._begin(now)

    def _begin(self, now: float) -> None:
        self._began, self._ended, self._full, self._seconds = now, 0, 0, 0.0

    def _round(self, mean: float) -> None:
        if self._best is None:
            self._best = mean  # environments were made meanwhile, perhaps: no measure of what more would do
            return
        if mean < self._best or self.size <= self._first:
            self._best = mean  # with so few it is what it is, whatever it was before
        if mean <= self._best * _SLOWER:
            if self._full * 2 >= self._ended:  # else something else is the limit, and more would be no trial of more
                self._resize(self.size + max(1, self.size // 2))
        else:
            self._resize(max(self._first, self.size - max(1, self.size // 4)))

    def _resize(self, size: int) -> None:
        self.size = min(size, self._largest)
