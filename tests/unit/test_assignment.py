"""Who gets which environment, and how many there are at once."""

import asyncio
import contextlib
import time
import weakref
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lamplighter.invoke.assignment import AGE_LIMIT, InProcessAssignment
from lamplighter.invoke.limits import Limits
from lamplighter.model.errors import TooManyRequestsException
from lamplighter.model.functions import FunctionVersion
from lamplighter.model.invocation import Outcome
from lamplighter.worker.contract import WorkerError
from support.environments import HeldClock, HeldEnvironment, HeldWorkers, invocation, version
from support.sandbox_server import story, until

F = version()


class Bench:
    def __init__(self, limit: int = 1000, at_once: bool = True) -> None:
        self.clock = HeldClock()
        self.limits = Limits(limit)
        self.workers = HeldWorkers(at_once)
        self.assignment = InProcessAssignment(self.workers, self.clock, self.limits, idle_limit=600)

    async def call(self, function: FunctionVersion = F) -> Outcome:
        async with self.assignment.environment(function) as environment:
            return await environment.run(invocation())

    async def begun(self, function: FunctionVersion = F) -> "tuple[asyncio.Task[Outcome], HeldEnvironment]":
        """A call that is running, and where."""
        task = asyncio.create_task(self.call(function))
        await until(lambda: any(e.busy and e not in self.taken for e in self.workers.environments), "the call runs")
        environment = next(e for e in self.workers.environments if e.busy and e not in self.taken)
        self.taken.append(environment)
        return task, environment

    async def done(self, task: "asyncio.Task[Outcome]", environment: HeldEnvironment) -> Outcome:
        self.taken.remove(environment)
        environment.answer()
        return await task

    @property
    def taken(self) -> list[HeldEnvironment]:
        if not hasattr(self, "_taken"):
            self._taken: list[HeldEnvironment] = []
        return self._taken


@story
async def test_the_most_recently_used_environment_comes_first() -> None:
    bench = Bench()
    (one, first), (two, second) = await bench.begun(), await bench.begun()
    await bench.done(two, second)
    await bench.done(one, first)
    again, environment = await bench.begun()
    assert environment is first
    await bench.done(again, environment)
    await bench.assignment.close()


@story
async def test_versions_and_generations_never_share() -> None:
    bench = Bench()
    for function in (F, version(number="1"), version(generation=2), version(name="g")):
        task, environment = await bench.begun(function)
        await bench.done(task, environment)
        assert environment.function is function
    assert len(bench.workers.environments) == 4
    await bench.assignment.close()
    assert all(environment.ended for environment in bench.workers.environments)


@story
async def test_the_account_limit_is_never_passed() -> None:
    bench = Bench(limit=2)
    one, two = await bench.begun(), await bench.begun(version(name="g"))
    with pytest.raises(TooManyRequestsException) as refused:
        await bench.call()
    assert refused.value.extra == {"Reason": "ConcurrentInvocationLimitExceeded"}
    await bench.done(*one)
    three = await bench.begun()
    await bench.done(*three)
    await bench.done(*two)
    assert not bench.limits.running
    await bench.assignment.close()


@story
async def test_a_reservation_is_a_functions_own_and_its_most() -> None:
    bench = Bench(limit=2)
    bench.limits.share(F.id).reserve(1)
    reserved, other = await bench.begun(), await bench.begun(version(name="g"))
    with pytest.raises(TooManyRequestsException) as refused:
        await bench.call()
    assert refused.value.extra == {"Reason": "ReservedFunctionConcurrentInvocationLimitExceeded"}
    with pytest.raises(TooManyRequestsException):
        await bench.call(version(name="h"))  # the rest is 2 - 1, and g has it
    await bench.done(*reserved)
    await bench.done(*other)
    await bench.assignment.close()


@story
async def test_an_invocation_counts_until_its_phase_is_over() -> None:
    bench = Bench(limit=1)
    task, environment = await bench.begun()
    environment.answer(lingers=True)
    assert (await task).payload == b"1"
    with pytest.raises(TooManyRequestsException):
        await bench.call()
    environment.settle()
    assert not bench.limits.running
    await bench.assignment.close()


