"""One sandbox from within: process A is pid 1, makes the isolation and waits; process B becomes the runtime.

Both are made before anybody needs them, as an empty sandbox that waits for its order: A, still privileged, joins the
cgroups, leaves the shared namespaces and opens the Runtime API's listener; B drops to a user of its own, with no
capability, no way to gain one and a filter on system calls. The order brings what is the function's: A mounts code,
layers and /tmp, passes variables and output on to B, and gives up all privilege; only then does B look at a byte of the
guest's. When B ends, A tells the service and ends too, and the kernel kills whatever else ran inside.

Orders come straight from the server to A: the fork server never holds a function's variables, since its memory is what
every later sandbox starts as. CPython 3.9 and later.
"""

from __future__ import annotations

import fcntl
import json
import os
import select
import signal
import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NoReturn

from lamplighter.sandbox import diversion, extensions, guest, linux, pages
from lamplighter.sandbox.channel import Channel, Malformed, close_all
from lamplighter.sandbox.copies import Copies
from lamplighter.sandbox.extensions import Company
from lamplighter.sandbox.gate import Gate

RUNTIME_API = ("127.0.0.1", 9001)
SERVICE_API = ("127.0.0.1", 4566)  # where people find Lamplighter outside, too
DOORS = 3  # sockets for the service, before those of the way out
BACKLOG = 128
XRAY_DAEMON = (diversion.HOME, 2000)
_DATAGRAMS = 1 << 18  # bytes that may wait for the service to read them
NAMESPACES = linux.CLONE_NEWNS | linux.CLONE_NEWNET | linux.CLONE_NEWIPC | linux.CLONE_NEWUTS | linux.CLONE_NEWCGROUP
PROC_ATTRIBUTES = linux.ATTR_NOSUID | linux.ATTR_NODEV | linux.ATTR_NOEXEC | linux.ATTR_RDONLY
_PROC = linux.MS_NOSUID | linux.MS_NODEV | linux.MS_NOEXEC | linux.MS_RDONLY
_OOM_SCORE = b"500"  # when the whole host runs out of memory, functions go before the service


@dataclass
class Ground:
    """What the fork server has prepared, the same for all its sandboxes."""

    main: Callable[[], NoReturn] | None  # None: the runtime executes something
    client: Any
    client_path: str
    seccomp: bytes
    init_uid: int  # of the pid 1 processes; 0: this user namespace has only one user (isolation "user")
    guest_uid: int  # as which the runtime sees itself
    guest_gid: int
    proc: int  # descriptor of a /proc that is writable and knows all sandboxes' processes
    masked: list[str]  # files of /proc to cover
    way_out: dict[str, bytes] | None = None  # for `diversion.open_way_out`; None: there is no network
    touched: bytes = b""  # memory that the runtime will write to, for `pages.take`


@dataclass
class Preparation:
    """One empty sandbox: whose uid (0: keep ours), which name, and the descriptors it gets."""

    uid: int
    hostname: str
    orders: int
    cgroups: list[int]


def live(ground: Ground, preparation: Preparation) -> NoReturn:
    """Be A. Never returns; what can't be done is reported on the status socket once there is one."""
    try:
        orders = Channel(socket.socket(fileno=preparation.orders))
        made: Any = None
        failure: OSError | None = None
        try:
            made = _prepare(ground, preparation)
        except OSError as error:
            failure = error
        packet = orders.receive()
        standing: Standing | None = None
        if packet is not None and "wait" in packet[0]:
            if not failure:
                standing = _stand_by(made[1], packet[0])
                if not standing.outlives_waiting(orders):
                    os._exit(1)  # nobody need know: there is no function yet
            packet = orders.receive()
        if packet is not None:
            order, (status_end, output, *rest) = packet
            frames, mounts = (rest[:1], rest[1:]) if order["frames"] else ([], rest)
            status = Channel(socket.socket(fileno=status_end))
            try:
                if failure:
                    raise failure
                doors, runtime, bell, child = made
                if os.waitpid(child, os.WNOHANG)[0] == child:  # it died meanwhile, and nobody need know
                    standing = None
                    runtime, bell, child = _fork_runtime(ground, preparation.uid)
                _furnish(mounts)
                company = _accompany(ground, preparation, order["variables"]) if len(mounts) > 2 else None
                passed, out = [door.detach() for door in doors], len(doors) - DOORS
                if standing and not standing.go(order["variables"], company):
                    os.waitpid(child, 0)  # it dies as we speak: its descriptors are closed before it is a zombie
                    standing = None
                    runtime, bell, child = _fork_runtime(ground, preparation.uid)
                if standing:
                    close_all([output, *frames])
                    passed += [standing.output, standing.frames]
                else:
                    _go(runtime, order, [output, *frames], company)
                if company:
                    names = [process.name for process in company.processes.values()]
                    status.send({"running": True, "extensions": names, "way_out": out}, [*passed, company.output])
                else:
                    status.send({"running": True, "way_out": out}, passed)
                copies = Copies(orders) if order["template"] and not company else None
                gate = company.gate if company else standing.order if standing else Gate(-1)
                _watch(ground, status, runtime, bell, child, gate, company, copies)
            except OSError as error:
                status.send({"failed": describe(error), "errno": error.errno})
    finally:
        os._exit(1)


