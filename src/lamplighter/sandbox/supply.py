"""How many empty sandboxes wait for starts of one runtime: a few, and as many more as there were reasons lately.

A reason is a start, or a function that was deployed, whose first call may come at once. Each is good for one more for a
while; a start that finds none waits for the kernel, which takes several times as long as all the rest of it.
"""

from collections import deque
from typing import Final

FEWEST: Final = 2  # of a runtime in use, about 2 MB each
MOST: Final = 8
LATELY: Final = 2.0  # seconds


class Supply:
    __slots__ = ("_reasons",)

    def __init__(self) -> None:
        self._reasons: deque[float] = deque(maxlen=MOST)  # on the monotonic clock

    def note(self, now: float) -> None:
        """One more reason."""
        self._reasons.append(now)

    def wanted(self, now: float) -> int:
        return max(FEWEST, sum(now - reason < LATELY for reason in self._reasons))