@story
async def test_an_environment_about_to_be_free_is_worth_a_moment() -> None:
    bench = Bench()
    task, environment = await bench.begun()
    environment.answer(lingers=True)
    await task
    bench.taken.clear()
    again = asyncio.create_task(bench.call())
    await asyncio.sleep(0)
    environment.settle()
    await until(lambda: environment.busy, "the same environment runs again")
    environment.answer()
    await again
    assert len(bench.workers.environments) == 1
    await bench.assignment.close()


@story
async def test_one_that_does_not_come_free_is_not_waited_for() -> None:
    bench = Bench()
    task, environment = await bench.begun()
    environment.answer(lingers=True)
    await task
    again, other = await bench.begun()
    assert other is not environment
    await bench.done(again, other)
    environment.settle()
    await bench.assignment.close()


@story
async def test_who_waits_for_one_about_to_be_free_waits_as_long_as_a_start_takes_and_starts_none_for_others() -> None:
    bench = Bench(at_once=False)
    first = asyncio.create_task(bench.call())
    await until(lambda: bench.workers.starting, "a cold start")
    bench.clock.move(3600.0)  # it took an hour: waiting for one in sight is worth all the time there may be
    bench.workers.finish()
    await until(lambda: bench.workers.environments and bench.workers.environments[0].busy, "the first runs")
    environment = bench.workers.environments[0]
    environment.answer(lingers=True)
    await first
    again, other = asyncio.create_task(bench.call()), asyncio.create_task(bench.call())
    await until(lambda: len(bench.workers.starting) == 1, "one is in sight, so one of two is started for")
    begun = time.monotonic()
    await until(lambda: len(bench.workers.starting) == 2, "the other in the end")
    assert time.monotonic() - begun > 0.05
    environment.settle()
    await until(lambda: environment.busy, "one of them has what came free")
    environment.answer()
    await again
    bench.workers.finish()
    bench.workers.finish()
    await until(lambda: len(bench.workers.environments) == 3, "both have come")
    for each in bench.workers.environments:
        if each.busy:
            each.answer()
    await other
    await bench.assignment.close()


@story
async def test_a_waiting_invocation_takes_what_comes_free_first() -> None:
    bench = Bench(at_once=False)
    one = asyncio.create_task(bench.call())
    await until(lambda: len(bench.workers.starting) == 1, "a cold start")
    two = asyncio.create_task(bench.call())
    await until(lambda: len(bench.workers.starting) == 2, "another beside it")
    bench.workers.finish()
    await until(lambda: bench.workers.environments and bench.workers.environments[0].busy, "the first runs")
    bench.workers.environments[0].answer()
    await one
    await until(lambda: bench.workers.environments[0].busy, "the second didn't wait for its own")
    bench.workers.environments[0].answer()
    await two
    bench.workers.finish()
    await until(lambda: len(bench.workers.environments) == 2, "the late one is kept for the next")
    await bench.assignment.close()
    assert all(environment.ended for environment in bench.workers.environments)


@story
async def test_a_cold_start_outlives_the_caller_who_caused_it() -> None:
    bench = Bench(at_once=False)
    caller = asyncio.create_task(bench.call())
    await until(lambda: bench.workers.starting, "a cold start")
    caller.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await caller
    assert not bench.limits.running
    bench.workers.finish()
    task, environment = await bench.begun()
    assert bench.workers.starting == []
    await bench.done(task, environment)
    await bench.assignment.close()


@story
async def test_a_failed_cold_start_is_told_to_one_and_leaves_no_count() -> None:
    bench = Bench(at_once=False)
    calls = [asyncio.create_task(bench.call()) for _ in range(2)]
    await until(lambda: len(bench.workers.starting) == 2, "two cold starts")
    bench.workers.fail()
    await asyncio.wait(calls, return_when=asyncio.FIRST_COMPLETED)
    assert [call.done() for call in calls] == [True, False]
    with pytest.raises(WorkerError, match="no room"):
        await calls[0]
    bench.workers.finish()
    await until(lambda: bench.workers.environments and bench.workers.environments[0].busy, "the other runs")
    bench.workers.environments[0].answer()
    await calls[1]
    assert not bench.limits.running
    await bench.assignment.close()


