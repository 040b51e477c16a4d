"""Where each sandbox gets its /tmp from: from the disk when there is one ready, or made soon, and else from memory.

A start that waits for the disk waits here, with its descriptors. What got less than the operator chose is counted, and
the service's log told.
"""

import os
import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from lamplighter.sandbox.channel import close_all
from lamplighter.sandbox.messages import Configuration, Start
from lamplighter.sandbox.stock import AGE, DiskTmp, Stock
from lamplighter.sandbox.tmp import PLACE, HostTmp, MemoryTmp, Tmp

TMP_LIMIT = 3.0  # seconds that a start waits for a disk
AGAIN = 1.0  # seconds until a process that died is followed by another
REPEAT = 60.0  # seconds between two notices of the same kind


@dataclass(frozen=True, slots=True)
class Waiting:
    """A start that waits for its /tmp."""

    asked: Start
    descriptors: list[int]
    until: float  # on the monotonic clock; then it takes one in memory


class Notices:
    """What the service's log is told, each kind of thing once a minute at most. tell: sends to the service."""

    def __init__(self, tell: Callable[[dict[str, Any]], None]) -> None:
        self._tell = tell
        self._told: dict[str, float] = {}  # when last, on the monotonic clock

    def tell(self, kind: str, text: str) -> None:
        now = time.monotonic()
        if now - self._told.get(kind, -REPEAT) >= REPEAT:
            self._told[kind] = now
            self._tell({"type": "notice", "text": text})


class Tmps:
    """start: begins a start that has waited; takes of the descriptors what it wants. dying: takes what `waitpid` calls
    children that end by themselves."""

    def __init__(
        self,
        told: Configuration,
        start: Callable[[Start, list[int]], None],
        notices: Notices,
        dying: list[int],
    ) -> None:
        self._told = told
        self.stock: Stock | None = None
        self._start = start
        self._notices = notices
        self._dying = dying
        self._waiting: deque[Waiting] = deque()
        self._refill_at: float | None = None
        self._again_at: float | None = None
        self._in_memory = 0  # that were to be on the disk

    def begin(self) -> Stock | None:
        """What /tmp on the disk is made by, if it is to be there."""
        if self._told.storage and self._told.isolation == "full":
            self.stock = Stock.launch(self._told.storage)
        return self.stock

    @property
    def due(self) -> float | None:
        """When `go_on` is to be called, on the monotonic clock."""
        first = self._waiting[0].until if self._waiting else None
        return min((due for due in (first, self._refill_at, self._again_at) if due is not None), default=None)

    def start(self, asked: Start, descriptors: list[int]) -> None:
        """Now, or when there is a /tmp for it. Takes the descriptors over then."""
        waits = Waiting(asked, descriptors.copy(), time.monotonic() + TMP_LIMIT)
        if not self._must_wait(waits):
            self._start(asked, descriptors)
            return
        self._waiting.append(waits)
        descriptors.clear()
        self._want_for_those_who_wait()

    def make(self, asked: Start) -> Tmp:
        place = os.path.join(self._told.run_dir, PLACE, str(asked.id))
        if self._told.isolation == "none":
            return HostTmp.make(place)
        if self.stock:
            if made := self.stock.take(asked.ephemeral_storage, place):
                return made
            self._note_memory(self.stock)
        return MemoryTmp.make(place, asked.ephemeral_storage, self._dying.append)

    def of_copy(self, number: int, size: int) -> tuple[DiskTmp, int] | None:
        """For a copy of a template, the sandbox with that record, and lent to it. It may be needed at once, so it waits
        for nobody: when there is none it makes its own, in memory. size: MB."""
        if self.stock is None:
            return None
        made = None
        try:
            made = self.stock.take(size, os.path.join(self._told.run_dir, PLACE, f"copy-{number}"))
            self.stock.want(size, 1)
            if made is not None:
                return made, made.lend()
        except OSError:
            if made:
                made.drop()
        self._note_memory(self.stock)
        return None

    def _note_memory(self, stock: Stock) -> None:
        self._in_memory += 1
        reason = stock.unable or "none was ready in time"
        text = f"/tmp is in memory, and counts as theirs, in {self._in_memory} environments so far: {reason}"
        self._notices.tell("memory", text)

    def _must_wait(self, waits: Waiting) -> bool:
        """Whether it is to have a /tmp on the disk, and there will be one."""
        asked = waits.asked
        if self.stock is None or asked.tmp_of is not None or self.stock.has(asked.ephemeral_storage):
            return False
        return self.stock.unable is None and time.monotonic() < waits.until

    def _want_for_those_who_wait(self) -> None:
        if self.stock is not None:
            for size, count in Counter(waits.asked.ephemeral_storage for waits in self._waiting).items():
                self.stock.want(size, count)

    def restock(self, stock: Stock) -> bool:
        """One has been made, or can't be; who waited for it goes on. False: no more will come, so it is `lost`."""
        before, scarce = stock.unable, stock.scarce
        try:
            more = stock.receive()
        except BlockingIOError:
            return True
        if stock.unable and not before:
            text = f"/tmp of functions is in memory, and counts as theirs: {stock.unable}"
            self._notices.tell("memory", text)
        if stock.scarce and not scarce:
            text = "the disk is nearly full: functions may write less to /tmp than they asked for, and are told ENOSPC"
            self._notices.tell("scarce", text)
        if more:
            self.go_on()
        return more

    def lost(self, stock: Stock) -> None:
        stock.lose()
        self._dying.append(-stock.pid)  # its group: an mkfs that it waited for is our child now
        self._again_at = time.monotonic() + AGAIN if stock.gone else None
        self.go_on()

    def again(self) -> Stock | None:
        """Another in place of one that was lost, if it is time for it. What the other made may grow to its size now."""
        if self._again_at is None or time.monotonic() < self._again_at:
            return None
        if not (self.stock and self.stock.dead and self._told.storage):
            self._again_at = time.monotonic() + AGAIN
            return None
        self._again_at = None
        self.stock.close()
        self.stock = Stock.launch(self._told.storage)
        return self.stock

    def refill(self) -> None:
        """Keep some ready."""
        self._refill_at = time.monotonic() + AGE if self.stock and self.stock.refill() else None

    def go_on(self) -> None:
        """Those that needn't wait any more."""
        if self._refill_at is not None and time.monotonic() >= self._refill_at:
            self.refill()
        waiting, self._waiting = self._waiting, deque()
        for waits in waiting:
            if self._must_wait(waits):
                self._waiting.append(waits)
            else:
                self._start(waits.asked, waits.descriptors)
                close_all(waits.descriptors)
        self._want_for_those_who_wait()

    def forget(self, name: int) -> None:
        """The service's id of a start that is not wanted any more."""
        for waits in [waits for waits in self._waiting if waits.asked.id == name]:
            self._waiting.remove(waits)
            close_all(waits.descriptors)

    def close(self) -> None:
        """All that were made have been dropped."""
        for waits in self._waiting:
            close_all(waits.descriptors)
        if self.stock:
            self.stock.close()