@dataclass
class Standing:
    """A runtime that runs already and waits to hear for which function: what A has of its pipes."""

    order: Gate
    output: int
    frames: int

    def outlives_waiting(self, orders: Channel) -> bool:
        """Wait for orders, or for its end."""
        poll = select.poll()
        poll.register(orders, select.POLLIN)
        poll.register(self.order.descriptor, 0)
        return any(descriptor == orders.fileno() for descriptor, _ in poll.poll())

    def go(self, variables: dict[str, str], company: Company | None) -> bool:
        """False: it is no more."""
        self.order.order = json.dumps(variables).encode()
        if company:
            company.gate = self.order
            return True
        return self.order.open()


def _go(runtime: Channel, order: dict[str, Any], ends: list[int], company: Company | None) -> None:
    """Let B become the runtime, at once or when its company's gate is opened."""
    told = {"variables": order["variables"], "command": order["command"]}
    if company:
        theirs, company.gate = Gate.make(b"1")
        ends, told = [*ends, theirs], {**told, "gate": True}
    runtime.send(told, ends)


def _accompany(ground: Ground, preparation: Preparation, variables: dict[str, str]) -> Company | None:
    """Start what the layers bring to run beside the runtime, confined as it is."""
    names = extensions.find()
    return extensions.start(names, variables, lambda: _confine(ground, preparation.uid)) if names else None


def _stand_by(runtime: Channel, wanted: dict[str, Any]) -> Standing:
    """Let B become the command now. Nothing of a function's is known yet, so it is our own program that runs there."""
    theirs, order = Gate.make()
    output, output_end = os.pipe2(os.O_CLOEXEC)
    frames, frames_end = os.pipe2(os.O_CLOEXEC)
    runtime.send(
        {"variables": wanted["variables"], "command": wanted["wait"], "waits": True}, [output_end, frames_end, theirs]
    )
    return Standing(order, output, frames)


def describe(error: OSError) -> str:
    return f"{error.strerror} ({error.filename})" if error.filename else str(error.strerror)


def _prepare(ground: Ground, preparation: Preparation) -> tuple[list[socket.socket], Channel, Bell, int]:
    """Everything that doesn't depend on the function. Gives the sockets for the service, a channel to B and B's pid."""
    write_proc(ground.proc, "self/oom_score_adj", _OOM_SCORE)
    for procs in preparation.cgroups:
        os.write(procs, b"0")  # may take 15 ms: the kernel waits for all CPUs to notice. Why empty ones are kept ready
    close_all(preparation.cgroups)
    six = ground.way_out is not None and diversion.host_has_six()
    linux.unshare(NAMESPACES)
    doors = open_doors(ground.way_out, six)
    linux.mount("proc", "/proc", "proc", _PROC, "hidepid=2")
    for path in ground.masked:
        linux.mount("/dev/null", path, None, linux.MS_BIND)
    socket.sethostname(preparation.hostname)
    return doors, *_fork_runtime(ground, preparation.uid)


def open_doors(way_out: dict[str, bytes] | None, six: bool) -> list[socket.socket]:
    """Bring this network namespace up. Gives the sockets for the service: the Runtime API's listener, the X-Ray
    daemon's, the listener of the service's own API, and those of the way out. `six`: see `diversion`."""
    linux.loopback_up()
    listener, service = _listen(RUNTIME_API), _listen(SERVICE_API)
    linux.add_loopback_address(diversion.HOME)
    more = diversion.open_way_out(way_out, six) if way_out else []
    daemon = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
    daemon.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _DATAGRAMS)
    daemon.bind(XRAY_DAEMON)
    return [listener, daemon, service, *more]


