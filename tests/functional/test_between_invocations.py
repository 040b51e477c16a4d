"""What a function does between its invocations, through the whole service: nothing (AWS: spec 3.1)."""

import asyncio
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lamplighter.sandbox.cgroup import FREEZER, hierarchies
from support.sandbox_server import story, until

TICKS = """
import threading, time
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


def _frozen_groups() -> set[Path]:
    """Those of sandboxes that the kernel says are frozen, whoever's they are."""
    found = [hierarchy for hierarchy in hierarchies() if "freezer" in hierarchy.controllers]
    groups = {
        group
        for hierarchy in found
        for group in hierarchy.top.glob(f"**/lamplighter-*/*-*/{FREEZER[hierarchy.version][0]}")
    }
    return {group for group in groups if _is_frozen(group)}


def _is_frozen(group: Path) -> bool:
    try:
        return group.read_text() == "FROZEN\n" or "frozen 1" in (group.parent / "cgroup.events").read_text()
    except OSError:
        return False


@pytest.mark.root
@story
async def test_a_thread_left_running_makes_no_progress_between_invocations(
    client: Any, deploy: Callable[..., str]
) -> None:
    if not any("freezer" in hierarchy.controllers for hierarchy in hierarchies()):
        pytest.skip("no freezer to use here")
    name = deploy(TICKS)

    def largest_gap() -> float:
        return json.load(client.invoke(FunctionName=name)["Payload"])

    before = _frozen_groups()
    largest_gap()
    await until(lambda: _frozen_groups() - before, "its environment is frozen")
    frozen_at = time.monotonic()
    await asyncio.sleep(0.3)
    stood = time.monotonic() - frozen_at
    assert largest_gap() > stood
