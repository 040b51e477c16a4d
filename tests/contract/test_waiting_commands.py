"""Commands that are started before anybody knows for which function."""

import asyncio
import contextlib
import json
import os
import signal
from collections import deque
from pathlib import Path

import pytest
from tests.support.sandbox_server import DEADLINE, VARIABLES, Bench, Guest, descendants, serving, story, until

from lamplighter.model.command import Command
from lamplighter.sandbox.contract import Exit, Isolation
from lamplighter.sandbox.lines import STANDING_AGE, STANDING_KEPT, Demand

ISOLATED = pytest.mark.parametrize("mode", [pytest.param("full", marks=pytest.mark.root), "user"])

# Says whether it has waited, what it was told, and what it sees.
_SCRIPT = """
if [ -n "$WAITS" ]; then echo waited; cat <&4; echo; else echo started; echo "{\\"GREETING\\": \\"$GREETING\\"}"; fi
cat /var/task/handler.py
exec 4<&-
ls /proc/$$/fd
"""
_WORDS = ("/bin/sh", "-c", _SCRIPT)


def _waiting(bench: Bench) -> list[int]:
    def waits(pid: int) -> bool:
        try:
            return b"WAITS=1" in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
        except OSError:
            return False

    return [pid for pid in descendants(bench.server) if waits(pid)]


async def _start(bench: Bench, greeting: str, words: tuple[str, ...] = _WORDS) -> list[str]:
    """What it says, by line."""
    guest = await bench.guest(
        {"handler.py": f"code of {greeting}\n"},
        runtime="custom",
        variables={"GREETING": greeting},
        command=words,
        waiting={"WAITS": "1"},
    )
    return (await guest.output()).decode().splitlines()


@ISOLATED
@story
async def test_what_has_waited_is_told_its_function_when_there_is_one(mode: Isolation) -> None:
    async with serving(mode) as bench:
        assert (await _start(bench, "one"))[:3] == ["started", '{"GREETING": "one"}', "code of one"]
        await until(lambda: _waiting(bench), "one waits")
        for name in ("two", "three"):
            said = await _start(bench, name)
            assert said[0] == "waited"
            assert json.loads(said[1]) == {**VARIABLES, "GREETING": name}
            assert said[2] == f"code of {name}"
            assert {"0", "1", "2", "3"} >= set(said[3:]) - {"10"}, "the shell's own copy of its script is 10, if any"
            await until(lambda: _waiting(bench), "another waits")
        other = (*_WORDS[:2], f"# Another command.\n{_SCRIPT}")
        assert (await _start(bench, "four", other))[0] == "started", "what waits, waits for the same command"


@ISOLATED
@story
async def test_what_dies_while_it_waits_harms_nobody(mode: Isolation) -> None:
    async with serving(mode) as bench:
        await _start(bench, "one")
        await until(lambda: _waiting(bench), "one waits")
        before = _waiting(bench)
        for pid in before:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        await until(lambda: not set(before) & set(_waiting(bench)), "it is gone")
        assert (await _start(bench, "two"))[2] == "code of two"


@ISOLATED
@pytest.mark.parametrize("read", [False, True], ids=["unread", "read"])
@story
async def test_of_what_dies_at_its_order_it_is_told_whether_it_had_read_it(mode: Isolation, read: bool) -> None:
    script = 'if [ -n "$WAITS" ]; then read -r told <&4; echo taken; exec sleep 1000; fi'
    wanted = {"runtime": "custom", "command": ("/bin/sh", "-c", script), "waiting": {"WAITS": "1"}}
    async with serving(mode) as bench:
        await (await bench.guest(**wanted)).output()
        await until(lambda: _waiting(bench), "one waits")
        (waiting,) = _waiting(bench)
        if not read:
            os.kill(waiting, signal.SIGSTOP)
        guest = await bench.guest(**wanted)
        if read:
            await until(lambda: _read(guest) == b"taken\n", "it has been told")
        os.kill(waiting, signal.SIGKILL)
        async with asyncio.timeout(DEADLINE):
            assert await guest.sandbox.exited == Exit(signal=signal.SIGKILL, untaken=not read)


def _read(guest: Guest) -> bytes:
    with contextlib.suppress(BlockingIOError):
        return os.read(guest.sandbox.output, 100)
    return b""


@ISOLATED
@story
async def test_one_waits_before_the_first_start_if_asked_to(mode: Isolation) -> None:
    async with serving(mode) as bench:
        bench.sandboxes.warm("custom", Command(_WORDS, {"WAITS": "1"}))
        await until(lambda: _waiting(bench), "one waits")
        assert (await _start(bench, "one"))[0] == "waited"


def test_how_many_wait_follows_how_many_start() -> None:
    demand = Demand("nodejs22.x", Command(("node",)), deque(maxlen=STANDING_KEPT), deque())
    assert demand.wanted(0.0) == 0
    demand.starts.append(100.0)
    assert demand.wanted(100.0) == demand.wanted(100.0 + STANDING_AGE) == 1
    assert demand.wanted(101.0 + STANDING_AGE) == 0
    demand.starts.extend([200.0, 201.0, 202.0])
    assert demand.wanted(203.0) == 3
    demand.starts.extend([203.0] * 100)
    assert demand.wanted(203.0) == STANDING_KEPT