@dataclass
class Bell:
    """SIGTERM for B from A, which has no right to send another user's process a signal: the kernel sends it, in B's own
    name, when there is something to read from this pipe. A keeps both ends, B none."""

    heard: int
    rung: int

    def hear(self) -> None:
        """As B, once it is who it will be."""
        fcntl.fcntl(self.heard, fcntl.F_SETOWN, os.getpid())
        fcntl.fcntl(self.heard, fcntl.F_SETSIG, signal.SIGTERM)
        fcntl.fcntl(self.heard, fcntl.F_SETFL, os.O_ASYNC)
        close_all([self.heard, self.rung])

    def ring(self) -> None:
        os.write(self.rung, b"1")


def _fork_runtime(ground: Ground, uid: int) -> tuple[Channel, Bell, int]:
    """A channel and a bell to B, and B's pid."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    bell = Bell(*os.pipe2(os.O_CLOEXEC))
    child = os.fork()
    if child == 0:
        _become_runtime(ground, Channel(theirs), uid, bell)
    theirs.close()
    return Channel(ours), bell, child


def _listen(address: tuple[str, int]) -> socket.socket:
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    listener.bind(address)
    listener.listen(BACKLOG)
    return listener


def _furnish(mounts: list[int]) -> None:
    """The function's own parts: code, /tmp, layers."""
    linux.attach_tree(mounts[0], "/var/task")
    linux.attach_tree(mounts[1], "/tmp")
    if len(mounts) > 2:
        linux.attach_tree(mounts[2], "/opt")


def _become_runtime(ground: Ground, orders: Channel, uid: int, bell: Bell) -> NoReturn:
    """Be B. Whatever goes wrong here is this sandbox's own death, and visible as an exit with code 1."""
    try:
        _confine(ground, uid)
        bell.hear()
        if ground.main:
            pages.take(ground.touched)
            guest.forget_ourselves(ground.client, ground.client_path)
        packet = orders.receive()
        if packet is not None:
            order, (output, *frames) = packet
            command, variables = order["command"], order["variables"]
            if "gate" in order:
                os.read(frames.pop(), 1)  # the extensions come first
            if "waits" in order:
                guest.wire_descriptors(output, None, frames[:1], variables, frames[1])
                guest.execute(command, variables)
            os.chdir("/var/task")
            if command is not None or ground.main is None:
                guest.wire_descriptors(output, orders.fileno(), frames, variables)
                guest.execute(command, variables)
            guest.wire_descriptors(output, None, frames, variables)
            guest.set_variables(variables)
            guest.run(ground.main)
    finally:
        os._exit(1)


def _confine(ground: Ground, uid: int) -> None:
    """Give up everything that a guest must not have."""
    os.setsid()
    os.umask(0o022)
    _drop_to_user(ground, uid)
    guest.limit_resources()  # after the user namespace, so that its processes are counted for it alone
    linux.drop_capabilities()
    linux.prctl(linux.PR_SET_NO_NEW_PRIVS, 1)
    # A debugger of the guest's own may look at it, and /proc/self is its own. Nobody else's processes are in sight.
    linux.prctl(linux.PR_SET_DUMPABLE, 1)
    linux.install_seccomp(ground.seccomp)


def _drop_to_user(ground: Ground, uid: int) -> None:
    """A user no other sandbox has, seen from inside as AWS's: a user namespace maps the one to the other."""
    if uid:
        os.setgroups([])
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)
        linux.prctl(linux.PR_SET_DUMPABLE, 1)  # else /proc/self/uid_map isn't ours to write
    try:
        linux.unshare(linux.CLONE_NEWUSER)
    except PermissionError:
        if not uid:
            raise
        return  # a host that refuses user namespaces: the runtime sees the host's number instead
    write_proc(ground.proc, "self/setgroups", b"deny")
    write_proc(ground.proc, "self/uid_map", b"%d %d 1" % (ground.guest_uid, uid))
    write_proc(ground.proc, "self/gid_map", b"%d %d 1" % (ground.guest_gid, uid))


def write_proc(proc: int, name: str, value: bytes) -> None:
    descriptor = os.open(name, os.O_WRONLY | os.O_CLOEXEC, dir_fd=proc)
    try:
        os.write(descriptor, value)
    finally:
        os.close(descriptor)


