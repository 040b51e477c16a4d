import subprocess
import sys

import pytest

# Blocks that are made in threads and dropped at their end, with something small that stays behind each.
LARGE_BLOCKS = """
import threading
from lamplighter import heap
from lamplighter.telemetry.own_memory import resident

assert heap.bound()
kept = []

def work():
    for size in (6_000_000, 2_000_000, 4_000_000):
        block = b"x" * size
        kept.append(b"y" * 700)
        del block

before = resident()
for _ in range(3):
    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
print((resident() - before) >> 20)
"""

# Smaller ones, which come to lie in a heap, and something small behind the last.
FREE_IN_A_HEAP = """
import asyncio, time
from lamplighter import heap
from lamplighter.telemetry.own_memory import resident

assert heap.bound()
blocks = [b"x" * 200_000 for _ in range(200)]
kept = b"y" * 700
held = resident()
del blocks

async def main():
    keeping = asyncio.create_task(heap.keep_small(LOOK))
    deadline = time.monotonic() + 20
    while held - resident() < 30 << 20 and time.monotonic() < deadline:
        await asyncio.sleep(0.02)
        until = time.monotonic() + 0.02
        while BUSY and time.monotonic() < until:
            pass
    keeping.cancel()

before = resident()
asyncio.run(main())
print((held - before) >> 20, (held - resident()) >> 20)
"""


def test_of_large_blocks_that_threads_have_dropped_nothing_is_kept() -> None:
    found = subprocess.run([sys.executable, "-c", LARGE_BLOCKS], capture_output=True, text=True, timeout=60)
    assert found.returncode == 0, found.stderr
    assert int(found.stdout) <= 4  # MB; it is 11 where glibc decides


@pytest.mark.parametrize(("busy", "look"), [(False, 0.5), (True, 0.02)])
def test_what_is_free_in_a_heap_goes_back_at_rest_and_in_time(busy: bool, look: float) -> None:
    """While there is something to do, after thirty looks."""
    program = f"BUSY, LOOK = {busy}, {look}\n{FREE_IN_A_HEAP}"
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert found.returncode == 0, found.stderr
    at_once, in_time = map(int, found.stdout.split())  # MB, of 38
    assert at_once < 20
    assert in_time >= 30
