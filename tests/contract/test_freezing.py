"""A frozen sandbox: nothing in it goes on, and whoever ends it, or dies, need not know that it was frozen."""

import asyncio
import os
from pathlib import Path

import pytest

from lamplighter.sandbox.cgroup import hierarchies
from lamplighter.sandbox.contract import Exit
from support.sandbox_server import Bench, cgroups_of, serving, serving_process, story, until

# Lets the server see no freezer of version 1, so that it takes that of version 2.
_WITHOUT_V1 = 'umount "$0" && exec "$@"'
VERSIONS = pytest.mark.parametrize("version", [1, 2])
_TICKS = """
import threading, time
def tick():
    while True:
        os.write(1, b".")
        time.sleep(0.001)
threading.Thread(target=tick, daemon=True).start()
threading.Timer(0.02, lambda: os.write(1, b"!")).start()
"""


def _before(version: int) -> tuple[str, ...]:
    """What to start the server by, for a freezer of this version. Skips where there is none."""
    freezers = {found.version: found for found in hierarchies() if "freezer" in found.controllers}
    unified = any("cgroup2" in line for line in Path("/proc/self/mountinfo").read_text().splitlines())
    if os.geteuid() != 0 or (1 not in freezers if version == 1 else not unified):
        pytest.skip(f"no freezer of version {version} to use here")
    if version == 2 and 1 in freezers:
        return ("unshare", "--mount", "sh", "-c", _WITHOUT_V1, str(freezers[1].top))
    return ()


def _is_frozen(bench: Bench) -> bool:
    """As far as the kernel knows."""
    told = [
        group / name
        for group in cgroups_of(bench.run_dir, Path(f"/proc/{serving_process(bench.server)}"))
        for name in ("freezer.state", "cgroup.events")
        if (group / name).exists()
    ]
    return any(path.read_text() == "FROZEN\n" or "frozen 1" in path.read_text() for path in told)


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 1 << 16)
    except BlockingIOError:
        return b""


@VERSIONS
@story
async def test_threads_and_timers_wait_for_the_thaw_and_connections_go_on(version: int) -> None:
    async with serving("full", _before(version)) as bench:
        guest = await bench.guest()
        output = guest.sandbox.output
        await guest.run("result = 1")
        guest.sandbox.freeze()
        await until(lambda: _is_frozen(bench), "it is frozen")
        started = asyncio.ensure_future(guest.run(_TICKS))  # sent, and read after the thaw
        await asyncio.sleep(0.05)
        assert not started.done()
        guest.sandbox.thaw()
        await started
        await until(lambda: b"." in _read(output), "it ticks")
        guest.sandbox.freeze()
        await until(lambda: _is_frozen(bench), "it is frozen again")
        said = _read(output)
        await asyncio.sleep(0.1)
        assert _read(output) == b""
        guest.sandbox.thaw()
        guest.sandbox.thaw()
        if b"!" not in said:
            await until(lambda: b"!" in _read(output), "the timer fires")
        await until(lambda: b"." in _read(output), "it ticks on")


@VERSIONS
@story
async def test_a_frozen_sandbox_ends_like_any_other(version: int) -> None:
    async with serving("full", _before(version)) as bench:
        guest, other = await bench.guest(), await bench.guest()
        await guest.run("result = 1")
        guest.sandbox.freeze()
        await until(lambda: _is_frozen(bench), "it is frozen")
        await guest.sandbox.end()
        assert guest.sandbox.exited.result() == Exit(signal=9)
        guest.sandbox.freeze()
        assert await other.run("result = 'not frozen'") == "not frozen"


@story
async def test_a_frozen_process_without_isolation_ends_like_any_other() -> None:
    async with serving("none") as bench:
        guest = await bench.guest()
        await guest.run("result = 1")
        guest.sandbox.freeze()
        await guest.end()
        assert guest.sandbox.exited.done()