@story
async def test_an_environment_that_died_is_not_used_again() -> None:
    bench = Bench()
    task, environment = await bench.begun()
    bench.taken.clear()
    environment.die()
    assert (await task).error == "Unhandled"
    await until(lambda: environment.ended, "it is taken down")
    task, other = await bench.begun()
    await bench.done(task, other)
    other.die()
    task, third = await bench.begun()
    assert third not in (environment, other)
    await bench.done(task, third)
    await bench.assignment.close()


@story
async def test_what_is_retired_ends_at_once_if_idle_and_else_after_its_invocation() -> None:
    bench = Bench()
    (one, busy), (two, idle) = await bench.begun(), await bench.begun()
    await bench.done(two, idle)
    bench.assignment.retire(F.arn, keep_generation=1)
    assert not idle.ended
    bench.assignment.retire(F.arn, keep_generation=2)
    await until(lambda: idle.ended, "the idle one ends")
    assert not busy.ended
    await bench.done(one, busy)
    await until(lambda: busy.ended, "the busy one ends")
    await bench.assignment.close()


@story
async def test_an_environment_that_is_too_old_ends_once_its_invocation_is_over() -> None:
    bench = Bench()
    (one, first), (two, second) = await bench.begun(), await bench.begun()
    first.born = bench.clock.monotonic()
    bench.clock.move(AGE_LIMIT)
    assert not first.ended
    await bench.done(one, first)
    await bench.done(two, second)
    await until(lambda: first.ended, "the old one ends")
    again, environment = await bench.begun()
    assert environment is second
    await bench.done(again, second)
    second.born = bench.clock.monotonic() - AGE_LIMIT
    bench.assignment.sweep()
    await until(lambda: second.ended, "an idle one ends too")


@story
async def test_idle_environments_end_after_the_idle_time_and_not_before() -> None:
    bench = Bench()
    (one, first), (two, second) = await bench.begun(), await bench.begun()
    await bench.done(one, first)
    bench.clock.move(400)
    await bench.done(two, second)
    bench.clock.move(199)
    bench.assignment.sweep()
    assert (first.ended, second.ended) == (False, False)
    bench.clock.move(1)
    bench.assignment.sweep()
    await until(lambda: first.ended, "600 s idle")
    assert not second.ended
    await bench.assignment.close()


@story
async def test_nothing_starts_once_it_is_closed() -> None:
    bench = Bench(at_once=False)
    waiting = asyncio.create_task(bench.call())
    await until(lambda: bench.workers.starting, "a cold start")
    closing = asyncio.create_task(bench.assignment.close())
    with pytest.raises(WorkerError, match="shutting down"):
        await waiting
    bench.workers.finish()
    await closing
    assert bench.workers.environments[0].ended
    with pytest.raises(WorkerError, match="shutting down"):
        await bench.call()
    assert not bench.limits.running


STEPS = st.lists(
    st.tuples(
        st.sampled_from(
            ["call", "call", "call", "start", "fail", "answer", "linger", "settle", "die", "cancel", "retire", "sweep"]
        ),
        st.integers(0, 7),
    ),
    max_size=80,
)


@settings(max_examples=150, deadline=None)
@given(steps=STEPS, limit=st.integers(1, 6), reserved=st.none() | st.integers(0, 3))
def test_counts_never_leak_whatever_fails(steps: list[tuple[str, int]], limit: int, reserved: int | None) -> None:
    story(_interleave)(steps, limit, reserved)


