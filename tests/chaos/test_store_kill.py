"""kill -9 at any moment: whatever was acknowledged is there and complete, and nothing is there by halves."""

import os
import random
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lamplighter.control import packages
from support.control import control_plane, function_id, run, until

# Creates functions, changes some and deletes others, and tells each on standard output once it was acknowledged.
WRITER = """
import asyncio, sys
from pathlib import Path
from support.control import control_plane, zipped

async def worker(plane, start):
    for number in range(start, 1_000_000, 4):
        name = f"f{start}-{number}"
        await plane.create(name, Code={"ZipFile": zipped({"handler.py": f"x = {number // 3}" + "#" * 2000})})
        print("created", name, 3, flush=True)
        if number % 3 == 0:
            await plane.settled(name)
            print("updating", name, flush=True)
            await plane.call("UpdateFunctionConfiguration", FunctionName=name, Timeout=9)
            print("created", name, 9, flush=True)
        if number % 5 == 0:
            print("deleting", name, flush=True)
            await plane.call("DeleteFunction", FunctionName=name)
            print("deleted", name, flush=True)

async def main():
    async with control_plane(Path(sys.argv[1])) as plane:
        await asyncio.gather(*(worker(plane, start) for start in range(4)))

asyncio.run(main())
"""


def killed_after(directory: Path, acknowledgements: int, delay: float) -> list[str]:
    """The lines the writer got out until it was killed, so many acknowledgements and a moment after its start."""
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])}
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(directory)], stdout=subprocess.PIPE, text=True, env=environment
    )
    assert writer.stdout is not None
    lines: list[str] = []
    with writer:
        try:
            while sum(line.startswith(("created", "deleted")) for line in lines) < acknowledgements:
                assert select.select([writer.stdout], [], [], 30)[0], "the writer is stuck"
                line = writer.stdout.readline()
                assert line, "the writer ended on its own"
                lines.append(line)
            deadline = time.monotonic() + delay  # a random point of whatever it is doing, not the end of a write
            while time.monotonic() < deadline:
                pass
        finally:
            writer.send_signal(signal.SIGKILL)
        lines += writer.stdout.readlines()
    return [line.strip() for line in lines if line.endswith("\n")]


def promised(lines: list[str]) -> tuple[dict[str, set[int]], set[str], set[str]]:
    """What must be there, by name, with the time-outs it may have; what must be gone; what may be either."""
    there: dict[str, set[int]] = {}
    gone: set[str] = set()
    either: set[str] = set()
    for line in lines:
        verb, name, *timeout = line.split()
        if verb == "created":
            there[name] = {int(timeout[0])}
        elif verb == "updating":
            there[name].add(9)
        elif verb == "deleting":
            either.add(name)
        else:
            there.pop(name, None)
            gone.add(name)
    return there, gone, either - gone


@pytest.mark.parametrize("round_", range(4))
def test_what_was_acknowledged_survives_kill_9_and_becomes_active(tmp_path: Path, round_: int):
    chance = random.Random(round_)
    lines = killed_after(tmp_path, chance.randint(5, 60), chance.random() * 0.02)
    there, gone, either = promised(lines)
    assert there

    async def main() -> None:
        async with control_plane(tmp_path) as plane:
            for name, timeouts in there.items():
                if name in either and await plane.stored.get(function_id(name)) is None:
                    continue
                shown = await plane.settled(name)
                assert (shown["State"], shown["LastUpdateStatus"]) == ("Active", "Successful")
                assert shown["Timeout"] in timeouts
                function = await plane.stored.get(function_id(name))
                assert function is not None
                packages.check(await plane.blobs.read(function.code.digest))
                path = await plane.code.ensure(function.code.digest)
                assert (path / "handler.py").stat().st_size > 2000
            for name in gone:
                assert await plane.stored.get(function_id(name)) is None

            async def nothing_else_is_kept() -> bool:
                return await plane.blobs.digests() == await plane.references.digests()

            await until(nothing_else_is_kept)

    run(main)
    assert list(tmp_path.rglob(".unfinished-*")) == []
