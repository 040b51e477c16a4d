"""SnapStart from within: an initialised runtime becomes a template, and goes on in each copy of it (AWS: spec 8).

At the template's end all it does is fork, again and again, held by the service. What returns from a fork is a copy:
process 1 of a sandbox of its own, without any descriptor. It stays that, and a child of it goes on as the runtime,
which fetches its pipes and variables at DOOR, in its own network.
"""

from __future__ import annotations

import fcntl
import gc
import json
import os
import signal
import stat
import sys
from _socket import AF_UNIX, CMSG_LEN, SCM_RIGHTS, SOCK_SEQPACKET, SOL_SOCKET, socket
from typing import TYPE_CHECKING, NoReturn

from . import faults
from .loops import Loops

if TYPE_CHECKING:
    from collections.abc import Mapping, MutableMapping

    from .answers import Encoder
    from .logs import Log
    from .runtime_api import RuntimeApi

DOOR = "\0lamplighter"
BEFORE_SNAPSHOT, AFTER_RESTORE = "Runtime.BeforeSnapshotError", "Runtime.AfterRestoreError"
_OWN = 4  # descriptors that a copy is given anew: stdin, stdout, stderr, framed records
_PACKET = 200_000


class Opened:
    """What the function has open, to be opened again in a copy at the same numbers: each copy has a position of its own
    in a file. A connection is dead there, and a library that finds it so makes another."""

    def __init__(self) -> None:
        self.files: list[tuple[int, str, int, int]] = []  # number, path, flags, position
        self.sockets: list[int] = []
        self._loops = Loops()
        self.strange = self._loops.strange  # there are some that can't be had again
        for name in os.listdir("/proc/self/fd"):
            number = int(name)
            if number >= _OWN:
                self._note(number)

    def _note(self, number: int) -> None:
        if number in self._loops.descriptors:
            return
        try:
            kind = os.fstat(number).st_mode
            path = os.readlink(f"/proc/self/fd/{number}")
        except OSError:
            return  # that of listing them
        if stat.S_ISSOCK(kind):
            self.sockets.append(number)
        elif (stat.S_ISREG(kind) or stat.S_ISDIR(kind) or stat.S_ISCHR(kind)) and not path.endswith(" (deleted)"):
            flags = fcntl.fcntl(number, fcntl.F_GETFL)
            position = os.lseek(number, 0, os.SEEK_CUR) if stat.S_ISREG(kind) else 0
            self.files.append((number, path, flags, position))
        else:
            self.strange = True

    def open_again(self) -> None:
        for number, path, flags, position in self.files:
            made = os.open(path, flags)
            _move(made, number)
            if position:
                os.lseek(number, position, os.SEEK_SET)
        for number in self.sockets:
            dead = socket(AF_UNIX, SOCK_SEQPACKET)
            _move(dead.detach(), number)
        self._loops.make_again()

    @property
    def beyond(self) -> int:
        """A number above all of them."""
        return max([_OWN, *self.sockets, *(number for number, _, _, _ in self.files)]) + 1


def become_template(api: RuntimeApi, variables: MutableMapping[str, str], log: Log, encoder: Encoder) -> bool:
    """Run the hooks that come before a snapshot, wait to be restored; returns in a copy. False: it can't be copied,
    as it has threads, children, or something open that is no file and no connection."""
    given = dict(variables)
    _run_hooks(True, api, log, encoder)
    gc.collect()
    _quieten()
    opened = Opened()
    if opened.strange or len(os.listdir("/proc/self/task")) > 1 or not api.wait_for_restore():
        return False
    gc.freeze()  # what is shared with all copies is better not written to
    while os.fork():
        pass
    _divide()
    _fetch(given, variables, opened)
    _refresh_randomness()
    return True


def after_restore(api: RuntimeApi, log: Log, encoder: Encoder) -> None:
    _run_hooks(False, api, log, encoder)


def _run_hooks(before: bool, api: RuntimeApi, log: Log, encoder: Encoder) -> None:
    """The hooks, if the function has imported what registers them: the last one first before, the first one first
    after (AWS)."""
    hooks = sys.modules.get("snapshot_restore_py")
    if hooks is None:
        return
    registered = list(reversed(hooks.get_before_snapshot())) if before else list(hooks.get_after_restore())
    try:
        for function, args, kwargs in registered:
            function(*args, **kwargs)
    except Exception as error:  # the function's own
        frames = faults.user_frames(error.__traceback__)
        failure = faults.payload(str(error), type(error).__name__, faults.format_frames(frames))
        log.error(failure)
        body = encoder.encode(failure).encode()
        if before:
            api.fail_init(body, BEFORE_SNAPSHOT)
            sys.exit(64)
        api.fail_restore(body, AFTER_RESTORE)
        sys.exit(65)


def _quieten() -> None:
    """Libraries that compute in threads of their own end them before a fork, and start them again when needed."""
    if len(os.listdir("/proc/self/task")) > 1:
        child = os.fork()
        if child == 0:
            os._exit(0)
        os.waitpid(child, 0)


def _divide() -> None:
    """Return in a child; here, be process 1: reap what is orphaned and end with the child, and as it did."""
    child = os.fork()
    if child == 0:
        return
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    while True:
        try:
            pid, status = os.waitpid(-1, 0)
        except ChildProcessError:
            os._exit(1)
        if pid == child:
            _end_as(status)


def _end_as(status: int) -> NoReturn:
    os._exit(128 + os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status))


def _fetch(given: Mapping[str, str], variables: MutableMapping[str, str], opened: Opened) -> None:
    """Pipes and variables of this copy. What the function has set itself stays, unless the service has news."""
    door = socket(AF_UNIX, SOCK_SEQPACKET)
    door.connect(DOOR)
    text, ancillary, _, _ = door.recvmsg(_PACKET, CMSG_LEN(4 * 4))
    numbers: list[int] = []
    for level, kind, data in ancillary:
        if level == SOL_SOCKET and kind == SCM_RIGHTS:
            numbers += [int.from_bytes(data[at : at + 4], sys.byteorder) for at in range(0, len(data), 4)]
    moved = [fcntl.fcntl(number, fcntl.F_DUPFD_CLOEXEC, opened.beyond) for number in numbers]
    door.detach()
    os.closerange(0, _OWN)
    os.open("/dev/null", os.O_RDONLY)
    os.dup2(moved[0], 1)
    os.dup2(moved[0], 2)
    if len(moved) > 1:
        os.dup2(moved[1], 3, inheritable=False)
    for number in moved:
        os.close(number)
    opened.open_again()
    os.setsid()
    for name, value in json.loads(text)["variables"].items():
        if given.get(name) != value:
            variables[name] = value


def _move(number: int, to: int) -> None:
    if number != to:
        os.dup2(number, to, inheritable=False)
        os.close(number)


def _refresh_randomness() -> None:
    """Two copies must not draw the same. (What asks the kernel each time, as uuid4 and secrets do, needs nothing.)"""
    modules = sys.modules
    if "random" in modules:
        modules["random"].seed()
    if "numpy.random" in modules:
        modules["numpy.random"].seed()
    if "_ssl" in modules:
        modules["_ssl"].RAND_add(os.urandom(32), 32.0)
