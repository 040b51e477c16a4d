"""Keeps one initialised runtime still, as a template, and makes copies of it that are sandboxes of their own.

The template is a guest like any other and its memory is hostile, so nothing privileged ever runs in it, and it never
runs but under this process's eyes: it is held by ptrace, at the very fork that makes the next copy, and on the way
there may make no system call beyond what a fork takes. Its fork is turned into one with new namespaces. The system
call filter knows that form and lets it pass for who is held by a tracer, which no guest can be of another, and for
nobody else. The copy is born stopped. Before it executes an instruction, it has lost the capabilities that a new user
namespace gives, has been given a /proc, /tmp, network and cgroup of its own from outside, every descriptor is closed,
and all of that has been looked up from outside once more. A copy that is not as it should be is killed.

A keeper is a child of the sandbox server, one per template, and lives as long as that: if it dies, the kernel kills
the template. `inside.py` has the rest: its process A, the copies' parent too, tells how each ended.
"""

import contextlib
import errno
import os
import resource
import select
import signal
import socket
import struct
from dataclasses import dataclass, field
from typing import Any, NoReturn

from lamplighter.sandbox import carry, diversion, inside, linux, root
from lamplighter.sandbox.channel import Channel, Malformed, close_all
from lamplighter.sandbox.forkserver import MASKED
from lamplighter.sandbox.seccomp import COPY, COPY_FLAGS
from lamplighter.sandbox.sizes import PROCESSES
from lamplighter.sandbox.tmp import in_memory
from lamplighter.sandbox.tracing import EVENT_CLONE, EVENT_FORK, EVENT_SECCOMP, Lost, Tracee

DOOR = b"\0lamplighter"  # where a copy, which has no descriptor, finds its variables and pipes: in its own network
PATIENCE = 10  # seconds that the template may take until it stands at its next fork
_FORK = COPY & ~COPY_FLAGS  # as the C library asks for one
_CLONE, _CAPSET, _PRCTL, _CHDIR, _CLOSE_RANGE = 56, 126, 157, 80, 436
# What a template may call between two forks: memory, locks, clocks, and what it waits for. Nothing by which it could
# reach a copy, though they are of one user.
_HARMLESS = frozenset(
    (0, 9, 10, 11, 12, 13, 14, 24, 25, 28, 39, 45, 96, 102, 104, 107, 108, 110, 131, 186, 201, 202, 228, 230, 318)
)
_NO_CAPABILITIES = ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")
_MANY = (1 << 20, 1 << 20)  # what a limit is when a user namespace is made holds for all in it and below it together
_CAPABILITIES = 64  # the kernel refuses numbers that it has no capability for


@dataclass(slots=True)
class _Made:
    """One that has not run yet, with the door at which it will knock and the sockets that are the service's."""

    copy: Tracee
    door: int
    passed: list[int]


@dataclass(slots=True)
class _Copy:
    """One that runs, and has not come for its variables yet."""

    door: socket.socket
    told: dict[str, Any]
    ends: list[int]


