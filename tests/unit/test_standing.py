"""Processes that wait for their function: how many are kept, and when those that are too many go (sandbox/lines.py)."""

from types import SimpleNamespace
from typing import Any

import pytest

from lamplighter.model.command import Command
from lamplighter.sandbox import lines
from lamplighter.sandbox.lines import STANDING_AGE, STANDING_KEPT, Lines


class Sent:
    def __init__(self) -> None:
        self.packets: list[dict[str, Any]] = []

    def send(self, body: dict[str, Any]) -> None:
        self.packets.append(body)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    held = SimpleNamespace(now=1000.0, monotonic=lambda: held.now)
    monkeypatch.setattr(lines, "time", held)
    return held


@pytest.fixture
def home(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A fork server that has everything ready that is asked of it."""
    made = SimpleNamespace(runtime="nodejs22.x", channel=Sent(), made=0)

    def prepare(_: Lines, home: Any, kept: Any = None) -> Any:
        home.made += 1
        return SimpleNamespace(number=home.made, home=home, orders=Sent(), line=None)

    monkeypatch.setattr(Lines, "prepare", prepare)
    return made


def test_those_of_a_burst_go_when_it_is_over_and_the_last_when_nobody_comes(clock: SimpleNamespace, home: Any) -> None:
    told: Any = SimpleNamespace(isolation="full")
    records: Any = SimpleNamespace(full=False)
    templates: Any = SimpleNamespace(held=[])
    no_tmps: Any = SimpleNamespace()
    kept = Lines(told, records, {home.runtime: home}, templates, no_tmps)
    command = Command(("node",), {"WAITS": "1"})

    def let(seconds: float) -> int:
        """Time passes, and what was due is done. How many wait."""
        until = clock.now + seconds
        while kept.due is not None and kept.due <= until:
            clock.now = max(kept.due, clock.now)
            kept.refill()
            ended = {packet["end"] for packet in home.channel.packets}
            for demand in kept._demands.values():  # pyright: ignore[reportPrivateUsage]
                for record in [one for one in demand.standing if one.number in ended]:
                    demand.standing.remove(record)
        clock.now = until
        return sum(len(demand.standing) for demand in kept._demands.values())  # pyright: ignore[reportPrivateUsage]

    for _ in range(20):
        kept.demanded(home.runtime, command)
    kept.refill_soon(None)
    assert let(1) == STANDING_KEPT
    assert let(30) == 1
    assert let(STANDING_AGE - 60) == 1
    assert let(STANDING_AGE) == 0
