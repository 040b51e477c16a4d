"""Sandboxes that wait for somebody to need them: empty ones, those in which a command waits, and copies of templates.

What is slow about a start has been done for them: joining cgroups, and for a command the start of its interpreter.
"""

import json
import socket
import time
from collections import defaultdict, deque
from dataclasses import dataclass

from lamplighter.model.command import Command
from lamplighter.sandbox.channel import Channel
from lamplighter.sandbox.messages import Configuration
from lamplighter.sandbox.records import Record, Records
from lamplighter.sandbox.spawn import ForkServerProcess
from lamplighter.sandbox.supply import FEWEST, LATELY, Supply
from lamplighter.sandbox.templates import Templates
from lamplighter.sandbox.tmp import Kept
from lamplighter.sandbox.tmps import Tmps

STANDING_KEPT = 4  # at most, of commands that wait for the same, some tens of MB each; one if one start came lately
STANDING_AGE = 600.0  # seconds after the last start for which one is kept
STANDING_KINDS = 16
STANDING_LIMIT = 16  # of all kinds together
_LATELY = 10.0  # seconds
REFILL_DELAY = 0.05  # seconds after a start, so as not to take the processor from the one being started


@dataclass(slots=True)
class Demand:
    """For commands that can wait and have the same words and variables."""

    home: str  # runtime
    command: Command
    starts: deque[float]  # the last ones, on the monotonic clock
    standing: deque[Record]  # those that wait

    def wanted(self, now: float) -> int:
        if not self.starts or now - self.starts[-1] > STANDING_AGE:
            return 0
        return max(1, sum(now - start < _LATELY for start in self.starts))


class Lines:
    """due: when `refill` is to be called, on the monotonic clock. forkservers: by runtime, kept by the server."""

    def __init__(
        self,
        told: Configuration,
        records: Records,
        forkservers: dict[str, ForkServerProcess],
        templates: Templates,
        tmps: Tmps,
    ) -> None:
        self._told = told
        self._isolated = told.isolation != "none"
        self._records = records
        self._forkservers = forkservers
        self._templates = templates
        self._tmps = tmps
        self._empty: dict[str, deque[Record]] = defaultdict(deque)  # by runtime
        self._supplies: dict[str, Supply] = defaultdict(Supply)  # by runtime
        self._demands: dict[str, Demand] = {}
        self.due: float | None = None

    def waiting(self, runtime: str, command: Command | None) -> deque[Record]:
        """Where one that is started is to be taken from; there may be none in it."""
        return self.demanded(runtime, command) or self._empty[runtime]

    def demanded(self, runtime: str, command: Command | None) -> deque[Record] | None:
        """Note that one is started. Gives those that wait for it, if it can wait and any do."""
        if command is None or command.waiting is None or not self._isolated:
            return None
        key = json.dumps([runtime, command], sort_keys=True)
        demand = self._demands.get(key)
        if demand is None:
            if len(self._demands) >= STANDING_KINDS:
                return None
            demand = self._demands[key] = Demand(runtime, command, deque(maxlen=STANDING_KEPT), deque())
        demand.starts.append(time.monotonic())
        return demand.standing or None

    def prepare(self, home: ForkServerProcess, kept: Kept | None = None) -> Record:
        """An empty sandbox. It can be given its order at once, however long it takes to come up."""
        number, slot, cgroup = self._records.place(kept)
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        home.channel.send(
            {
                "prepare": number,
                "uid": self._told.first_uid + slot if self._told.isolation == "full" else 0,
                "hostname": _hostname(slot),
            },
            [theirs.detach(), *cgroup.take_procs()],
        )
        record = Record(number, slot, home, cgroup, Channel(ours), self._empty[home.runtime])
        self._records.add(record)
        return record

    def prepare_copy(self, template: Record, line: deque[Record]) -> Record:
        """It can be told to go at once, however long it takes to be made."""
        number, slot, cgroup = self._records.place(memory_size=template.memory_size)
        record = Record(number, slot, template.home, cgroup, None, line, copied=True)
        self._records.add(record)
        mounts: list[int] = []
        if tmp := self._tmps.of_copy(number, template.ephemeral_storage):
            record.tmp = tmp[0]
            mounts.append(tmp[1])
        order = {"memory_tmp": None if tmp else template.ephemeral_storage, "hostname": _hostname(slot)}
        self._templates.prepare(template.number, number, order, [*cgroup.take_procs(), *mounts])
        return record

    def refill_soon(self, runtime: str | None) -> None:
        """`runtime`: where there is a reason for one more."""
        now = time.monotonic()
        if runtime is not None:
            self._supplies[runtime].note(now)
        # Not put off by starts that follow each other: what they take must be there again.
        self.due = min(self.due or now + REFILL_DELAY, now + REFILL_DELAY)

    def refill_now(self) -> None:
        self.due = time.monotonic()

    def refill(self) -> None:
        """Keep some ready."""
        self.due = None
        if not self._isolated:
            return
        self._refill_standing()
        self._refill_copies()
        now = time.monotonic()
        for runtime, home in self._forkservers.items():
            waiting, wanted = self._empty[runtime], self._supplies[runtime].wanted(now)
            while len(waiting) > wanted:
                surplus = waiting.pop()
                surplus.line = deque([surplus])  # no start takes it any more
                home.channel.send({"end": surplus.number})
            if wanted > FEWEST:
                self.due = min(self.due or now + LATELY, now + LATELY)  # to let go what is too many then
            while len(waiting) < wanted and not self._records.full:
                try:
                    waiting.append(self.prepare(home))
                except OSError:
                    return  # the next start says what is wrong

    def _refill_standing(self) -> None:
        now = time.monotonic()
        for key, demand in list(self._demands.items()):
            home, wanted = self._forkservers.get(demand.home), demand.wanted(now)
            for record in list(demand.standing)[wanted:]:
                record.home.channel.send({"end": record.number})
            if not wanted and not demand.standing:
                del self._demands[key]
            while home is not None and len(demand.standing) < wanted and not self._records.full:
                if sum(len(other.standing) for other in self._demands.values()) >= STANDING_LIMIT:
                    break
                empty = self._empty[demand.home]
                try:
                    record = empty.popleft() if empty else self.prepare(home)
                except OSError:
                    break
                assert record.orders is not None
                record.orders.send({"wait": demand.command.words, "variables": demand.command.waiting})
                record.line = demand.standing
                demand.standing.append(record)
        if self._demands:  # sooner where some will be too many by then
            several = any(len(demand.standing) > 1 for demand in self._demands.values())
            self.due = now + (_LATELY if several else STANDING_AGE)

    def _refill_copies(self) -> None:
        for number, spares in self._templates.held:
            if not spares and not self._records.full:
                try:
                    spares.append(self.prepare_copy(self._records.get(number), spares))
                except OSError:
                    return  # the next start says what is wrong

    def thaw_copies(self, line: deque[Record]) -> None:
        for record in self._records.all():
            if record.copied and record.line is line:
                record.cgroup.thaw()


def _hostname(slot: int) -> str:
    return f"169-254-{slot >> 8}-{slot & 255}"