@dataclass
class Keeper:
    """server: our parent. parent: process A of the template's sandbox."""

    server: Channel
    parent: Channel
    way_out: dict[str, bytes] | None
    prepared: dict[int, _Made | Exception] = field(default_factory=dict[int, _Made | Exception])
    coming: dict[int, _Copy] = field(default_factory=dict[int, _Copy])  # by their doors

    def run(self) -> NoReturn:
        try:
            linux.prctl(linux.PR_SET_PDEATHSIG, signal.SIGKILL)
            signal.signal(signal.SIGALRM, _give_up)
            signal.alarm(PATIENCE)
            if os.readlink("/proc/self") != str(os.getpid()):  # isolation user: the host's, which has other numbers
                linux.unshare(linux.CLONE_NEWNS)
                linux.mount("proc", "/proc", "proc", linux.MS_NOSUID | linux.MS_NODEV | linux.MS_NOEXEC)
            self._own = os.open("/proc/self/ns/pid", os.O_RDONLY | os.O_CLOEXEC)
            self._proc = os.open("/proc", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                self._template = self._hold()
            except (OSError, Lost) as error:
                self.server.send({"unfit": str(error)})
                os._exit(0)
            self.server.send({"held": True})
            self._run_to_fork()
            self.server.send({"template": True})
            self._serve()
        except Lost as lost:
            self.server.send({"lost": str(lost)})
        finally:
            os._exit(1)

    def _hold(self) -> Tracee:
        """Take hold of the runtime of A's sandbox, if it is such that a copy can be made of it and is all of it."""
        first = _pid_of(self.parent)
        others = _inhabitants(first) - {first}
        if len(others) != 1:
            raise Lost(f"it has {len(others)} processes")
        (runtime,) = others
        tracee = Tracee.seize(runtime)
        if _inhabitants(first) != {first, runtime} or len(os.listdir(f"/proc/{runtime}/task")) != 1:
            raise Lost("it has more than one thread or process")
        if _shares_memory(runtime):
            raise Lost("it has memory that copies would share")
        if os.stat(f"/proc/{runtime}/exe").st_dev == os.stat(f"/proc/{runtime}/root/tmp").st_dev:
            raise Lost("its program is a file that copies would share")
        self._uid = os.stat(f"/proc/{runtime}").st_uid
        with contextlib.suppress(PermissionError):  # isolation user can't
            resource.prlimit(runtime, resource.RLIMIT_NPROC, _MANY)
        return tracee

    def _run_to_fork(self) -> None:
        signal.alarm(PATIENCE)
        while True:
            found = self._template.run_to_syscall()
            if found["orig_rax"] == _CLONE and found["rdi"] == _FORK:
                self._at = found
                signal.alarm(0)
                return
            if found["orig_rax"] in _HARMLESS:
                self._template.step_to(0)
            else:
                self._template.refuse_call()

    def _serve(self) -> None:
        poll = select.poll()
        poll.register(self.server, select.POLLIN)
        death = os.pidfd_open(self._template.pid)
        poll.register(death, select.POLLIN)
        while True:
            for descriptor, _ in poll.poll():
                if descriptor == death:
                    raise Lost("it was killed")  # and is not gone before its tracer is
                if descriptor != self.server.fileno():
                    poll.unregister(descriptor)
                    self._answer(self.coming.pop(descriptor))
                    continue
                packet = self.server.receive()
                if packet is None:
                    return
                if "prepare" in packet[0]:
                    self._prepare(*packet)
                else:
                    copy = self._go(*packet)
                    if copy is not None:
                        self.coming[copy.door.fileno()] = copy
                        poll.register(copy.door, select.POLLIN)

    def _answer(self, copy: _Copy) -> None:
        """The copy runs and has come for what it needs. Whatever else it does is its own affair."""
        with copy.door:
            connection, _ = copy.door.accept()
        with connection:
            Channel(connection).send(copy.told, copy.ends)

    def _prepare(self, order: dict[str, Any], groups: list[int]) -> None:
        """Make a copy that waits, before it has run, for somebody to need it. `groups`: those it is to join, and after
        them its /tmp, if that is not to be made here."""
        number = order["prepare"]
        tmp = groups.pop() if order["memory_tmp"] is None else -1
        child = 0
        signal.alarm(PATIENCE)
        try:
            child = self._fork()
            self.prepared[number] = self._make(child, order, groups, tmp)
            self.server.send({"prepared": number}, [os.pidfd_open(child)])
        except (OSError, Malformed, struct.error) as error:
            if child:
                os.kill(child, signal.SIGKILL)
            self.prepared[number] = error
            self.server.send({"failed": number})
        finally:
            close_all([*groups, *([tmp] if tmp >= 0 else [])])
        self._run_to_fork()

    def _go(self, order: dict[str, Any], descriptors: list[int]) -> _Copy | None:
        """Let a prepared copy run, and tell the service of it on its status socket."""
        status = Channel(socket.socket(fileno=descriptors.pop(0)))
        made = self.prepared.pop(order["go"], None)
        try:
            if not isinstance(made, _Made):
                error = made if isinstance(made, OSError) else OSError(errno.EIO, "it could not be prepared")
                close_all(descriptors)
                status.send({"failed": f"a copy: {inside.describe(error)}", "errno": error.errno})
                return None
            own = int(_status(made.copy.pid)["NSpid"].split()[-2])  # as A knows it
            self.parent.send({"copy": own}, [os.dup(status.fileno())])
            status.send({"running": True, "way_out": len(made.passed) - inside.DOORS}, made.passed)
            made.copy.release()
        except (OSError, Lost, KeyError) as error:  # it was killed meanwhile
            close_all(descriptors)
            status.send({"failed": f"a copy: {error}", "errno": errno.EIO})
            return None
        finally:
            status.close()
        told = {"variables": order["variables"]}
        return _Copy(socket.socket(fileno=made.door), told, descriptors)

    def _fork(self) -> int:
        """Let the template make the fork it stands at, with namespaces of its own for the child. Its number."""
        template, at = self._template, self._at
        template.set_registers(dict(at, rdi=COPY))
        template.step_to(EVENT_SECCOMP)
        stop = template.step_to(EVENT_FORK, EVENT_CLONE, 0)
        if stop.event == 0:
            result = template.registers()["rax"]
            raise OSError(2**64 - result, "clone: " + os.strerror(2**64 - result))
        # The C library relies on its register; and this one is on its way out of the call.
        template.set_registers(dict(template.registers(), rdi=at["rdi"]))
        child = template.message()
        template.step_to(0)
        with contextlib.suppress(PermissionError):
            resource.prlimit(child, resource.RLIMIT_NPROC, (PROCESSES, PROCESSES))
        return child

    def _make(self, child: int, order: dict[str, Any], groups: list[int], tmp: int) -> _Made:
        copy = Tracee(child)
        copy.wait()
        furnisher, given = self._start_furnishing(child, order, tmp)
        try:
            self._strip(copy)
            for procs in groups:
                os.write(procs, b"%d" % child)
            packet = given.receive()
            if packet is None or "failed" in packet[0]:
                told = {"errno": errno.EIO, "failed": "furnishing died"} if packet is None else packet[0]
                raise OSError(told["errno"] or errno.EIO, told["failed"])
            os.waitpid(furnisher, 0)
            furnisher = 0
            self._check(child)
        finally:
            given.close()
            if furnisher:
                os.kill(furnisher, signal.SIGKILL)
                os.waitpid(furnisher, 0)
        door, *passed = packet[1]
        return _Made(copy, door, passed)

    def _strip(self, copy: Tracee) -> None:
        """Of all descriptors, of what a new user namespace gives, and of a directory that may not be its own."""
        registers = copy.registers()
        copy.set_registers(dict(registers, rdi=_FORK))
        header, nothing = struct.pack("=Ii", 0x20080522, 0), bytes(24)
        copy.inject(
            [
                (_CLOSE_RANGE, (0, 0xFFFFFFFF, 0)),
                (_CHDIR, (b"/var/task\0",)),
                *[(_PRCTL, (linux.PR_CAPBSET_DROP, number, 0, 0, 0)) for number in range(_known_capabilities())],
                (_CAPSET, (header, nothing)),
            ]
        )

    def _check(self, child: int) -> None:
        """Looked up, not believed: what was done to it was done in a guest's memory."""
        found = _status(child)
        if any(int(found[name], 16) for name in _NO_CAPABILITIES):
            raise PermissionError(errno.EPERM, "it has capabilities")
        wanted = {"NoNewPrivs": "1", "Seccomp": "2", "Threads": "1"}
        if any(found[name] != value for name, value in wanted.items()):
            raise PermissionError(errno.EPERM, "it is not confined")
        if os.listdir(f"/proc/{child}/fd"):
            raise PermissionError(errno.EPERM, "it has descriptors")
        here, task = os.stat(f"/proc/{child}/cwd"), os.stat(f"/proc/{child}/root/var/task")
        if not os.path.samestat(here, task):
            raise PermissionError(errno.EPERM, "it is not in its own directory")
        if int(found["Uid"].split()[0]) != self._uid:
            raise PermissionError(errno.EPERM, "it is another user")

    def _start_furnishing(self, child: int, order: dict[str, Any], tmp: int) -> tuple[int, Channel]:
        """A process in the copy's pid namespace, with all our privilege, that makes what the copy is to have."""
        kinds = {name: self._open(f"{child}/ns/{name}") for name in ("pid", "net", "uts", "mnt")}
        parent = self._open(f"{self._template.pid}/ns/user")
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        linux.enter_namespace(kinds["pid"], linux.CLONE_NEWPID)
        try:
            pid = os.fork()
        except OSError:
            linux.enter_namespace(self._own, linux.CLONE_NEWPID)
            raise
        if pid == 0:
            self._furnish(child, kinds, parent, order, tmp, Channel(theirs))
        linux.enter_namespace(self._own, linux.CLONE_NEWPID)
        theirs.close()
        close_all([*kinds.values(), parent])
        return pid, Channel(ours)

    def _furnish(
        self, child: int, kinds: dict[str, int], parent: int, order: dict[str, Any], tmp: int, answer: Channel
    ) -> NoReturn:
        try:
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            linux.prctl(linux.PR_SET_DUMPABLE, 0)
            proc = linux.new_filesystem("proc", {"hidepid": "2"}, inside.PROC_ATTRIBUTES)
            if tmp < 0:
                tmp = in_memory(order["memory_tmp"])
            six = self.way_out is not None and diversion.host_has_six()
            linux.enter_namespace(kinds["uts"], linux.CLONE_NEWUTS)
            socket.sethostname(order["hostname"])
            linux.enter_namespace(kinds["net"], linux.CLONE_NEWNET)
            sockets = inside.open_doors(self.way_out, six)
            door = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC)
            door.bind(DOOR)
            door.listen(1)
            linux.enter_namespace(kinds["mnt"], linux.CLONE_NEWNS)
            before = os.open("/tmp", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            linux.attach_tree(proc, "/proc")
            for path in MASKED:
                if os.path.exists("/proc/" + path):
                    linux.mount("/dev/null", "/proc/" + path, None, linux.MS_BIND)
            linux.attach_tree(tmp, "/tmp")
            if os.listdir(before):
                after = os.open("/tmp", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
                carry.over(before, after, self._uid)
            linux.enter_namespace(parent, linux.CLONE_NEWUSER)
            for name, number in (("uid_map", root.GUEST_UID), ("gid_map", root.GUEST_GID)):
                inside.write_proc(self._proc, f"{child}/{name}", b"%d %d 1" % (number, number))
            answer.send({}, [door.detach(), *[made.detach() for made in sockets]])
            os._exit(0)
        except OSError as error:
            answer.send({"failed": inside.describe(error), "errno": error.errno})
        finally:
            os._exit(1)

    def _open(self, name: str) -> int:
        return os.open(name, os.O_RDONLY | os.O_CLOEXEC, dir_fd=self._proc)


def _give_up(_signal: int, _frame: object) -> NoReturn:
    raise Lost("it took too long")


def _known_capabilities() -> int:
    with open("/proc/sys/kernel/cap_last_cap") as file:
        return min(_CAPABILITIES, int(file.read()) + 1)


def _pid_of(parent: Channel) -> int:
    """Its number, from the kernel: what it says about itself would be only true of its own namespace."""
    parent.sock.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
    parent.send({"here": True})
    _, ancillary, _, _ = parent.sock.recvmsg(4096, socket.CMSG_SPACE(12))
    parent.sock.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 0)
    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_CREDENTIALS:
            return struct.unpack("iii", data)[0]
    raise Lost("its process 1 does not answer")


def _inhabitants(first: int) -> set[int]:
    """All processes of the pid namespace, as we see them."""
    namespace = os.readlink(f"/proc/{first}/ns/pid")
    found: set[int] = set()
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                if os.readlink(f"/proc/{entry}/ns/pid") == namespace:
                    found.add(int(entry))
            except OSError:
                continue  # gone meanwhile; or a zombie, which has none
    return found


def _shares_memory(pid: int) -> bool:
    """Whether it has mappings that stay shared when it forks, and can be written to."""
    with open(f"/proc/{pid}/smaps") as file:
        flags = [line.split()[1:] for line in file if line.startswith("VmFlags:")]
    return any("ms" in mapping and "mw" in mapping for mapping in flags)


def _status(pid: int) -> dict[str, str]:
    with open(f"/proc/{pid}/status") as file:
        return {name: value.strip() for name, _, value in (line.partition(":") for line in file)}
