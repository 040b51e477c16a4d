"""The sandbox server: the one process of Lamplighter that holds root (or owns a user namespace).

It makes cgroups and mounts and tells fork servers to fork; it never touches a guest's bytes. It is started by the
service over an inherited packet socket and lives exactly as long as that: end of file means kill everything, give
everything back, exit. If it is killed itself, the kernel kills the fork servers (parent-death signal), with each its
pid namespace, and with them every sandbox; mounts go with their namespaces; cgroups are removed at the next start.
"""

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import resource
import selectors
import shutil
import signal
import socket
import sys
import time
from collections import defaultdict, deque
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lamplighter.model.command import Command
from lamplighter.sandbox import linux, netlink
from lamplighter.sandbox.cgroup import Cgroup, Cgroups, hierarchies
from lamplighter.sandbox.channel import Channel, Malformed, close_all
from lamplighter.sandbox.code import Code
from lamplighter.sandbox.messages import Configuration, Copy, End, Hold, Start, Warm, configuration, request
from lamplighter.sandbox.probe import enter_user_namespace
from lamplighter.sandbox.sizes import limits
from lamplighter.sandbox.spawn import ForkServerProcess, spawn
from lamplighter.sandbox.stock import AGE, Stock
from lamplighter.sandbox.supply import FEWEST, LATELY, Supply
from lamplighter.sandbox.templates import Templates, Watched
from lamplighter.sandbox.tmp import PLACE, HostTmp, Kept, MemoryTmp, Tmp
from lamplighter.sandbox.tracing import SUPPORTED

SANDBOXES_LIMIT = 4096
RETRY = 0.01  # seconds until the next try to remove a cgroup whose last process is still on its way out
STANDING_KEPT = 4  # at most, of commands that wait for the same, some tens of MB each; one if one start came lately
STANDING_AGE = 600.0  # seconds after the last start for which one is kept
STANDING_KINDS = 16
STANDING_LIMIT = 16  # of all kinds together
_LATELY = 10.0  # seconds
REFILL_DELAY = 0.05  # seconds after a start, so as not to take the processor from the one being started
TMP_LIMIT = 3.0  # seconds that a start waits for a disk
CLOSING = 5.0  # seconds for everything to be gone at the end
TAKEOVER = 10.0  # seconds that one before us may still need for that
_OURS_IN_RUN_DIR = ("root", "merge", PLACE, "layers-*", "sdk-*")


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


@dataclass(frozen=True, slots=True)
class Waiting:
    """A start that waits for its /tmp."""

    asked: Start
    descriptors: list[int]
    until: float  # on the monotonic clock; then it takes one in memory


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


