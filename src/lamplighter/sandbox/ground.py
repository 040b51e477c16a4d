"""What a sandbox server stands on: a directory that is its alone, cgroups, and namespaces in which it may mount.

Whatever a server that was killed has left there goes first; and a process stays behind that takes down what it would
leave (`survivor.py`).
"""

import contextlib
import errno
import fcntl
import hashlib
import os
import shutil
import signal
import time
from pathlib import Path
from typing import NoReturn

from lamplighter.sandbox import linux
from lamplighter.sandbox.cgroup import Cgroups, hierarchies
from lamplighter.sandbox.messages import Configuration
from lamplighter.sandbox.probe import enter_user_namespace
from lamplighter.sandbox.survivor import REPLACED, Survivor
from lamplighter.sandbox.tmp import PLACE

TAKEOVER = 10.0  # seconds that one before us may still need to take down what it has
_RETRY = 0.01  # seconds
_OURS_IN_RUN_DIR = ("root", "merge", PLACE, "layers-*", "sdk-*")


def clear_run_dir(run_dir: str) -> None:
    """Remove what a server leaves there, and nothing else, whatever directory we have been given."""
    for pattern in _OURS_IN_RUN_DIR:
        for path in Path(run_dir).glob(pattern):
            shutil.rmtree(path, ignore_errors=True)


def take_down(cgroups: Cgroups, run_dir: str) -> None:
    """All that `prepare` made outside namespaces, and whatever still runs in it."""
    cgroups.remove()
    clear_run_dir(run_dir)
    with contextlib.suppress(OSError):
        os.rmdir(run_dir)


def _own_user_namespace(survivor: Survivor) -> None:
    """Isolation "user": root over namespaces of our own making, and an ordinary user to everything else.

    Returns in a child, which goes on as the server. Making pid namespaces again and again takes one that belongs to our
    user namespace: so it is its pid 1. This process stays outside, from where the survivor can be replaced, and waits.
    Whichever is killed, the other goes too.
    """
    linux.prctl(linux.PR_SET_CHILD_SUBREAPER, 1)
    adopted, adopting = os.pipe2(os.O_CLOEXEC)
    between = os.fork()
    if between:
        survivor.stay_with(adopting)
        _stay_outside(survivor, between, adopting)
    os.close(adopting)
    enter_user_namespace(linux.CLONE_NEWNS | linux.CLONE_NEWPID)
    if os.fork():
        os._exit(0)
    os.read(adopted, 1)
    os.close(adopted)
    linux.prctl(linux.PR_SET_PDEATHSIG, signal.SIGKILL)


def _stay_outside(survivor: Survivor, between: int, adopting: int) -> NoReturn:
    """Until both have ended. between: whose child the server is at first; adopting: is closed when it is ours."""
    code = os.waitstatus_to_exitcode(os.waitpid(between, 0)[1])
    os.close(adopting)
    served, cleared = code != 0, False
    while not (served and cleared):
        pid, status = os.wait()
        if pid != survivor.pid:
            code, served = os.waitstatus_to_exitcode(status), True
        elif status == 0:
            cleared = True
        else:
            survivor.died()
            survivor.replace_in_time()
            os.write(2, f"lamplighter: {REPLACED}\n".encode())
    os._exit(code & 0xFF)


def _take(run_dir: str) -> int:
    """Make the directory ours until all are gone that have the descriptor, which this gives. After kill -9 of a service
    the next one may be there before its sandbox server has noticed: what that one still takes down has the names of
    what we are about to make."""
    deadline = time.monotonic() + TAKEOVER
    while (taken := _taken(run_dir)) < 0:
        if time.monotonic() > deadline:
            raise OSError(errno.EBUSY, "the sandbox server of an earlier service is still there; end it", run_dir)
        time.sleep(_RETRY)
    return taken


def _taken(run_dir: str) -> int:
    """Its descriptor, with the lock; negative: another has that."""
    directory = -1
    try:
        os.makedirs(run_dir, mode=0o755, exist_ok=True)
        directory = os.open(run_dir, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        fcntl.flock(directory, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if _is_at(directory, run_dir):
            return directory
    except (FileNotFoundError, BlockingIOError):
        pass  # the one before has just removed it, or still has it
    if directory >= 0:
        os.close(directory)
    return -1


def _is_at(directory: int, path: str) -> bool:
    """Whether it is this one that has the name, and not another, made after it was removed."""
    try:
        return os.path.samestat(os.fstat(directory), os.stat(path))
    except FileNotFoundError:
        return False


def prepare(told: Configuration) -> tuple[Cgroups, Survivor]:
    """The directory, the cgroups and the namespaces that a server works in, and who clears up after it. Raises OSError
    with what is missing."""
    if told.isolation == "full" and os.geteuid() != 0:
        raise PermissionError(1, "isolation full needs root; isolation user does not")
    taken = _take(told.run_dir)
    clear_run_dir(told.run_dir)
    os.mkdir(os.path.join(told.run_dir, "root"))
    os.mkdir(os.path.join(told.run_dir, PLACE), 0o700)
    name = "lamplighter-" + hashlib.sha256(os.path.realpath(told.run_dir).encode()).hexdigest()[:16]
    cgroups = Cgroups.open(name, hierarchies())

    def clear(directory: int) -> None:
        if _is_at(directory, told.run_dir):  # else the server took all down, and the next one may be there already
            take_down(cgroups, told.run_dir)

    survivor = Survivor(taken, clear)
    if told.isolation == "user":
        _own_user_namespace(survivor)
    if told.isolation == "full":
        survivor.home = os.open("/proc/self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
        linux.unshare(linux.CLONE_NEWNS)
    if told.isolation != "none":
        linux.mount("none", "/", None, linux.MS_REC | linux.MS_PRIVATE)
    return cgroups, survivor
