"""Memory that every start writes to, made the sandbox's own before it starts.

A fork shares its memory with the fork server until it writes, and Python writes wherever it looks: that counts who
refers to what. So a start takes a page fault, with a page to be copied, for each of some hundred pages, or two thousand
where it makes a client of boto3. Which pages those are the fork server finds out once: children of it do what a start
does, and ask the kernel what is no longer shared. A sandbox that waits has the kernel copy them all, unhurried.

Nothing is learned from a function, and what is known are addresses. CPython 3.9 and later.
"""

from __future__ import annotations

import ctypes
import os
import signal
import struct
from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Sequence

_PAGE = os.sysconf("SC_PAGE_SIZE")
_EXCLUSIVE = 1 << 56  # of an entry in pagemap: mapped by nobody else (Linux 4.2)
_PRESENT = 1 << 63
_POPULATE_WRITE = 23  # of madvise (Linux 5.14)
_GAP = 1  # pages between two runs that are taken along, as a call costs about as much
_PATIENCE = 20  # seconds that a child may take
_RANGE = struct.Struct("=QQ")
_madvise = ctypes.CDLL(None, use_errno=True).madvise
_madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]

Rehearsal = Callable[[], None]


def learn(rehearsals: Sequence[Rehearsal]) -> bytes:
    """What more than half of the rehearsals write to, for `take`. Each is called in a child of its own, with one
    thread, whose end is its return. Empty where this kernel doesn't tell."""
    touched = Counter(page for rehearsal in rehearsals for page in _touched(rehearsal))
    return _ranges(sorted(page for page, times in touched.items() if 2 * times > len(rehearsals)))


def take(ranges: bytes) -> None:
    """Have these pages to ourselves. What is not there is left out, and so is all of it on an old kernel: then each is
    copied when it is written to, as ever."""
    for start, size in _RANGE.iter_unpack(ranges):
        _madvise(start, size, _POPULATE_WRITE)


def _touched(rehearsal: Rehearsal) -> array[int]:
    """Numbers of pages."""
    heard, told = os.pipe2(os.O_CLOEXEC)
    child = os.fork()
    if child == 0:
        try:
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.alarm(_PATIENCE)
            os.close(heard)
            mappings = list(_writable())
            rehearsal()
            with open(told, "wb") as pipe:
                pipe.write(_exclusive(mappings))
        finally:
            os._exit(0)
    os.close(told)
    with open(heard, "rb") as pipe:
        pages = pipe.read()
    os.waitpid(child, 0)
    return array("Q", pages[: len(pages) // 8 * 8])


def _writable() -> Iterable[tuple[int, int]]:
    """First page and the one behind the last, of what a fork shares until it writes."""
    with open("/proc/self/maps") as file:
        for line in file:
            place, rights = line.split()[:2]
            if rights.startswith("rw") and rights.endswith("p"):
                start, end = place.split("-")
                yield int(start, 16) // _PAGE, int(end, 16) // _PAGE


def _exclusive(mappings: Iterable[tuple[int, int]]) -> array[int]:
    found = array("Q")
    with open("/proc/self/pagemap", "rb", buffering=0) as pagemap:
        for first, end in mappings:
            entries = array("Q", os.pread(pagemap.fileno(), (end - first) * 8, first * 8))
            found.extend(
                first + index for index, entry in enumerate(entries) if entry & _PRESENT and entry & _EXCLUSIVE
            )
    return found


def _ranges(pages: Sequence[int]) -> bytes:
    """Of page numbers in ascending order, as starts and sizes in bytes."""
    found: list[list[int]] = []
    for page in pages:
        if found and page - found[-1][1] <= _GAP:
            found[-1][1] = page + 1
        else:
            found.append([page, page + 1])
    return b"".join(_RANGE.pack(first * _PAGE, (end - first) * _PAGE) for first, end in found)