async def _interleave(steps: list[tuple[str, int]], limit: int, reserved: int | None) -> None:
    bench = Bench(limit, at_once=False)
    functions = [version(), version(name="g"), version(generation=2)]
    if reserved is not None:
        bench.limits.share(functions[1].id).reserve(reserved)
    calls: list[asyncio.Task[Outcome]] = []
    environments = bench.workers.environments

    def pick(what: Callable[[HeldEnvironment], bool], index: int) -> HeldEnvironment | None:
        found = [environment for environment in environments if what(environment)]
        return found[index % len(found)] if found else None

    def running(environment: HeldEnvironment) -> bool:
        return environment.busy and not environment.lingers

    for step, index in steps:
        if step == "call":
            calls.append(asyncio.create_task(bench.call(functions[index % 3])))
        elif step in ("start", "fail") and bench.workers.starting:
            at = index % len(bench.workers.starting)
            bench.workers.finish(at) if step == "start" else bench.workers.fail(at)
        elif step in ("answer", "linger") and (environment := pick(running, index)):
            environment.lingers = step == "linger"
            environment.answer(lingers=environment.lingers)
        elif step == "settle" and (environment := pick(lambda e: e.lingers, index)):
            environment.lingers = False
            environment.settle()
        elif step == "die" and (environment := pick(lambda e: e.alive, index)):
            environment.lingers = False
            environment.die()
        elif step == "cancel" and calls:
            calls[index % len(calls)].cancel()
        elif step == "retire":
            bench.assignment.retire(functions[index % 3].arn, index)
        elif step == "sweep":
            bench.clock.move(index * 100)
            bench.assignment.sweep()
        for _ in range(4):  # what was set off takes a few turns
            await asyncio.sleep(0)
        # Never more than is allowed, and exactly as many as there are phases not yet over.
        admitted = bench.limits.running
        assert sum(admitted.values()) <= limit + (reserved or 0)
        assert reserved is None or admitted.get(functions[1].id, 0) <= reserved
        waiting = sum(not call.done() for call in calls)
        lingering = sum(environment.lingers for environment in environments)
        assert sum(admitted.values()) == waiting + lingering
        assert sum(environment.busy for environment in environments) <= sum(admitted.values())

    closing = asyncio.create_task(bench.assignment.close())
    while not closing.done() or any(not call.done() for call in calls):
        while bench.workers.starting:
            bench.workers.finish()
        for environment in environments:
            if running(environment):
                environment.answer()
        await asyncio.sleep(0)
    for environment in environments:
        if environment.lingers:
            environment.settle()
    for call in calls:
        with contextlib.suppress(asyncio.CancelledError, TooManyRequestsException, WorkerError):
            await call
    assert not bench.limits.running
    await until(lambda: all(environment.ended for environment in environments), "every environment is taken down")


def test_who_was_refused_is_told_when_one_more_fits() -> None:
    limits, told = Limits(2), list[str]()
    f, g, h = (limits.share(version(name=name).id) for name in "fgh")
    h.reserve(1)
    f.admit()
    h.admit()
    for name, share in (("g", g), ("f", f), ("h", h)):
        with pytest.raises(TooManyRequestsException):
            share.admit()
        share.when_free(lambda name=name: told.append(name))
    h.release()
    assert told == ["h"]  # what is reserved is its own
    f.release()
    assert told == ["h", "g"]  # one for one, and who waits longest first
    g.admit()
    g.release()
    assert told == ["h", "g", "f"]
    f.when_free(lambda: told.append("f again"))
    h.reserve(None)
    assert told[-1] == "f again"  # reservations have changed
    h.admit()
    h.release()
    assert len(told) == 4


def test_of_a_function_that_nobody_calls_and_that_keeps_nothing_nothing_is_kept_once_its_peak_is_told() -> None:
    limits = Limits(10)
    called, reserved, provisioned = (limits.share(version(name=name).id) for name in "crp")
    called.admit()
    reserved.reserve(1)
    provisioned.provision(2)
    left = weakref.ref(called), weakref.ref(reserved), weakref.ref(provisioned)
    called.release()
    del called, reserved, provisioned
    assert [peak.value for peak in limits.peaks() if peak.function == "c"] == [1]
    assert [one() is not None for one in left] == [False, True, True]
    limits.share(version(name="r").id).reserve(None)
    limits.share(version(name="p").id).provision(0)
    limits.peaks()
    assert [one() for one in left] == [None, None, None]