def _watch(
    ground: Ground,
    status: Channel,
    runtime: Channel,
    bell: Bell,
    child: int,
    gate: Gate,
    company: Company | None,
    copies: Copies | None,
) -> NoReturn:
    """Be pid 1 with no privilege left: reap orphans, tell how the runtime ended, and hand out sockets of this network
    namespace, which the service connects to what listens here (it is the way telemetry takes to an extension).

    With extensions, the runtime's end is not yet ours: they are to hear of it. And the one privilege to send the
    runtime, another user's process, a signal is kept."""
    keeper = [copies.keeper.fileno()] if copies else []
    _keep([status.fileno(), runtime.fileno(), bell.heard, bell.rung, *keeper], gate, company)
    bell = Bell(5, 6)
    service = Channel(socket.socket(fileno=3))
    service.sock.setblocking(False)
    woken, waker = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    signal.set_wakeup_fd(waker, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, _ignore)  # with a handler, or the wakeup descriptor isn't written to
    poll = select.poll()
    poll.register(woken, select.POLLIN)
    poll.register(3, select.POLLIN)
    if copies:
        copies.keeper = Channel(socket.socket(fileno=7))
        poll.register(7, select.POLLIN)
    if company:
        linux.prctl(linux.PR_SET_KEEPCAPS, 1)
    if ground.init_uid:
        os.setgroups([])
        os.setresgid(*[ground.init_uid] * 3)
        os.setresuid(*[ground.init_uid] * 3)
    linux.prctl(linux.PR_SET_DUMPABLE, 0)  # the guest can't look into us, whatever its uid
    linux.drop_capabilities(but=linux.CAP_KILL if company else 0)
    linux.prctl(linux.PR_SET_NO_NEW_PRIVS, 1)
    linux.install_seccomp(ground.seccomp)
    running = child  # 0 once it is reaped: its number may be another's then
    while True:
        try:
            pid, result = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:  # runtime and extensions are gone, and the service is about to end us
            pid = result = 0
        if pid == child:
            os.write(3, guest.end_of(result, 4, untaken=runtime.unheard or gate.untaken()))
            if not company:
                os._exit(0)
            running = 0
        elif company and pid in company.processes:
            process = company.processes.pop(pid)
            os.write(3, guest.end_of(result, process.report, process.name))
        elif copies and pid:
            copies.ended(pid, result)
        if pid:
            continue
        for descriptor, _ in poll.poll():
            if descriptor == woken:
                os.read(woken, 4096)
            elif descriptor == 7:
                if not (copies and copies.obey()):
                    poll.unregister(7)
            elif not _obey(service, running, bell, gate if company else None):
                poll.unregister(3)


def _keep(descriptors: list[int], gate: Gate, company: Company | None) -> None:
    """Of all descriptors these alone, as 3, 4 and so on, and those of gate and company after them."""
    after = [gate] if gate.descriptor >= 0 else []
    processes = list(company.processes.values()) if company else []
    given = len(descriptors)
    descriptors = [*descriptors, *[gate.descriptor for gate in after], *[process.report for process in processes]]
    first, end = 3, 3 + len(descriptors)
    moved = [fcntl.fcntl(descriptor, fcntl.F_DUPFD, end) for descriptor in descriptors]  # out of each other's way
    for number, descriptor in enumerate(moved, first):
        os.dup2(descriptor, number)
    for number, gate in enumerate(after, first + given):
        gate.descriptor = number
    for number, process in enumerate(processes, first + given + len(after)):
        process.report = number
    os.dup2(os.open("/dev/null", os.O_RDWR), 0)
    os.dup2(0, 1)
    os.dup2(0, 2)
    linux.close_from(end)


def _obey(service: Channel, runtime: int, bell: Bell, gate: Gate | None) -> bool:
    """Do what the service asks for: a socket, to signal the runtime, or with extensions, by the `gate`, to let it go.
    False once the service is gone, which our fork server will tell us harder."""
    try:
        packet = service.receive()
    except (BlockingIOError, Malformed):
        return True
    if packet is None:
        return False
    close_all(packet[1])
    if "go" in packet[0]:
        if gate and gate.order and runtime:
            gate.open()  # that somebody has died there is told when he is reaped
        return True
    if "signal" in packet[0]:
        if gate and runtime:
            os.kill(runtime, packet[0]["signal"])
        elif runtime and packet[0]["signal"] == signal.SIGTERM:
            bell.ring()
        return True
    try:
        made = [socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_CLOEXEC).detach()]
    except OSError:
        made = []
    service.send({"socket": True}, made)
    return True


def _ignore(_signal: int, _frame: object) -> None:
    pass
