"""How long what a version's environments begin from (SnapStart) is kept, as AWS bills it: from when the version is
published until it is deleted, at least three hours of it (AWS: spec 10.4). The least is told at once, what comes after
it at the end of each period.

Whether it is in memory all that time is the service's own business; AWS's price is for being ready to begin from it.
Time in which the service was not running is not told.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterable, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Self

from lamplighter.model.clock import Clock
from lamplighter.model.functions import FunctionId, FunctionVersion
from lamplighter.model.usage import Cached, Observe

LEAST: Final = 3 * 3600.0  # seconds
PERIOD: Final = 60.0


@dataclass(slots=True)
class _Kept:
    function: FunctionVersion
    until: float  # seconds since the epoch: all before is told, or is not to be


class CachedTime:
    """`there`: whether a version still is. `versions`: those there are already. Use as `async with`."""

    def __init__(
        self,
        clock: Clock,
        observe: Observe | None,
        there: Callable[[FunctionVersion], bool],
        versions: AsyncIterable[FunctionVersion],
    ) -> None:
        self._clock = clock
        self._observe = observe
        self._there = there
        self._versions = versions
        self._kept: dict[tuple[FunctionId, str], _Kept] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._looking: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        if self._observe is not None:
            self._looking = asyncio.get_running_loop().create_task(self._look())
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._looking is not None:
            self._looking.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._looking
        if self._timer is not None:
            self._timer.cancel()
        self.turn()

    async def _look(self) -> None:
        async for function in self._versions:
            if self._there(function):  # it may have been deleted since it was read
                self.know(function)

    def publish(self, function: FunctionVersion) -> None:
        """It is being published, and gets a snapshot."""
        key, now = (function.id, function.version), self._clock.now()
        if self._observe is not None and key not in self._kept:
            self._kept[key] = _Kept(function, now + LEAST)
            self._observe(Cached(function, now, LEAST))
            self._wait()

    def know(self, function: FunctionVersion) -> None:
        """It was published before this start of the service, which told the least."""
        key, now = (function.id, function.version), self._clock.now()
        if self._observe is not None and function.snap_start_on and key not in self._kept:
            published = datetime.fromisoformat(function.last_modified).timestamp()
            self._kept[key] = _Kept(function, max(now, published + LEAST))
            self._wait()

    def changed(self, id: FunctionId) -> None:
        """Something about the function has changed: versions that are gone are kept no longer."""
        for key, kept in tuple(self._kept.items()):
            if key[0] == id and not self._there(kept.function):
                self._tell(kept)
                del self._kept[key]

    def turn(self) -> None:
        """Tell what is due. A timer calls it, and tests do."""
        for kept in self._kept.values():
            self._tell(kept)

    def _tell(self, kept: _Kept) -> None:
        now = self._clock.now()
        if now > kept.until and self._observe is not None:
            self._observe(Cached(kept.function, kept.until, now - kept.until))
            kept.until = now

    def _wait(self) -> None:
        if self._timer is None and self._kept:
            self._timer = asyncio.get_running_loop().call_later(PERIOD, self._turn_on_time)

    def _turn_on_time(self) -> None:
        self._timer = None
        self.turn()
        self._wait()
