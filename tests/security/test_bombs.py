"""A function that takes all it can get harms itself: forks, memory, descriptors, disk, processor, output."""

import asyncio
import os
import signal
import time

import pytest

from lamplighter.sandbox.contract import Exit, Isolation
from support.sandbox_server import DEADLINE, Guest, serving, story

ISOLATED = pytest.mark.parametrize("mode", [pytest.param("full", marks=pytest.mark.root), "user"])
_FORK_BOMB = """
import signal, time
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
made = 0
while True:
    try:
        if os.fork() == 0:
            time.sleep(1000)
    except OSError as error:
        result = [made, error.errno == 11]
        break
    made += 1
    if made > 2000:
        result = [made, False]
        break
"""


@ISOLATED
@story
async def test_a_fork_bomb_stops_at_the_limit_and_only_in_its_own_sandbox(mode: Isolation) -> None:
    async with serving(mode) as bench:
        bomb, other = await bench.guest(memory_size=2048), await bench.guest()
        made, refused = await bomb.run(_FORK_BOMB)
        assert refused
        assert 900 < made <= 1024
        await _works(other)
        await _works(await bench.guest())
        await bomb.end()


@ISOLATED
@story
async def test_a_thread_bomb_stops_at_the_limit(mode: Isolation) -> None:
    async with serving(mode) as bench:
        source = """
import threading, time
made = 0
threading.stack_size(64 * 1024)
try:
    while made < 2000:
        threading.Thread(target=time.sleep, args=(1000,), daemon=True).start()
        made += 1
except RuntimeError:
    pass
result = made
"""
        guest = await bench.guest(memory_size=1024)
        assert 900 < await guest.run(source) <= 1024


@ISOLATED
@story
async def test_descriptors_run_out_for_the_one_who_floods(mode: Isolation) -> None:
    async with serving(mode) as bench:
        flood, other = await bench.guest(), await bench.guest()
        source = """
files = []
try:
    while len(files) < 5000: files.append(open("/dev/null"))
except OSError as error:
    result = [len(files) < 1024, error.errno]
"""
        assert await flood.run(source) == [True, 24]
        await _works(other)


@pytest.mark.root
@story
async def test_a_full_tmp_refuses_more_and_is_dropped_with_the_sandbox() -> None:
    async with serving("full") as bench:
        guest = await bench.guest(memory_size=2048, ephemeral_storage=512)
        source = """
block, written = bytes(1 << 20), 0
with open("/tmp/full", "wb", 0) as file:
    try:
        while written < 600: written += file.write(block) >> 20
    except OSError as error:
        result = [500 < written <= 512, error.errno]
"""
        assert await guest.run(source) == [True, 28]
        await guest.end()
        assert await (await bench.guest()).run("result = os.listdir('/tmp')") == []


@ISOLATED
@story
async def test_what_a_guest_writes_is_bounded_by_the_pipe_until_it_is_read(mode: Isolation) -> None:
    async with serving(mode) as bench:
        flood, other = await bench.guest(), await bench.guest()
        write = "lambda: [os.write(1, bytes(65536)) for _ in range(999)]"
        await flood.run(f"import threading; threading.Thread(target={write}).start()")
        await _works(other)
        taken = 0
        async with asyncio.timeout(DEADLINE):
            while taken < 999 * 65536:
                try:
                    taken += len(os.read(flood.sandbox.output, 1 << 20))
                except BlockingIOError:
                    await asyncio.sleep(0.001)


@pytest.mark.root
@story
async def test_memory_bombs_by_several_processes_count_together() -> None:
    async with serving("full") as bench:
        if "memory" not in bench.sandboxes.controllers:
            pytest.skip("no memory controller to use here")
        guest = await bench.guest(memory_size=128)
        source = """
import subprocess, sys
code = "x = bytearray(60 << 20); print('done', flush=True); import time; time.sleep(1000)"
started = [subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) for _ in range(4)]
for process in started:
    process.stdout.readline()  # it has its memory, or is dead
alive = 0
for process in started:
    try:
        process.wait(0.5)
    except subprocess.TimeoutExpired:
        alive += 1
result = alive
"""
        answer = await guest.run(source)
        # Children, or the runtime itself, were killed: two of 60 MB fit into 128 MB, three don't.
        assert answer == "the runtime died" or answer <= 2
        peak = guest.sandbox.memory_peak()
        assert peak is not None and peak <= 128 << 20


@pytest.mark.root
@story
async def test_a_guest_that_ignores_every_signal_and_never_sleeps_is_ended_all_the_same() -> None:
    async with serving("full") as bench:
        guest = await bench.guest()
        hog = """
import signal
for number in range(1, 32):
    try: signal.signal(number, signal.SIG_IGN)
    except (OSError, ValueError): pass
if os.fork() == 0:
    while True: pass
"""
        await guest.run(hog)
        start = time.monotonic()
        await guest.sandbox.end()
        assert time.monotonic() - start < 2
        assert await guest.sandbox.exited == Exit(signal=signal.SIGKILL)


@ISOLATED
@story
async def test_stopping_oneself_stops_nobody_else(mode: Isolation) -> None:
    async with serving(mode) as bench:
        stopped, other = await bench.guest(), await bench.guest()
        await stopped.run("import threading; threading.Timer(0.1, os.kill, (os.getpid(), 19)).start()")
        await _works(other)
        await stopped.sandbox.end()


async def _works(guest: Guest) -> None:
    assert await guest.run("result = 'alive'") == "alive"
