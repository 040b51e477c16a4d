"""The sandbox server: the one process of Lamplighter that holds root (or owns a user namespace).

It makes cgroups and mounts and tells fork servers to fork; it never touches a guest's bytes. It is started by the
service over an inherited packet socket and lives exactly as long as that: end of file means kill everything, give
everything back, exit. If it is killed itself, the kernel kills the fork servers (parent-death signal), with each its
pid namespace, and with them every sandbox; mounts go with their namespaces, and a process that is there for it thaws
what is frozen and removes the cgroups (`survivor.py`).
"""

import contextlib
import os
import resource
import selectors
import signal
import socket
import sys
import time
from typing import Any

from lamplighter.sandbox import linux, netlink
from lamplighter.sandbox.cgroup import Cgroups
from lamplighter.sandbox.channel import Channel, Malformed, close_all
from lamplighter.sandbox.code import Code
from lamplighter.sandbox.ground import prepare, take_down
from lamplighter.sandbox.lines import Lines
from lamplighter.sandbox.messages import Configuration, Copy, End, Hold, Start, Warm, configuration, request
from lamplighter.sandbox.records import Record, Records
from lamplighter.sandbox.sizes import limits
from lamplighter.sandbox.spawn import ForkServerProcess, spawn
from lamplighter.sandbox.stock import Stock
from lamplighter.sandbox.survivor import REPLACED, Survivor
from lamplighter.sandbox.templates import Templates, Watched
from lamplighter.sandbox.tmp import HostTmp, Kept
from lamplighter.sandbox.tmps import Notices, Tmps
from lamplighter.sandbox.tracing import SUPPORTED

RETRY = 0.01  # seconds until the next try to remove a cgroup whose last process is still on its way out
CLOSING = 5.0  # seconds for everything to be gone at the end


