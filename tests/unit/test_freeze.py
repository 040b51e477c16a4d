"""When an idle environment is frozen: not before its moment is over, and never while it is busy."""

import asyncio
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lamplighter.sandbox.contract import Sandbox
from lamplighter.worker.freeze import FREEZE_AFTER, Freeze

AFTER = 16.0


class HeldLoop(asyncio.SelectorEventLoop):
    """Its time is what the test says. Timers fire when it is moved."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.timers: list[asyncio.TimerHandle] = []

    def time(self) -> float:
        return self.now

    def call_later(self, delay, callback, *args, context=None):  # pyright: ignore[reportIncompatibleMethodOverride]
        timer = asyncio.TimerHandle(self.now + delay, callback, args, self)
        self.timers.append(timer)
        return timer

    def move(self, seconds: float) -> None:
        end = self.now + seconds
        while due := [timer for timer in self.timers if timer.when() <= end and not timer.cancelled()]:
            timer = min(due, key=lambda each: each.when())
            self.timers.remove(timer)
            self.now = timer.when()
            timer._run()  # pyright: ignore[reportPrivateUsage]  # as a loop does
        self.now = end


class Counted:
    """A sandbox, as far as freezing goes."""

    def __init__(self) -> None:
        self.frozen = False
        self.freezes = 0

    def freeze(self) -> None:
        assert not self.frozen
        self.frozen = True
        self.freezes += 1

    def thaw(self) -> None:
        assert self.frozen
        self.frozen = False


@pytest.fixture
def loop():
    made = HeldLoop()
    yield made
    made.close()


def test_a_moment_after_the_last_invocation_it_is_frozen_and_the_next_one_thaws_it(loop: HeldLoop) -> None:
    sandbox = Counted()
    freeze = Freeze(loop, lambda: cast(Sandbox, sandbox), AFTER)
    freeze.begin()
    loop.move(AFTER - 1)
    assert not sandbox.frozen
    loop.move(1)
    assert sandbox.frozen
    freeze.end()
    assert not sandbox.frozen


def test_a_busy_function_is_never_frozen_and_costs_no_more_than_a_timer_per_moment(loop: HeldLoop) -> None:
    sandbox = Counted()
    freeze = Freeze(loop, lambda: cast(Sandbox, sandbox), AFTER)
    for _ in range(1000):
        freeze.begin()
        assert len(loop.timers) == 1
        loop.move(1)
    assert sandbox.freezes == 0


def test_one_that_is_switched_off_never_freezes(loop: HeldLoop) -> None:
    sandbox = Counted()
    freeze = Freeze(loop, lambda: cast(Sandbox, sandbox), None)
    freeze.begin()
    loop.move(1000)
    assert sandbox.freezes == 0
    assert FREEZE_AFTER > 0


@given(st.lists(st.tuples(st.sampled_from(["call", "answer", "end"]), st.integers(0, 40)), max_size=40))
def test_whatever_happens_it_is_frozen_only_at_rest_and_always_then(steps: list[tuple[str, int]]) -> None:
    loop, sandbox = HeldLoop(), Counted()
    busy, alive, idle_since = True, True, 0.0
    freeze = Freeze(loop, lambda: None if busy or not alive else cast(Sandbox, sandbox), AFTER)
    for what, seconds in steps:
        if what == "call" and alive and not busy:
            busy = True
            freeze.end()
        elif what == "answer" and alive and busy:
            busy, idle_since = False, loop.now
            freeze.begin()
        elif what == "end":
            alive = False
            freeze.clear()
        loop.move(seconds)
        assert sandbox.frozen == (alive and not busy and loop.now - idle_since >= AFTER)
    loop.close()
