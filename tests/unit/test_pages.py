"""What a start writes to is found out once, and a sandbox that waits has it copied ahead (sandbox/pages.py)."""

import ctypes
import mmap
import os
import resource
from collections.abc import Callable

import pytest

from lamplighter.sandbox import pages

SIZE = 64 * mmap.PAGESIZE


def in_child(act: Callable[[], int]) -> int:
    """A small number, from a child that is forked for it."""
    child = os.fork()
    if child == 0:
        try:
            os._exit(act())
        finally:
            os._exit(255)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@pytest.fixture
def memory() -> mmap.mmap:
    """Private, and written to, so that a fork shares it."""
    made = mmap.mmap(-1, SIZE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    made[:] = b"x" * SIZE
    if not pages.learn([lambda: made.__setitem__(0, 121)]):
        pytest.skip("this kernel doesn't tell which pages are shared")
    return made


def faults_of_writing(memory: mmap.mmap, number: int) -> int:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for page in range(number):
        memory[page * mmap.PAGESIZE] = 121
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


def test_what_was_taken_ahead_takes_no_faults_later(memory: mmap.mmap) -> None:
    learned = pages.learn([lambda: memory.__setitem__(slice(0, SIZE // 2), b"y" * (SIZE // 2))])

    def start() -> int:
        pages.take(learned)
        return faults_of_writing(memory, SIZE // 2 // mmap.PAGESIZE)

    unprepared = in_child(lambda: faults_of_writing(memory, SIZE // 2 // mmap.PAGESIZE))
    assert unprepared >= SIZE // 2 // mmap.PAGESIZE
    assert in_child(start) < unprepared / 2  # the interpreter takes some of its own


def test_only_what_most_of_them_write_to_is_learned(memory: mmap.mmap) -> None:
    start = ctypes.addressof(ctypes.c_char.from_buffer(memory))

    def writing(*places: int) -> Callable[[], None]:
        def write() -> None:
            for place in places:
                memory[place * mmap.PAGESIZE] = 121

        return write

    learned = pages.learn([writing(10, 20), writing(10, 30), writing(10, 30)])
    found = {
        page
        for first, size in pages._RANGE.iter_unpack(learned)  # pyright: ignore[reportPrivateUsage]
        for page in range((first - start) // mmap.PAGESIZE, (first + size - start) // mmap.PAGESIZE)
    }
    assert found & {10, 20, 30} == {10, 30}


def test_a_rehearsal_changes_nothing_here_and_may_fail(memory: mmap.mmap) -> None:
    def fail() -> None:
        memory[0] = 122
        raise SystemExit(3)

    before = memory[0]
    assert pages.learn([fail]) == b""
    assert memory[0] == before


def test_places_that_are_not_there_are_left_out() -> None:
    pages.take(pages._RANGE.pack(mmap.PAGESIZE, mmap.PAGESIZE))  # pyright: ignore[reportPrivateUsage]
