"""The process that outlives the sandbox server if that is killed, to take down what the kernel leaves.

What is frozen by version 1 of control groups does not die of SIGKILL, nor of its parent's death, until somebody thaws
it; and if the service is killed at the same moment, nobody of ours is left who could. This one is a fork of the server
from before it has anything, belongs to no sandbox's groups or namespaces, and waits for the end of a pipe, which the
kernel closes whoever kills the server. After an orderly end it finds nothing to do.
"""

import fcntl
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import NoReturn

from lamplighter.sandbox import linux

_FIRST = 3


@dataclass(frozen=True, slots=True)
class Survivor:
    """pipe: what it waits for the end of."""

    pid: int
    pipe: int

    @classmethod
    def fork(cls, kept: int, clear: Callable[[int], None]) -> "Survivor":
        """kept: a descriptor, with the lock on what is cleared: so that whoever comes next waits for us. It is what
        `clear` is called with, by whatever number it has then."""
        theirs, ours = os.pipe2(os.O_CLOEXEC)
        pid = os.fork()
        if pid == 0:
            _wait(theirs, kept, clear)
        os.close(theirs)
        return cls(pid, ours)

    def end(self) -> None:
        """All is taken down. In isolation "user" it is our parent's child, who waits for it."""
        os.close(self.pipe)
        try:
            os.waitpid(self.pid, 0)
        except ChildProcessError:
            pass


def _wait(pipe: int, kept: int, clear: Callable[[int], None]) -> NoReturn:
    try:
        moved = [fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, _FIRST + 2) for descriptor in (pipe, kept)]
        for number, descriptor in enumerate(moved, _FIRST):
            os.dup2(descriptor, number, inheritable=False)
        linux.close_from(_FIRST + 2)  # the service's channel, too, or it would not see the server's end
        os.read(_FIRST, 1)
        clear(_FIRST + 1)
    finally:
        os._exit(0)
