"""The pipes of an environment: what comes, how fast, and what no flood delays."""

import asyncio
import os
import threading
from contextlib import suppress

from hypothesis import given
from hypothesis import strategies as st
from tests.support.sandbox_server import story, until

from lamplighter.worker.pipe import AT_ONCE, Allowance, Pipe


@given(st.lists(st.tuples(st.floats(0, 0.5), st.integers(4096, 65536)), min_size=1, max_size=200))
def test_in_no_time_comes_more_than_the_rate_and_what_may_come_at_once(reads: list[tuple[float, int]]) -> None:
    rate = 1_000_000.0
    allowance, now = Allowance(rate), 1000.0
    read: list[tuple[float, int]] = []
    for pause, size in reads:
        now += pause
        due = allowance.use(now, size)
        read.append((now, size))
        now = max(now, due)
    for first, (begin, _) in enumerate(read):
        came = 0
        for at, size in read[first:]:
            assert came <= (at - begin + AT_ONCE) * rate * 1.001  # before this one
            came += size


@story
async def test_a_flood_rests_and_what_its_neighbour_writes_does_not() -> None:
    of_all = Allowance(1e12)
    flooded, flood = _pipe()
    quiet, told = _pipe()
    came: list[bytes] = []
    taken = 0

    def take(data: bytes) -> None:
        nonlocal taken
        taken += len(data)

    floods = Pipe(flooded, (Allowance(100_000), of_all), take, lambda: None)
    words = Pipe(quiet, (Allowance(100_000), of_all), came.append, lambda: None)
    writer = threading.Thread(target=_write_until_closed, args=(flood,))
    writer.start()
    try:
        await until(lambda: taken >= 60_000, "the flood is counted")
        before = taken
        for word in (b"one\n", b"two\n", b"three\n"):
            os.write(told, word)
            await until(lambda word=word: word in came, "it came at once")
        assert taken - before <= 65536  # at this rate one read lasts for most of a second
    finally:
        floods.close()
        words.close()
        os.close(flooded)
        writer.join()
        for descriptor in (flood, quiet, told):
            os.close(descriptor)


@story
async def test_a_flood_that_rests_loses_nothing_and_goes_on() -> None:
    readable, written = _pipe()
    data = os.urandom(1_500_000)
    came = bytearray()
    ended = asyncio.Event()
    pipe = Pipe(readable, (Allowance(8_000_000),), came.extend, ended.set)

    def write() -> None:
        with os.fdopen(written, "wb") as file:
            file.write(data)

    await asyncio.gather(asyncio.to_thread(write), asyncio.wait_for(ended.wait(), 20))
    pipe.close()
    os.close(readable)
    assert bytes(came) == data


@story
async def test_a_pipe_that_is_closed_while_it_rests_is_not_read_again() -> None:
    closed, other = _pipe(), _pipe()
    taken: list[int] = []
    pipes = [
        Pipe(end[0], (Allowance(400_000),), lambda data, n=n: taken.append(n), lambda: None)
        for n, end in enumerate((closed, other))
    ]
    for _, written in (closed, other):
        os.write(written, b"x" * 65536)
    await until(lambda: len(taken) == 2, "both were read, and rest")
    for _, written in (closed, other):
        os.write(written, b"y" * 65536)
    pipes[0].close()
    pipes[0].close()
    await until(lambda: taken.count(1) == 2, "the other's rest is over")
    os.write(other[1], b"y" * 65536)
    await until(lambda: taken.count(1) == 3, "and its next, which began after that of the closed one would have ended")
    assert taken.count(0) == 1
    pipes[1].close()
    for descriptor in (*closed, *other):
        os.close(descriptor)


def _pipe() -> tuple[int, int]:
    readable, written = os.pipe2(os.O_CLOEXEC)
    os.set_blocking(readable, False)
    return readable, written


def _write_until_closed(descriptor: int) -> None:
    with suppress(BrokenPipeError):
        while True:
            os.write(descriptor, b"z" * 4096)