class Server:
    def __init__(self, channel: Channel, told: Configuration, cgroups: Cgroups, stock: Stock | None = None) -> None:
        self._channel = channel
        self._told = told
        self._cgroups = cgroups
        self._stock = stock
        self._waiting: deque[Waiting] = deque()  # for a /tmp that is being made
        self._code = Code(told.code_root, told.run_dir)
        self._isolated = told.isolation != "none"
        self._selector = selectors.DefaultSelector()
        self._forkservers: dict[str, ForkServerProcess] = {}
        self._records: dict[int, Record] = {}
        self._numbers: dict[int, int] = {}  # of records, by the service's id
        self._kept: dict[int, Kept] = {}  # of sandboxes that are gone, by the service's id
        self._empty: dict[str, deque[Record]] = defaultdict(deque)  # by runtime
        self._supplies: dict[str, Supply] = defaultdict(Supply)  # by runtime
        self._demands: dict[str, Demand] = {}
        self._last_number = 0
        self._free_slots = deque(range(SANDBOXES_LIMIT))
        self._refill_at: float | None = None
        self._leaving: list[Cgroup] = []  # to be removed once empty
        self._dying: list[int] = []  # killed fork servers, to be reaped
        self._templates = Templates(
            self._selector,
            self._channel.send,
            self._ended,
            self._refill_now,
            self._dying,
            netlink.plan(told.reach).prepared() if told.reach is not None and self._isolated else None,
            self._thaw_copies,
        )
        self._pid_namespace = os.open("/proc/self/ns/pid", os.O_RDONLY | os.O_CLOEXEC)

    def serve(self) -> None:
        """Until the service is gone."""
        self._channel.sock.setblocking(False)
        self._selector.register(self._channel, selectors.EVENT_READ, None)
        if self._stock:
            self._selector.register(self._stock.channel, selectors.EVENT_READ, self._stock)
        while True:
            self._watch_writes()
            for key, events in self._selector.select(self._patience()):
                if isinstance(key.data, Watched):
                    if self._selector.get_map().get(key.fd) is not None:  # else gone since the list was made
                        key.data.ready()
                    continue
                if isinstance(key.data, Stock):
                    if events & selectors.EVENT_WRITE:
                        key.data.channel.flush()
                    if events & selectors.EVENT_READ:
                        self._restock(key.data)
                    continue
                forkserver: ForkServerProcess | None = key.data
                if forkserver and self._forkservers.get(forkserver.runtime) is not forkserver:
                    continue  # lost since the list was made
                channel = forkserver.channel if forkserver else self._channel
                if events & selectors.EVENT_WRITE:
                    channel.flush()
                if events & selectors.EVENT_READ and not self._read(channel, forkserver):
                    if forkserver is None:
                        return
                    self._lost(forkserver)
            self._tidy()
            if self._waiting and time.monotonic() >= self._waiting[0].until:
                self._go_on()
            if self._refill_at is not None and time.monotonic() >= self._refill_at:
                self._refill()

    def close(self) -> None:
        """Kill everything and give it back."""
        for forkserver in list(self._forkservers.values()):
            self._lost(forkserver)
        for kept in self._kept.values():
            self._drop(kept)
        for waits in self._waiting:
            close_all(waits.descriptors)
        if self._stock:
            self._stock.close()
        deadline = time.monotonic() + CLOSING
        while (self._leaving or self._dying) and time.monotonic() < deadline:
            self._tidy()
            time.sleep(RETRY if self._leaving or self._dying else 0)
        self._cgroups.remove()
        clear_run_dir(self._told.run_dir)
        with contextlib.suppress(OSError):
            os.rmdir(self._told.run_dir)

    def _patience(self) -> float | None:
        """Seconds to wait for packets."""
        if self._leaving or self._dying:
            return RETRY
        due = [waits.until for waits in self._waiting] + ([] if self._refill_at is None else [self._refill_at])
        return max(0.0, min(due) - time.monotonic()) if due else None

    def _watch_writes(self) -> None:
        for key in list(self._selector.get_map().values()):
            if isinstance(key.data, Watched):
                continue
            channel = key.data.channel if key.data else self._channel
            wanted = selectors.EVENT_READ | (selectors.EVENT_WRITE if channel.pending else 0)
            if wanted != key.events:
                self._selector.modify(key.fileobj, wanted, key.data)

    def _tidy(self) -> None:
        for group in self._leaving:
            group.thaw()  # the service may have frozen it a moment after it was killed
        self._leaving = [group for group in self._leaving if not group.remove()]
        self._dying[:] = [pid for pid in self._dying if os.waitpid(pid, os.WNOHANG)[0] == 0]
        self._templates.tidy()

    def _read(self, channel: Channel, forkserver: ForkServerProcess | None) -> bool:
        """Take one packet; False at end of file."""
        try:
            packet = channel.receive()
        except BlockingIOError:
            return True
        except Malformed as error:
            self._channel.send({"type": "malformed", "reason": str(error)})
            return True
        if packet is None:
            return False
        body, descriptors = packet
        try:
            if forkserver is None:
                self._obey(body, descriptors)
            elif "ended" in body:
                self._ended(body["ended"], body.get("reason"))
        finally:
            close_all(descriptors)
        return True

    def _obey(self, body: dict[str, Any], descriptors: list[int]) -> None:
        try:
            asked = request(body, len(descriptors))
        except Malformed as error:
            name = body.get("id")  # to be echoed only if it is one
            self._channel.send({"type": "malformed", "id": name if type(name) is int else 0, "reason": str(error)})
            return
        match asked:
            case Start():
                waits = Waiting(asked, descriptors.copy(), time.monotonic() + TMP_LIMIT)
                if self._must_wait(waits):
                    self._waiting.append(waits)
                    descriptors.clear()
                else:
                    self._try_start(asked, descriptors)
            case Hold():
                self._hold(asked)
            case Copy():
                try:
                    self._copy(asked, descriptors)
                except OSError as error:
                    self._refuse(asked.id, str(error.strerror), error.errno)
            case Warm():
                with contextlib.suppress(OSError):  # its first start will say what is wrong
                    if asked.runtime in self._told.runtimes:
                        self._forkserver(asked.runtime)
                        self._demanded(asked.runtime, asked.command)
                        self._refill_soon(asked.runtime)
            case End():
                self._end(asked)

    def _refuse(self, name: int, reason: str, number: int | None = None) -> None:
        self._channel.send({"type": "refused", "id": name, "reason": reason, "errno": number})

    def _must_wait(self, waits: Waiting) -> bool:
        """Whether it is to have a /tmp on the disk, and there will be one."""
        asked = waits.asked
        if self._stock is None or asked.tmp_of is not None or self._stock.has(asked.ephemeral_storage):
            return False
        before = sum(other.asked.ephemeral_storage == asked.ephemeral_storage for other in self._waiting)
        self._stock.want(asked.ephemeral_storage, before + 1)
        return self._stock.unable is None and time.monotonic() < waits.until

    def _restock(self, stock: Stock) -> None:
        """A /tmp has been made, or can't be; who waited for it goes on."""
        before = stock.unable
        try:
            if not stock.receive():
                self._selector.unregister(stock.channel)
                stock.end()
        except BlockingIOError:
            return
        if stock.unable and not before:
            text = f"/tmp of functions is in memory, and counts as theirs: {stock.unable}"
            self._channel.send({"type": "notice", "text": text})
        self._go_on()

    def _go_on(self) -> None:
        """Those that needn't wait any more."""
        waiting, self._waiting = self._waiting, deque()
        for waits in waiting:
            if self._must_wait(waits):
                self._waiting.append(waits)
            else:
                self._try_start(waits.asked, waits.descriptors)
                close_all(waits.descriptors)

    def _try_start(self, asked: Start, descriptors: list[int]) -> None:
        try:
            self._start(asked, descriptors)
        except OSError as error:
            where = f" ({error.filename})" if error.filename else ""
            self._refuse(asked.id, f"{error.strerror}{where}", error.errno)

    def _start(self, asked: Start, descriptors: list[int]) -> None:
        """Give an empty sandbox its order: variables, and the function's mounts, made here as that takes privilege."""
        kept = None if asked.tmp_of is None else self._kept.pop(asked.tmp_of, None)
        refusal = self._refusal(asked, kept)
        if refusal:
            self._refuse(asked.id, refusal)
            if kept:
                self._drop(kept)
            return
        mounts: list[int] = []
        tmp = kept.tmp if kept else None
        runtime = self._told.runtimes[asked.runtime]
        try:
            home = self._forkserver(asked.runtime)
            waiting = self._demanded(asked.runtime, asked.command) or self._empty[asked.runtime]
            if not kept and not waiting and not self._free_slots:
                raise OSError(errno.EUSERS, f"this server runs its {SANDBOXES_LIMIT} sandboxes already")
            tmp = tmp or self._make_tmp(asked)
            if self._isolated:
                mounts += [self._code.task(asked.code), tmp.lend()]
                mounts += [self._code.opt(asked.layers)] if asked.layers else []
            order = {
                "variables": asked.variables,
                "command": asked.command and asked.command.words,
                "frames": len(descriptors) == 3,
                "template": asked.template and SUPPORTED,
                "places": self._code.places(asked.code, asked.layers, tmp.place, runtime.client, runtime.sdk)
                if isinstance(tmp, HostTmp)
                else {},
            }
            # Those that wait are other users than the one whose /tmp it is.
            record = waiting.popleft() if waiting and not kept else self._prepare(home, kept)
        except OSError:
            close_all(mounts)
            if kept:
                self._drop(kept)
            elif tmp:
                tmp.drop()
            raise
        record.id, record.tmp, record.code = asked.id, tmp, asked.code
        record.memory_size, record.ephemeral_storage = asked.memory_size, asked.ephemeral_storage
        self._numbers[asked.id] = record.number
        record.cgroup.limit(limits(asked.memory_size))
        assert record.orders is not None
        record.orders.send(order, [*descriptors, *mounts])
        if not order["template"]:
            record.orders.close()
            record.orders = None
        descriptors.clear()  # the channel has closed them
        self._started(record)

    def _started(self, record: Record) -> None:
        gauge, cpu, freezer = record.cgroup.memory_gauge(), record.cgroup.cpu_control(), record.cgroup.freezer()
        told = {"gauge": gauge is not None, "cpu": cpu and cpu[1], "freezer": freezer and freezer[1]}
        self._channel.send(
            {"type": "started", "id": record.id, **told},
            [*([] if gauge is None else [gauge]), *([cpu[0]] if cpu else []), *([freezer[0]] if freezer else [])],
        )
        self._refill_soon(None if record.copied else record.home.runtime)

    def _refusal(self, asked: Start, kept: Kept | None) -> str | None:
        """What is wrong with what is asked for."""
        if asked.id in self._numbers or asked.id in self._kept:
            return "this id is in use"
        if asked.runtime not in self._told.runtimes:
            return f"no runtime {asked.runtime} here"
        if asked.tmp_of is not None and (kept is None or kept.code != asked.code):
            return f"no /tmp of {asked.tmp_of} is kept for it"
        return None

    def _make_tmp(self, asked: Start) -> Tmp:
        place = os.path.join(self._told.run_dir, PLACE, str(asked.id))
        if not self._isolated:
            return HostTmp.make(place)
        made = self._stock.take(asked.ephemeral_storage, place) if self._stock else None
        if made:
            return made
        return MemoryTmp.make(place, asked.ephemeral_storage, self._dying.append)

    def _end(self, asked: End) -> None:
        number = self._numbers.get(asked.id)
        if number is not None:
            self._records[number].keep_tmp = asked.keep_tmp
            record = self._records[number]
            record.cgroup.thaw()
            if record.copied:
                self._templates.end(number)
            else:
                self._templates.forget(number)  # what a keeper holds can't die
                record.home.channel.send({"end": number})
            return
        for waits in [waits for waits in self._waiting if waits.asked.id == asked.id]:
            self._waiting.remove(waits)
            close_all(waits.descriptors)
        if asked.id in self._kept and not asked.keep_tmp:
            self._drop(self._kept.pop(asked.id))
        self._channel.send({"type": "ended", "id": asked.id, "keeps_tmp": asked.id in self._kept})

    def _hold(self, asked: Hold) -> None:
        record = self._records.get(self._numbers.get(asked.id, 0))
        if record is None or record.orders is None:
            self._channel.send({"type": "unfit", "id": asked.id, "reason": "this host can't hold a process"})
            return
        orders, record.orders = record.orders, None
        self._templates.hold(record.number, asked.id, orders)

    def _copy(self, asked: Copy, descriptors: list[int]) -> None:
        """A sandbox that is a copy of a template: it has a cgroup from here, and all else from the keeper."""
        if asked.id in self._numbers:
            self._refuse(asked.id, "this id is in use")
            return
        template = self._records.get(self._numbers.get(asked.of, 0))
        spares = None if template is None else self._templates.spares(template.number)
        if template is None or spares is None:
            self._refuse(asked.id, "its template is gone")
            return
        if not spares and not self._free_slots:
            self._refuse(asked.id, f"this server runs its {SANDBOXES_LIMIT} sandboxes already")
            return
        record = spares.popleft() if spares else self._prepare_copy(template, spares)
        record.id = asked.id
        self._numbers[asked.id] = record.number
        ends = list(descriptors)
        descriptors.clear()  # the channel closes them
        self._templates.go(template.number, record.number, asked.variables, ends)
        self._started(record)

    def _prepare_copy(self, template: Record, line: deque[Record]) -> Record:
        """It can be told to go at once, however long it takes to be made."""
        slot = self._free_slots.popleft()
        self._last_number += 1
        try:
            cgroup = self._cgroups.make(f"{slot}-{self._last_number}")
            cgroup.limit(limits(template.memory_size))
        except OSError:
            self._free_slots.append(slot)
            raise
        record = Record(self._last_number, slot, template.home, cgroup, None, line, copied=True)
        self._records[record.number] = record
        order = {"ephemeral_storage": template.ephemeral_storage, "hostname": f"169-254-{slot >> 8}-{slot & 255}"}
        self._templates.prepare(template.number, record.number, order, cgroup.take_procs())
        return record

    def _refill_copies(self) -> None:
        for number, spares in self._templates.held:
            if not spares and self._free_slots:
                try:
                    spares.append(self._prepare_copy(self._records[number], spares))
                except OSError:
                    return  # the next start says what is wrong

    def _thaw_copies(self, line: deque[Record]) -> None:
        for record in self._records.values():
            if record.copied and record.line is line:
                record.cgroup.thaw()

    def _refill_now(self) -> None:
        self._refill_at = time.monotonic()

    def _prepare(self, home: ForkServerProcess, kept: Kept | None = None) -> Record:
        """An empty sandbox. It can be given its order at once, however long it takes to come up."""
        slot = kept.slot if kept else self._free_slots.popleft()
        self._last_number += 1
        try:
            if kept and kept.cgroup:
                cgroup = kept.cgroup
                cgroup.again()
            else:
                cgroup = self._cgroups.make(f"{slot}-{self._last_number}")
        except OSError:
            if kept is None:
                self._free_slots.append(slot)
            raise
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        home.channel.send(
            {
                "prepare": self._last_number,
                "uid": self._told.first_uid + slot if self._told.isolation == "full" else 0,
                "hostname": f"169-254-{slot >> 8}-{slot & 255}",
            },
            [theirs.detach(), *cgroup.take_procs()],
        )
        line = self._empty[home.runtime]
        record = self._records[self._last_number] = Record(self._last_number, slot, home, cgroup, Channel(ours), line)
        return record

    def _demanded(self, runtime: str, command: Command | None) -> deque[Record] | None:
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

    def _refill_soon(self, runtime: str | None) -> None:
        """`runtime`: where there is a reason for one more."""
        now = time.monotonic()
        if runtime is not None:
            self._supplies[runtime].note(now)
        # Not put off by starts that follow each other: what they take must be there again.
        self._refill_at = min(self._refill_at or now + REFILL_DELAY, now + REFILL_DELAY)

    def _refill(self) -> None:
        """Keep some empty sandboxes ready: it takes the slow part of a start, joining cgroups, off its path. And those
        in which a command waits: that takes the start of an interpreter off it too."""
        self._refill_at = None
        if not self._isolated:
            return
        if self._stock and self._stock.refill():
            self._refill_at = time.monotonic() + AGE
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
                self._refill_at = min(self._refill_at or now + LATELY, now + LATELY)  # to let go what is too many then
            while len(waiting) < wanted and self._free_slots:
                try:
                    waiting.append(self._prepare(home))
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
            while home is not None and len(demand.standing) < wanted and self._free_slots:
                if sum(len(other.standing) for other in self._demands.values()) >= STANDING_LIMIT:
                    break
                empty = self._empty[demand.home]
                try:
                    record = empty.popleft() if empty else self._prepare(home)
                except OSError:
                    break
                assert record.orders is not None
                record.orders.send({"wait": demand.command.words, "variables": demand.command.waiting})
                record.line = demand.standing
                demand.standing.append(record)
        if self._demands:
            self._refill_at = now + STANDING_AGE

    def _forkserver(self, runtime: str) -> ForkServerProcess:
        known = self._forkservers.get(runtime)
        if known is not None and known.channel.ended:  # noticed here first: its end of file waits further down the list
            self._lost(known)
            known = None
        if known is None:
            known = self._forkservers[runtime] = spawn(self._told, runtime, self._pid_namespace)
            self._selector.register(known.channel, selectors.EVENT_READ, known)
            self._refill_at = time.monotonic() + REFILL_DELAY
        return known

    def _lost(self, forkserver: ForkServerProcess) -> None:
        """A fork server is gone, or can't be talked to, which is the same: its sandboxes go with it."""
        self._selector.unregister(forkserver.channel)
        forkserver.channel.close()
        del self._forkservers[forkserver.runtime]
        with contextlib.suppress(ProcessLookupError):
            os.kill(forkserver.pid, signal.SIGKILL)  # not reaped yet, so the number is still its own
        self._dying.append(forkserver.pid)
        reason = f"the fork server of {forkserver.runtime} died; its last words are in the service's log"
        for number in [number for number, record in self._records.items() if record.home is forkserver]:
            self._records[number].cgroup.thaw()
            self._ended(number, reason)

    def _ended(self, number: int, reason: str | None = None) -> None:
        """A sandbox is gone: give its resources back, and tell the service if it knew it."""
        record = self._records.pop(number)
        if record.orders is not None:
            record.orders.close()
        self._templates.forget(number)
        if record.tmp is None or not record.tmp.in_memory:
            self._leave(record.cgroup)
        if record.id is None:
            self._free_slots.append(record.slot)
            record.line.remove(record)
        elif record.tmp is None:  # a copy, whose /tmp has gone with it
            self._free_slots.append(record.slot)
            del self._numbers[record.id]
            self._channel.send({"type": "ended", "id": record.id, "reason": reason, "keeps_tmp": False})
        else:
            kept = Kept(record.slot, record.code, record.tmp, record.cgroup if record.tmp.in_memory else None)
            # What filled the memory may be /tmp: with it the next sandbox would be killed before its first instruction.
            keep_tmp = record.keep_tmp and not (kept.cgroup and kept.cgroup.ran_out())
            if keep_tmp:
                self._kept[record.id] = kept
            else:
                self._drop(kept)
            del self._numbers[record.id]
            self._channel.send({"type": "ended", "id": record.id, "reason": reason, "keeps_tmp": keep_tmp})

    def _drop(self, kept: Kept) -> None:
        """Nobody will come for it."""
        kept.tmp.drop()
        if kept.cgroup:
            self._leave(kept.cgroup)
        self._free_slots.append(kept.slot)

    def _leave(self, cgroup: Cgroup) -> None:
        cgroup.close()
        if not cgroup.remove():
            self._leaving.append(cgroup)