class Server:
    def __init__(self, channel: Channel, told: Configuration, cgroups: Cgroups, survivor: Survivor) -> None:
        self._channel = channel
        self._survivor = survivor
        self._told = told
        self._cgroups = cgroups
        self._code = Code(told.code_root, told.run_dir)
        self._isolated = told.isolation != "none"
        self._selector = selectors.DefaultSelector()
        self._forkservers: dict[str, ForkServerProcess] = {}
        self._dying: list[int] = []  # to be reaped: as `waitpid` names them, a process or a whole group of them
        self._records = Records(cgroups)
        self._notices = Notices(self._channel.send)
        self._tmps = Tmps(told, self._try_start, self._notices, self._dying)
        self._templates = Templates(
            self._selector,
            self._channel.send,
            self._ended,
            lambda: self._lines.refill_now(),
            self._dying,
            netlink.plan(told.reach).prepared() if told.reach is not None and self._isolated else None,
            lambda line: self._lines.thaw_copies(line),
        )
        self._lines = Lines(told, self._records, self._forkservers, self._templates, self._tmps)
        self._pid_namespace = os.open("/proc/self/ns/pid", os.O_RDONLY | os.O_CLOEXEC)

    def serve(self) -> None:
        """Until the service is gone."""
        self._channel.sock.setblocking(False)
        self._selector.register(self._channel, selectors.EVENT_READ, None)
        if self._told.isolation != "user":  # there the process outside sees to it
            self._watch_survivor()
        if stock := self._tmps.begin():
            self._selector.register(stock.channel, selectors.EVENT_READ, stock)
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
                    if events & selectors.EVENT_READ and not self._tmps.restock(key.data):
                        self._selector.unregister(key.fileobj)
                        self._tmps.lost(key.data)
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
            if _passed(self._tmps.due):
                self._tmps.go_on()
                if stock := self._tmps.again():
                    self._selector.register(stock.channel, selectors.EVENT_READ, stock)
            if _passed(self._lines.due):
                self._lines.refill()
                self._tmps.refill()
            if _passed(self._survivor.due) and self._survivor.replace():
                self._watch_survivor()
                self._notices.tell("survivor", REPLACED)

    def close(self) -> None:
        """Kill everything and give it back."""
        for forkserver in list(self._forkservers.values()):
            self._lost(forkserver)
        self._records.drop_all()
        self._tmps.close()
        deadline = time.monotonic() + CLOSING
        while (self._records.leaving or self._dying) and time.monotonic() < deadline:
            self._tidy()
            time.sleep(RETRY if self._records.leaving or self._dying else 0)
        take_down(self._cgroups, self._told.run_dir)
        self._survivor.end()

    def _watch_survivor(self) -> None:
        self._selector.register(self._survivor.death, selectors.EVENT_READ, Watched(self._survivor_died))

    def _survivor_died(self) -> None:
        self._selector.unregister(self._survivor.death)
        self._survivor.died()

    def _patience(self) -> float | None:
        """Seconds to wait for packets."""
        if self._records.leaving or self._dying:
            return RETRY
        due = [due for due in (self._tmps.due, self._lines.due, self._survivor.due) if due is not None]
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
        self._records.tidy()
        self._dying[:] = [who for who in self._dying if not _reaped(who)]
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
                self._tmps.start(asked, descriptors)
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
                        self._lines.demanded(asked.runtime, asked.command)
                        self._lines.refill_soon(asked.runtime)
            case End():
                self._end(asked)

    def _refuse(self, name: int, reason: str, number: int | None = None) -> None:
        self._channel.send({"type": "refused", "id": name, "reason": reason, "errno": number})

    def _try_start(self, asked: Start, descriptors: list[int]) -> None:
        try:
            self._start(asked, descriptors)
        except OSError as error:
            where = f" ({error.filename})" if error.filename else ""
            self._refuse(asked.id, f"{error.strerror}{where}", error.errno)

    def _start(self, asked: Start, descriptors: list[int]) -> None:
        """Give an empty sandbox its order: variables, and the function's mounts, made here as that takes privilege."""
        kept = None if asked.tmp_of is None else self._records.take_kept(asked.tmp_of)
        refusal = self._refusal(asked, kept)
        if refusal:
            self._refuse(asked.id, refusal)
            if kept:
                self._records.drop(kept)
            return
        mounts: list[int] = []
        tmp = kept.tmp if kept else None
        runtime = self._told.runtimes[asked.runtime]
        try:
            home = self._forkserver(asked.runtime)
            waiting = self._lines.waiting(asked.runtime, asked.command)
            if not kept and not waiting:
                self._records.check_room()
            tmp = tmp or self._tmps.make(asked)
            places: dict[str, str] = {}
            if isinstance(tmp, HostTmp):
                places = self._code.places(asked.code, asked.layers, tmp.place, runtime.client, runtime.sdk)
            else:
                mounts += [self._code.task(asked.code), tmp.lend()]
                mounts += [self._code.opt(asked.layers)] if asked.layers else []
            order = {
                "variables": asked.variables,
                "command": asked.command and asked.command.words,
                "frames": len(descriptors) == 3,
                "template": asked.template and SUPPORTED,
                "places": places,
            }
            # Those that wait are other users than the one whose /tmp it is.
            record = waiting.popleft() if waiting and not kept else self._lines.prepare(home, kept)
        except OSError:
            close_all(mounts)
            if kept:
                self._records.drop(kept)
            elif tmp:
                tmp.drop()
            raise
        record.tmp, record.code = tmp, asked.code
        record.memory_size, record.ephemeral_storage = asked.memory_size, asked.ephemeral_storage
        self._records.name(record, asked.id)
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
        pages = record.cgroup.memory_pages() if gauge is not None and record.on_disk else None
        told = {
            "tmp": "disk" if record.on_disk else "memory",
            "gauge": gauge is not None,
            "pages": pages is not None,
            "cpu": cpu and cpu[1],
            "freezer": freezer and freezer[1],
        }
        made = (gauge, pages, cpu and cpu[0], freezer and freezer[0])
        handed = [descriptor for descriptor in made if descriptor is not None]
        self._channel.send({"type": "started", "id": record.id, **told}, handed)
        self._lines.refill_soon(None if record.copied else record.home.runtime)

    def _refusal(self, asked: Start, kept: Kept | None) -> str | None:
        """What is wrong with what is asked for."""
        if self._records.in_use(asked.id):
            return "this id is in use"
        if asked.runtime not in self._told.runtimes:
            return f"no runtime {asked.runtime} here"
        if asked.tmp_of is not None and (kept is None or kept.code != asked.code):
            return f"no /tmp of {asked.tmp_of} is kept for it"
        return None

    def _end(self, asked: End) -> None:
        record = self._records.named(asked.id)
        if record is not None:
            record.keep_tmp = asked.keep_tmp
            record.cgroup.thaw()
            if record.copied:
                self._templates.end(record.number)
            else:
                self._templates.forget(record.number)  # what a keeper holds can't die
                record.home.channel.send({"end": record.number})
            return
        self._tmps.forget(asked.id)
        kept = None if asked.keep_tmp else self._records.take_kept(asked.id)
        if kept is not None:
            self._records.drop(kept)
        self._channel.send({"type": "ended", "id": asked.id, "keeps_tmp": self._records.keeps(asked.id)})

    def _hold(self, asked: Hold) -> None:
        record = self._records.named(asked.id)
        if record is None or record.orders is None:
            self._channel.send({"type": "unfit", "id": asked.id, "reason": "this host can't hold a process"})
            return
        orders, record.orders = record.orders, None
        self._templates.hold(record.number, asked.id, orders)

    def _copy(self, asked: Copy, descriptors: list[int]) -> None:
        """A sandbox that is a copy of a template: it has a cgroup from here, and all else from the keeper."""
        if self._records.in_use(asked.id):
            self._refuse(asked.id, "this id is in use")
            return
        template = self._records.named(asked.of)
        spares = None if template is None else self._templates.spares(template.number)
        if template is None or spares is None:
            self._channel.send({"type": "orphan", "id": asked.id})
            return
        if not spares:
            self._records.check_room()
        record = spares.popleft() if spares else self._lines.prepare_copy(template, spares)
        self._records.name(record, asked.id)
        ends = list(descriptors)
        descriptors.clear()  # the channel closes them
        self._templates.go(template.number, record.number, asked.variables, ends)
        self._started(record)

    def _forkserver(self, runtime: str) -> ForkServerProcess:
        known = self._forkservers.get(runtime)
        if known is not None and known.channel.ended:  # noticed here first: its end of file waits further down the list
            self._lost(known)
            known = None
        if known is None:
            known = self._forkservers[runtime] = spawn(self._told, runtime, self._pid_namespace)
            self._selector.register(known.channel, selectors.EVENT_READ, known)
            self._lines.refill_soon(None)
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
        for record in self._records.all():
            if record.home is forkserver and record in self._records:  # not gone with its template
                record.cgroup.thaw()
                self._ended(record.number, reason)

    def _ended(self, number: int, reason: str | None = None) -> None:
        """A sandbox is gone: give its resources back, and tell the service if it knew it."""
        self._templates.forget(number)
        memory = self._records.memory(number)
        record = self._records.remove(number)
        if record is None:
            return
        keeps_tmp = self._records.keep(record)
        if record.id is not None:
            told = {"reason": reason, "keeps_tmp": keeps_tmp, "memory": memory}
            self._channel.send({"type": "ended", "id": record.id, **told})


def _passed(due: float | None) -> bool:
    return due is not None and time.monotonic() >= due


def _reaped(who: int) -> bool:
    """Whether nothing of a process, or of a process group, is left."""
    try:
        while (pid := os.waitpid(who, os.WNOHANG)[0]) != 0:
            if pid == who:
                return True
    except ChildProcessError:
        return True
    return False


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
        cgroups, survivor = prepare(told)
        if told.isolation != "none":  # there each sandbox has a process that sees to its orphans
            linux.prctl(linux.PR_SET_CHILD_SUBREAPER, 1)  # to what a keeper that is killed leaves behind
        server = Server(channel, told, cgroups, survivor)
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
