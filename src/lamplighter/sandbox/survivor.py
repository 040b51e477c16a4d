"""The process that outlives the sandbox server if that is killed, to take down what the kernel leaves.

What is frozen by version 1 of control groups does not die of SIGKILL, nor of its parent's death, until somebody thaws
it; and if the service is killed at the same moment, nobody of ours is left who could. This one is a fork of the server
from before it has anything, belongs to no sandbox's groups or namespaces, and waits for the end of a pipe, which the
kernel closes whoever kills the server. After an orderly end it finds nothing to do. If it is killed itself, its parent
forks another.
"""

import contextlib
import fcntl
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from lamplighter.sandbox import linux

NAME = "lamplighter-end"  # in lists of processes, where it would be another sandbox server
AGAIN = 1.0  # seconds from one to the next, at least
REPLACED = "the process that clears up after kill -9 had died; there is another"
_FIRST = 3


class Survivor:
    """kept: a descriptor, with the lock on what is cleared: so that whoever comes next waits for us. It is what `clear`
    is called with, by whatever number it has then.

    due: when to `replace` it, on the monotonic clock. death: a descriptor that ends when it dies. home: one of the
    mount namespace to clear in, once its parent has left that.
    """

    def __init__(self, kept: int, clear: Callable[[int], None]) -> None:
        self.due: float | None = None
        self.home: int | None = None
        self._kept = kept
        self._clear = clear
        self._awaited, self._server = os.pipe2(os.O_CLOEXEC)
        self._fork()

    def died(self) -> None:
        """Reaps it, if that has not been done."""
        os.close(self.death)
        self._reap()
        self.due = self._since + AGAIN

    def replace(self) -> bool:
        """False: this host can't fork now, and another time is due."""
        try:
            self._fork()
        except OSError:
            self.due = time.monotonic() + AGAIN
            return False
        self.due = None
        return True

    def replace_in_time(self) -> None:
        """As `replace`, but waits until it is due, and until it can be done."""
        while self.due is not None:
            time.sleep(max(0.0, self.due - time.monotonic()))
            self.replace()

    def end(self) -> None:
        """All is taken down. In isolation "user" it is our parent's child, who waits for it."""
        os.close(self._server)
        self._reap()

    def stay_with(self, *descriptors: int) -> None:
        """The server is another process than this one, which keeps these and what it takes to replace it."""
        needed = {0, 1, 2, self._awaited, self._kept, self.death, *descriptors}
        for descriptor in {int(name) for name in os.listdir("/proc/self/fd")} - needed:
            with contextlib.suppress(OSError):  # the list's own
                os.close(descriptor)

    def _reap(self) -> None:
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self.pid, 0)

    def _fork(self) -> None:
        self._since = time.monotonic()
        self.death, theirs = os.pipe2(os.O_CLOEXEC)
        try:
            self.pid = os.fork()
        except OSError:
            os.close(self.death)
            os.close(theirs)
            raise
        if self.pid == 0:
            self._wait(theirs)
        os.close(theirs)

    def _wait(self, alive: int) -> NoReturn:
        try:
            Path("/proc/self/comm").write_text(NAME)
            if self.home is not None:
                linux.enter_namespace(self.home, linux.CLONE_NEWNS)
            needed = (self._awaited, self._kept, alive)
            moved = [fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, _FIRST + len(needed)) for descriptor in needed]
            for number, descriptor in enumerate(moved, _FIRST):
                os.dup2(descriptor, number, inheritable=False)
            linux.close_from(_FIRST + len(needed))  # the service's channel, too, or it would not see the server's end
            os.read(_FIRST, 1)
            self._clear(_FIRST + 1)
        finally:
            os._exit(0)