def clear_run_dir(run_dir: str) -> None:
    """Remove what a server leaves there, and nothing else, whatever directory we have been given."""
    for pattern in _OURS_IN_RUN_DIR:
        for path in Path(run_dir).glob(pattern):
            shutil.rmtree(path, ignore_errors=True)


def _own_user_namespace() -> None:
    """Isolation "user": root over namespaces of our own making, and an ordinary user to everything else."""
    enter_user_namespace(linux.CLONE_NEWNS | linux.CLONE_NEWPID)
    # Making pid namespaces again and again takes one that belongs to our user namespace: so a child goes on as the
    # server, as its pid 1, and this process only waits for it. Whichever is killed, the other goes too.
    child = os.fork()
    if child:
        linux.close_from(3)
        os._exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) & 0xFF)
    linux.prctl(linux.PR_SET_PDEATHSIG, signal.SIGKILL)


def _take(run_dir: str) -> None:
    """Make the directory ours until this process ends. After kill -9 of a service the next one may be there before its
    sandbox server has noticed: what that one still takes down has the names of what we are about to make."""
    deadline = time.monotonic() + TAKEOVER
    while not _taken(run_dir):
        if time.monotonic() > deadline:
            raise OSError(errno.EBUSY, "the sandbox server of an earlier service is still there; end it", run_dir)
        time.sleep(RETRY)


