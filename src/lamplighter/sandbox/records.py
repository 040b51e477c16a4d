"""What the sandbox server has: its sandboxes, the slots and cgroups they take, and the /tmp of those that are gone.

A slot is a user id and a host name. Nobody else gets it before all that its user left behind is gone.
"""

import contextlib
import errno
from collections import deque
from dataclasses import dataclass

from lamplighter.sandbox.cgroup import Cgroup, Cgroups
from lamplighter.sandbox.channel import Channel
from lamplighter.sandbox.sizes import limits
from lamplighter.sandbox.spawn import ForkServerProcess
from lamplighter.sandbox.tmp import Kept, Tmp

SANDBOXES_LIMIT = 4096


@dataclass(slots=True)
class Record:
    """A sandbox as the server knows it: in a line of those that wait while `id` is None, then the service's name for
    it."""

    number: int
    slot: int
    home: ForkServerProcess
    cgroup: Cgroup
    orders: Channel | None  # None: it has all it gets, or is a copy, which gets it another way
    line: deque["Record"]
    id: int | None = None
    code: str = ""
    tmp: Tmp | None = None  # once it has its order
    keep_tmp: bool = True
    copied: bool = False  # of a template
    memory_size: int = 0  # of a template, and the next
    ephemeral_storage: int = 0

    @property
    def on_disk(self) -> bool:
        """Whether what is in its /tmp is no memory."""
        return self.tmp is not None and not self.tmp.in_memory


class Records:
    def __init__(self, cgroups: Cgroups) -> None:
        self._cgroups = cgroups
        self._by_number: dict[int, Record] = {}
        self._numbers: dict[int, int] = {}  # by the service's id
        self._kept: dict[int, Kept] = {}  # of sandboxes that are gone, by the service's id
        self._last_number = 0
        self._free_slots = deque(range(SANDBOXES_LIMIT))
        self.leaving: list[Cgroup] = []  # to be removed once empty

    @property
    def full(self) -> bool:
        return not self._free_slots

    def check_room(self) -> None:
        """Raises OSError when there are as many as there may be."""
        if self.full:
            raise OSError(errno.EUSERS, f"this server runs its {SANDBOXES_LIMIT} sandboxes already")

    def get(self, number: int) -> Record:
        return self._by_number[number]

    def __contains__(self, record: Record) -> bool:
        return record.number in self._by_number

    def all(self) -> list[Record]:
        return list(self._by_number.values())

    def named(self, name: int) -> Record | None:
        """By the service's id."""
        number = self._numbers.get(name)
        return None if number is None else self._by_number[number]

    def in_use(self, name: int) -> bool:
        return name in self._numbers or name in self._kept

    def place(self, kept: Kept | None = None, memory_size: int | None = None) -> tuple[int, int, Cgroup]:
        """Number, slot and cgroup of one more, to be `add`ed. memory_size: MB, if it is known. Raises OSError."""
        slot = kept.slot if kept else self._free_slots.popleft()
        self._last_number += 1
        try:
            if kept and kept.cgroup:
                cgroup = kept.cgroup
                cgroup.again()
            else:
                cgroup = self._cgroups.make(f"{slot}-{self._last_number}")
            if memory_size is not None:
                cgroup.limit(limits(memory_size))
        except OSError:
            if kept is None:
                self._free_slots.append(slot)
            raise
        return self._last_number, slot, cgroup

    def add(self, record: Record) -> None:
        self._by_number[record.number] = record

    def name(self, record: Record, name: int) -> None:
        """It is the service's now."""
        record.id = name
        self._numbers[name] = record.number

    def memory(self, number: int) -> tuple[int, tuple[int, int] | None] | None:
        """The most used in bytes, and what files on a disk and all else have of it now, unless all counts. None: nobody
        wants to know, or nobody knows."""
        record = self._by_number.get(number)
        if record is None or record.id is None:
            return None
        with contextlib.suppress(OSError, ValueError):
            return record.cgroup.memory_seen(record.on_disk)
        return None

    def remove(self, number: int) -> Record | None:
        """A sandbox is gone: give back what it had, but not yet what the next one of its environment may get. None:
        it was so before. A copy ends with its template's fork server, and once more when its process has."""
        record = self._by_number.pop(number, None)
        if record is None:
            return None
        if record.orders is not None:
            record.orders.close()
        if record.tmp is None or record.on_disk:
            self._leave(record.cgroup)
        if record.id is None:
            record.line.remove(record)
        else:
            del self._numbers[record.id]
        if record.tmp is None:  # nobody's yet, or a copy, whose /tmp in memory has gone with it
            self._free_slots.append(record.slot)
        return record

    def keep(self, record: Record) -> bool:
        """Its /tmp, when it has one, wants to, and can. A copy's goes with it: what comes next is another copy."""
        if record.tmp is None:
            return False
        kept = Kept(record.slot, record.code, record.tmp, record.cgroup if record.tmp.in_memory else None)
        # What filled the memory may be /tmp: with it the next sandbox would be killed before its first instruction.
        wanted = record.keep_tmp and not record.copied and not (kept.cgroup and kept.cgroup.ran_out())
        if record.id is not None and wanted:
            self._kept[record.id] = kept
            return True
        self.drop(kept)
        return False

    def keeps(self, name: int) -> bool:
        return name in self._kept

    def take_kept(self, name: int) -> Kept | None:
        """Of the sandbox that the service called so; who takes it sees to it."""
        return self._kept.pop(name, None)

    def drop(self, kept: Kept) -> None:
        """Nobody will come for it."""
        kept.tmp.drop()
        if kept.cgroup:
            self._leave(kept.cgroup)
        self._free_slots.append(kept.slot)

    def drop_all(self) -> None:
        for kept in self._kept.values():
            self.drop(kept)

    def _leave(self, cgroup: Cgroup) -> None:
        cgroup.close()
        if not cgroup.remove():
            self.leaving.append(cgroup)

    def tidy(self) -> None:
        for group in self.leaving:
            group.thaw()  # the service may have frozen it a moment after it was killed
        self.leaving = [group for group in self.leaving if not group.remove()]
