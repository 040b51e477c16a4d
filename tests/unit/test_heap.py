import subprocess
import sys

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


def test_of_large_blocks_that_threads_have_dropped_nothing_is_kept() -> None:
    found = subprocess.run([sys.executable, "-c", LARGE_BLOCKS], capture_output=True, text=True, timeout=60)
    assert found.returncode == 0, found.stderr
    assert int(found.stdout) <= 4  # MB; it is 11 where glibc decides
