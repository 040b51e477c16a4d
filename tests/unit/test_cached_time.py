"""How long snapshots are kept, as the bill has it: from publication to deletion, three hours at least."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from lamplighter.invoke.cached_time import LEAST, CachedTime
from lamplighter.model.clock import wire_time
from lamplighter.model.functions import FunctionVersion
from lamplighter.model.usage import Cached, Usage
from support.environments import HeldClock
from support.usage import version


async def none(*versions: FunctionVersion) -> AsyncIterator[FunctionVersion]:
    for each in versions:
        yield each


def seconds(told: list[Usage]) -> float:
    return sum(usage.seconds for usage in told if isinstance(usage, Cached))


@given(st.lists(st.tuples(st.floats(0.0, 3 * LEAST), st.sampled_from(["turn", "restart"])), max_size=8))
def test_each_moment_is_told_once_however_often_the_service_starts(steps: list[tuple[float, Any]]) -> None:
    async def main() -> None:
        clock, told = HeldClock(), list[Usage]()
        began = clock.now()
        function = version(snap_start_on=True, last_modified=wire_time(began))
        there = {"1"}
        exists = lambda each: each.version in there  # noqa: E731
        time = CachedTime(clock, told.append, exists, none())
        await time.__aenter__()
        time.publish(function)
        time.publish(replace(function, revision="other"))  # tried again
        assert seconds(told) == LEAST
        for pause, step in steps:
            clock.move(pause)
            if step == "turn":
                time.turn()
            else:
                await time.__aexit__()
                time = CachedTime(clock, told.append, exists, none(version(), function))
                await time.__aenter__()
                await asyncio.sleep(0)
            assert abs(seconds(told) - max(LEAST, clock.now() - began)) < 0.01
        there.clear()
        time.changed(function.id)
        clock.move(LEAST)
        await time.__aexit__()
        assert seconds(told) <= max(LEAST, clock.now() - began - LEAST) + 0.01

    asyncio.run(main())


def test_nothing_is_told_of_time_in_which_the_service_did_not_run_or_of_what_is_gone() -> None:
    async def main() -> None:
        clock, told = HeldClock(), list[Usage]()
        function = version(snap_start_on=True, last_modified=wire_time(clock.now()))
        clock.move(10 * LEAST)
        async with CachedTime(clock, told.append, lambda _: True, none(function)) as time:
            await asyncio.sleep(0)
            clock.move(100)
            time.turn()
        assert seconds(told) == 100
        async with CachedTime(clock, told.append, lambda _: False, none(function)):
            await asyncio.sleep(0)
            clock.move(100)
        assert seconds(told) == 100

    asyncio.run(main())
