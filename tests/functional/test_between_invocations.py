"""What a function does between its invocations, through the whole service: nothing (AWS: spec 3.1)."""

import asyncio
import contextlib
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lamplighter.sandbox.cgroup import FREEZER, hierarchies
from support.sandbox_server import story, until

TICKS = """
import ctypes, threading, time
ctypes.CDLL(None).prctl(15, b"NAME", 0, 0, 0)  # PR_SET_NAME
largest = 0
def tick():
    global largest
    last = time.monotonic()
    while True:
        time.sleep(0.001)
        now = time.monotonic()
        largest, last = max(largest, now - last), now
threading.Thread(target=tick, daemon=True).start()
def handler(event, context):
    time.sleep(0.01)
    return largest
"""


def _frozen_processes() -> set[str]:
    """What those call themselves whose groups the kernel says are frozen, whoever's they are."""
    names: set[str] = set()
    for hierarchy in hierarchies():
        if "freezer" not in hierarchy.controllers:
            continue
        for top, _, files in os.walk(hierarchy.top):
            group = Path(top, FREEZER[hierarchy.version][0])
            with contextlib.suppress(OSError):  # gone meanwhile
                if group.name in files and _is_frozen(group):
                    pids = (group.parent / "cgroup.procs").read_text().split()
                    names.update(Path(f"/proc/{pid}/comm").read_text().strip() for pid in pids)
    return names


def _is_frozen(group: Path) -> bool:
    return group.read_text() == "FROZEN\n" or "frozen 1" in (group.parent / "cgroup.events").read_text()


@pytest.mark.root
@story
async def test_a_thread_left_running_makes_no_progress_between_invocations(
    client: Any, deploy: Callable[..., str]
) -> None:
    if not any("freezer" in hierarchy.controllers for hierarchy in hierarchies()):
        pytest.skip("no freezer to use here")
    called = f"ticks-{os.getpid()}"
    name = deploy(TICKS.replace("NAME", called))

    def largest_gap() -> float:
        return json.load(client.invoke(FunctionName=name)["Payload"])

    largest_gap()
    await until(lambda: called in _frozen_processes(), "its environment is frozen")
    frozen_at = time.monotonic()
    await asyncio.sleep(0.3)
    stood = time.monotonic() - frozen_at
    assert largest_gap() > stood
