"""The most memory that a sandbox has used, as REPORT names it: without pages that are only kept of files on a disk.

Those are charged to the group of whoever touched them, and are given up whenever somebody needs memory; a function that
writes 300 MB to a /tmp on the disk has used none for that. But the kernel's own record of the most used has them in it.
So whenever that record has grown, what was of files then is taken off, as far as it is still there: a file that is
gone by the time of the look stays counted, and what was freed and then taken by a file does not.
"""

import os
from dataclasses import dataclass
from typing import Self

_LITTLE = 8 << 20  # bytes: what programs have of files stays counted, as where /tmp is in memory
_LOOK = 4096  # bytes; the lines wanted are the first of their file, or nearly


@dataclass(frozen=True, slots=True)
class Pages:
    """What is charged to a group now. Bytes. files: on disks; others: the processes' own, and tmpfs."""

    files: int
    others: int

    @classmethod
    def of(cls, statistics: bytes) -> Self:
        """`memory.stat`, of version 1 or 2 of control groups."""
        found: dict[bytes, int] = {}
        for line in statistics.splitlines():
            name, _, count = line.partition(b" ")
            if name in (b"cache", b"rss", b"file", b"anon", b"shmem") and count.isdigit():
                found.setdefault(name, int(count))
        shared = found.get(b"shmem", 0)
        cached = found.get(b"cache", found.get(b"file", 0))  # both count tmpfs in
        own = found.get(b"rss", found.get(b"anon", 0))
        return cls(max(0, cached - shared), own + shared)


class MemoryGauge:
    """most: a descriptor of the kernel's record of the most used. pages: of `memory.stat`, where what is of files on a
    disk does not count; -1: all counts."""

    __slots__ = ("_most", "_pages", "_record", "peak")

    def __init__(self, most: int, pages: int = -1) -> None:
        self._most = most
        self._pages = pages
        self._record = 0
        self.peak: int | None = None  # bytes, as of the last look

    def look(self) -> None:
        """Raises OSError once the group is gone."""
        if self._most >= 0:
            most = int(os.pread(self._most, 32, 0))
            if most == self.peak:
                return  # which nothing can be above; the statistics are dear to the kernel
            self.note(most, None if self._pages < 0 else Pages.of(os.pread(self._pages, _LOOK, 0)))

    def note(self, most: int, pages: Pages | None) -> None:
        """What somebody has seen. pages: None where all counts."""
        if pages is None:
            used = most
        elif most > self._record:
            used = most - pages.files if pages.files > _LITTLE else most
        else:
            used = pages.others
        self._record = max(self._record, most)
        self.peak = max(self.peak or 0, used)

    def close(self) -> None:
        for descriptor in (self._most, self._pages):
            if descriptor >= 0:
                os.close(descriptor)
        self._most = self._pages = -1