def _taken(run_dir: str) -> bool:
    directory = -1
    try:
        os.makedirs(run_dir, mode=0o755, exist_ok=True)
        directory = os.open(run_dir, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        fcntl.flock(directory, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.path.samestat(os.fstat(directory), os.stat(run_dir)):
            return True  # and the descriptor stays open
    except (FileNotFoundError, BlockingIOError):
        pass  # the one before has just removed it, or still has it
    if directory >= 0:
        os.close(directory)
    return False


def _prepare(told: Configuration) -> Cgroups:
    if told.isolation == "full" and os.geteuid() != 0:
        raise PermissionError(1, "isolation full needs root; isolation user does not")
    _take(told.run_dir)
    clear_run_dir(told.run_dir)
    os.mkdir(os.path.join(told.run_dir, "root"))
    os.mkdir(os.path.join(told.run_dir, PLACE), 0o700)
    name = "lamplighter-" + hashlib.sha256(os.path.realpath(told.run_dir).encode()).hexdigest()[:16]
    cgroups = Cgroups.open(name, hierarchies())
    if told.isolation == "user":
        _own_user_namespace()
    if told.isolation == "full":
        linux.unshare(linux.CLONE_NEWNS)
    if told.isolation != "none":
        linux.mount("none", "/", None, linux.MS_REC | linux.MS_PRIVATE)
    return cgroups


def main() -> None:
    os.dup2(int(sys.argv[1]), 3)
    linux.close_from(4)
    channel = Channel(socket.socket(fileno=3))
    for number in (signal.SIGINT, signal.SIGTERM):  # the service decides when; its end is ours
        signal.signal(number, signal.SIG_IGN)
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    first = channel.receive()
    if first is None:
        return
    try:
        told = configuration(first[0])
        cgroups = _prepare(told)
        stock = Stock.launch(told.storage) if told.storage and told.isolation == "full" else None
        server = Server(channel, told, cgroups, stock)
    except (OSError, Malformed, KeyError) as error:
        where = f" ({error.filename})" if isinstance(error, OSError) and error.filename else ""
        text = error.strerror if isinstance(error, OSError) else str(error)
        channel.send({"type": "failed", "reason": f"{text}{where}", "errno": getattr(error, "errno", None)})
        sys.exit(1)
    channel.send({"type": "ready", "controllers": sorted(cgroups.controllers)})
    try:
        server.serve()
    finally:
        server.close()


if __name__ == "__main__":
    main()
