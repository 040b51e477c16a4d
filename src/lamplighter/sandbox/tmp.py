"""/tmp of a sandbox: a file system of its own, which stays when the sandbox ends and its environment goes on.

The server has each one mounted in its own mount namespace, which nobody else can enter, and a sandbox is given a copy
of that mount. The server never looks at what is in it: whatever a guest leaves there is of interest to the guest alone,
and so is who owns it, since the next sandbox is the same user again. In isolation "none" it is a directory of the
host's.
"""

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from lamplighter.sandbox import linux
from lamplighter.sandbox.cgroup import Cgroup

PLACE = "tmps"  # directory in run_dir
INODES = 128  # files per MB of size
_LARGE = 32 << 20  # bytes; to free more takes a process of its own, since everybody else would wait for it
_ATTRIBUTES = linux.ATTR_NOSUID | linux.ATTR_NODEV


class MountedTmp(Protocol):
    """One that a sandbox gets as a mount: in all isolations but "none"."""

    @property
    def in_memory(self) -> bool:
        """Whether what is written there counts as the memory of who writes."""
        ...

    def lend(self) -> int:
        """A descriptor of a mount for /tmp."""
        ...

    def drop(self) -> None:
        """Give it back, with all that is in it; the sandbox is gone."""
        ...


@dataclass(frozen=True, slots=True)
class MemoryTmp:
    """A tmpfs, mounted at `place`. reap: takes the number of a child that will end by itself."""

    place: str
    reap: Callable[[int], None]
    in_memory: bool = True

    @classmethod
    def make(cls, place: str, size: int, reap: Callable[[int], None]) -> "MemoryTmp":
        """size: MB."""
        attach(in_memory(size), place)
        return cls(place, reap)

    def lend(self) -> int:
        return linux.clone_tree(-100, self.place)

    def drop(self) -> None:
        status = os.statvfs(self.place)
        if (status.f_blocks - status.f_bfree) * status.f_frsize < _LARGE:
            detach(self.place)
            return
        pid = os.fork()
        if pid == 0:
            try:
                detach(self.place)
            finally:
                os._exit(0)
        self.reap(pid)


@dataclass(frozen=True, slots=True)
class HostTmp:
    """Isolation "none": a directory on the host."""

    place: str
    in_memory: bool = False

    @classmethod
    def make(cls, place: str) -> "HostTmp":
        os.mkdir(place, 0o700)
        return cls(place)

    def drop(self) -> None:
        shutil.rmtree(self.place, ignore_errors=True)


Tmp = MountedTmp | HostTmp


@dataclass(frozen=True, slots=True)
class Kept:
    """What an environment's next sandbox gets of the one before it: the user id, which is the slot's, and /tmp. And if
    what is in there counts as memory, also the group in which it does: or each sandbox could fill it anew.

    code: digest; the next sandbox must have the same, whatever it is said to be."""

    slot: int
    code: str
    tmp: Tmp
    cgroup: Cgroup | None


def in_memory(size: int) -> int:
    """A mount that is nowhere yet. size: MB."""
    options: dict[str, str | None] = {"mode": "1777", "size": f"{size}m", "nr_inodes": str(size * INODES)}
    return linux.new_filesystem("tmpfs", options, _ATTRIBUTES)


def attach(mount: int, place: str) -> None:
    """Mount what the descriptor leads to at a path that is not there yet, and close it."""
    try:
        os.mkdir(place, 0o700)
        linux.attach_tree(mount, place)
    except OSError:
        detach(place)
        raise
    finally:
        os.close(mount)


def detach(place: str) -> None:
    try:
        linux.unmount(place)
        os.rmdir(place)
    except OSError:
        pass  # what isn't mounted any more; and the directory is removed with run_dir
