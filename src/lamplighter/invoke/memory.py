"""How much memory this host can still give: what the kernel says is available, or less where we are in a cgroup. When
it runs short, idle environments end, the least recently used of all pools first.

Read off the warm path only. A host without /proc/meminfo (there is none that runs sandboxes) has no limit that we know.
"""

import asyncio
import contextlib
import heapq
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from lamplighter.invoke.pool import Key, Pool
from lamplighter.model.clock import Clock

MEBIBYTE: Final = 1_048_576
_ENVIRONMENT: Final = 16 * MEBIBYTE  # what one is thought to take that is on its way, or to give back that ends
_LOOK: Final = 0.1  # seconds for which a look holds
_WATCH: Final = 1.0  # seconds between looks while environments are idle
_PLENTY: Final = 1 << 62
_MEMINFO: Final = Path("/proc/meminfo")
# In a container with a cgroup namespace of its own, what it may use: version 2, and version 1.
_LIMITS: Final = (
    (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory.current")),
    (Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"), Path("/sys/fs/cgroup/memory/memory.usage_in_bytes")),
)


class Room:
    """For how many environments there is memory. `memory`: bytes that the host can still give (None: nobody knows), of
    which `reserve` are left alone; 0: nobody looks."""

    def __init__(self, clock: Clock, memory: Callable[[], int | None], reserve: int) -> None:
        self._clock = clock
        self._memory = memory
        self._reserve = reserve
        self._looked = float("-inf")
        self._above = _PLENTY  # the reserve, as of then

    @property
    def watched(self) -> bool:
        return self._reserve > 0

    def has(self, count: int) -> bool:
        """Room for so many more, those on their way included."""
        self._look()
        return self._above >= count * _ENVIRONMENT

    def missing(self) -> int:
        """How many environments should end, so that twice the reserve is there again. Said once for each look."""
        if not self._look():
            return 0
        return max(0, -(-(self._reserve - self._above) // _ENVIRONMENT))

    def _look(self) -> bool:
        now = self._clock.monotonic()
        if not self._reserve or now - self._looked < _LOOK:
            return False
        found = self._memory()
        self._looked = now
        self._above = _PLENTY if found is None else found - self._reserve
        return True


class Relief:
    """Keeps the reserve free at the cost of what is idle in `pools`. `end` ends the least recently used environment of
    one pool."""

    def __init__(self, room: Room, pools: Mapping[Key, Pool], end: Callable[[Pool], None]) -> None:
        self._room = room
        self._pools = pools
        self._end = end
        self._watch: asyncio.TimerHandle | None = None

    def has_room(self, count: int) -> bool:
        """For so many more environments, those on their way included."""
        self.relieve()
        return self._room.has(count)

    def relieve(self) -> None:
        count = self._room.missing()
        if not count:
            return
        oldest = [(pool.idle[0][1], index, pool) for index, pool in enumerate(self._pools.values()) if pool.idle]
        heapq.heapify(oldest)
        while oldest and count:
            _, index, pool = heapq.heappop(oldest)
            self._end(pool)
            count -= 1
            if pool.idle:
                heapq.heappush(oldest, (pool.idle[0][1], index, pool))

    def watch(self) -> None:
        """From now on, while there are pools."""
        if self._watch is None and self._room.watched:
            self._watch = asyncio.get_running_loop().call_later(_WATCH, self._look)

    def close(self) -> None:
        if self._watch is not None:
            self._watch.cancel()

    def _look(self) -> None:
        self._watch = None
        self.relieve()
        if self._pools:
            self.watch()


def available() -> int | None:
    """Bytes; None: nobody knows."""
    found = [_of_host(), *(_within(limit, used) for limit, used in _LIMITS)]
    return min((size for size in found if size is not None), default=None)


def _of_host() -> int | None:
    with contextlib.suppress(OSError):
        return in_meminfo(_MEMINFO.read_bytes())
    return None


def in_meminfo(text: bytes) -> int | None:
    _, found, rest = text.partition(b"MemAvailable:")
    size = rest.split(maxsplit=1)[0] if found and rest.strip() else b""
    return int(size) * 1024 if size.isdigit() else None


def _within(limit: Path, used: Path) -> int | None:
    with contextlib.suppress(OSError, ValueError):  # "max": there is none
        return max(0, int(limit.read_bytes()) - int(used.read_bytes()))
    return None
