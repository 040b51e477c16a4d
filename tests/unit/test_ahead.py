"""Provisioned environments, short memory and rates: what the assignment does beside handing out what is idle."""

import asyncio
import contextlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lamplighter.invoke.ahead import INIT_FAILED, NOT_STARTED, Standing
from lamplighter.invoke.assignment import AGE_LIMIT, InProcessAssignment
from lamplighter.invoke.limits import Limits
from lamplighter.invoke.memory import MEBIBYTE
from lamplighter.model.errors import TooManyRequestsException
from lamplighter.model.functions import FunctionVersion
from lamplighter.model.invocation import Outcome
from lamplighter.worker.contract import WorkerError
from support.environments import HeldClock, HeldEnvironment, HeldWorkers, invocation, version
from support.sandbox_server import story, until

F = version(number="1")
RESERVE = 256


class Bench:
    def __init__(self, limit: int = 1000, at_once: bool = True) -> None:
        self.clock = HeldClock()
        self.limits = Limits(limit)
        self.workers = HeldWorkers(at_once)
        self.memory: int | None = 10_000  # MB
        self.spilled: list[FunctionVersion] = []
        self.assignment = InProcessAssignment(
            self.workers,
            self.clock,
            self.limits,
            memory=lambda: None if self.memory is None else self.memory * MEBIBYTE,
            memory_reserve=RESERVE * MEBIBYTE,
            spilled=lambda function, qualifier: self.spilled.append(function),
        )

    async def call(self, function: FunctionVersion = F, paced: bool = False) -> Outcome:
        async with self.assignment.environment(function, paced) as environment:
            return await environment.run(invocation())

    async def begun(self, function: FunctionVersion = F) -> tuple["asyncio.Task[Outcome]", HeldEnvironment]:
        """A call that is running, and where."""
        before = [environment for environment in self.workers.environments if environment.busy]
        task = asyncio.create_task(self.call(function))
        await until(lambda: task.done() or len(self.busy) > len(before), "the call runs")
        if task.done():
            await task
        return task, next(environment for environment in self.busy if environment not in before)

    @property
    def busy(self) -> list[HeldEnvironment]:
        return [environment for environment in self.workers.environments if environment.busy]

    async def provision(self, count: int, function: FunctionVersion = F) -> None:
        self.limits.share(function.id).provision(count)
        self.assignment.provision(function, count, "live")
        await until(lambda: self.assignment.standing(function).ready == count, f"{count} stand")

    def kinds(self) -> list[str]:
        return [environment.initialization for environment in self.workers.environments]


async def done(task: "asyncio.Task[Outcome]", environment: HeldEnvironment) -> None:
    environment.answer()
    await task


@story
async def test_environments_are_there_before_an_invocation_and_spill_over_on_demand() -> None:
    bench = Bench()
    await bench.provision(2)
    assert bench.kinds() == ["provisioned-concurrency"] * 2
    running = [await bench.begun() for _ in range(3)]
    assert [environment.initialization for _, environment in running] == [
        "provisioned-concurrency",
        "provisioned-concurrency",
        "on-demand",
    ]
    assert bench.spilled == [F]
    share = bench.limits.share(F.id)
    assert (share.running, share.ahead) == (3, 2)
    for call in running:
        await done(*call)
    assert (share.running, share.ahead) == (0, 0)
    again, environment = await bench.begun()
    assert environment is running[1][1]  # provisioned ones first, and the most recently used of them
    await done(again, environment)
    await bench.assignment.close()
    assert all(environment.ended for environment in bench.workers.environments)


@story
async def test_what_was_in_use_at_most_is_told_of_the_alias_that_has_it() -> None:
    bench = Bench()
    await bench.provision(2)
    call = await bench.begun()

    def told() -> list[tuple[str, float, str | None]]:
        return [(peak.name, peak.value, peak.qualifier) for peak in bench.assignment.peaks()]

    used, share = "ProvisionedConcurrentExecutions", "ProvisionedConcurrencyUtilization"
    assert told() == [(used, 1, "live"), (share, 0.5, "live")]
    await done(*call)
    assert told() == [(used, 1, "live"), (share, 0.5, "live")]  # it ran after the last look, too
    assert told() == [(used, 0, "live"), (share, 0.0, "live")]
    await bench.assignment.close()


@story
async def test_they_outlast_the_idle_time_and_are_replaced_before_they_are_too_old() -> None:
    bench = Bench()
    await bench.provision(3)
    old = list(bench.workers.environments)
    for environment in old:
        environment.born = bench.clock.monotonic()
    bench.clock.move(AGE_LIMIT / 2)
    bench.assignment.sweep()
    assert not any(environment.ended for environment in old)
    bench.clock.move(AGE_LIMIT / 2 - 100)
    for _ in range(3):
        bench.assignment.sweep()
        await until(lambda: not bench.assignment._starting, "it is quiet")  # pyright: ignore[reportPrivateUsage]
        for _ in range(10):
            await asyncio.sleep(0)
        assert bench.assignment.standing(F).ready == 3
    await until(lambda: all(environment.ended for environment in old), "all are replaced")
    assert sum(not environment.ended for environment in bench.workers.environments) == 3
    await bench.assignment.close()


@story
async def test_one_that_crashed_or_died_idle_is_replaced() -> None:
    bench = Bench()
    await bench.provision(1)
    task, environment = await bench.begun()
    environment.crash()
    assert (await task).error == "Unhandled"
    await until(lambda: environment.ended and bench.assignment.standing(F).ready == 1, "another stands")
    task, other = await bench.begun()
    assert other is not environment
    await done(task, other)
    other.die()
    bench.assignment.sweep()
    await until(lambda: bench.assignment.standing(F).ready == 1, "a third stands")
    assert bench.kinds() == ["provisioned-concurrency"] * 3
    await bench.assignment.close()


@story
async def test_less_ends_those_in_use_after_their_invocation() -> None:
    bench = Bench()
    await bench.provision(2)
    one, two = await bench.begun(), await bench.begun()
    bench.assignment.provision(F, 0)
    assert not one[1].ended
    await done(*one)
    await done(*two)
    await until(lambda: one[1].ended and two[1].ended, "both end")
    assert bench.assignment.standing(F) == Standing()
    task, environment = await bench.begun()
    assert environment.initialization == "on-demand"
    assert bench.spilled == []
    await done(task, environment)
    await bench.assignment.close()


@story
async def test_an_init_that_fails_is_told_and_tried_again_when_something_changes() -> None:
    bench = Bench()
    bench.workers.init_works = False
    bench.limits.share(F.id).provision(2)
    bench.assignment.provision(F, 2)
    await until(lambda: bench.assignment.standing(F).failed == INIT_FAILED, "it failed")
    assert bench.assignment.standing(F).ready == 0
    tried = len(bench.workers.environments)
    await asyncio.sleep(0.01)
    assert len(bench.workers.environments) == tried <= 2  # not over and over
    bench.workers.init_works = True
    await bench.provision(2)
    assert bench.assignment.standing(F) == Standing(2)
    await bench.assignment.close()
    assert all(environment.ended for environment in bench.workers.environments)


@story
async def test_what_is_reserved_and_all_provisioned_leaves_nothing_on_demand() -> None:
    bench = Bench()
    latest = version()
    bench.limits.share(F.id).reserve(1)
    await bench.provision(1)
    with pytest.raises(TooManyRequestsException) as refused:
        await bench.call(latest)
    assert refused.value.extra == {"Reason": "ReservedFunctionConcurrentInvocationLimitExceeded"}
    running = await bench.begun()
    with pytest.raises(TooManyRequestsException):
        await bench.call()
    await done(*running)
    await bench.assignment.close()


@story
async def test_who_waits_for_room_hears_of_an_environment_that_stands() -> None:
    bench = Bench(at_once=False)
    share = bench.limits.share(F.id)
    share.reserve(1)
    share.provision(1)
    bench.assignment.provision(F, 1)
    with pytest.raises(TooManyRequestsException):
        await bench.call()
    told = asyncio.Event()
    share.when_free(told.set)
    await until(lambda: bench.workers.starting, "it is started")
    bench.workers.finish()
    await told.wait()
    await done(*await bench.begun())
    await bench.assignment.close()


@story
async def test_requests_beyond_ten_a_second_for_each_are_refused_or_spill_over() -> None:
    bench = Bench(limit=100)

    async def refused(function: FunctionVersion) -> TooManyRequestsException:
        with pytest.raises(TooManyRequestsException) as caught:
            await bench.call(function, paced=True)
        return caught.value

    async def call(function: FunctionVersion, times: int) -> None:
        for _ in range(times):
            task = asyncio.create_task(bench.call(function, paced=True))
            await until(lambda: bench.busy, "it runs")
            await done(task, bench.busy[0])

    await bench.provision(1)
    await call(F, 11)
    assert bench.spilled == [F]
    g = version("g")
    bench.limits.share(g.id).reserve(2)
    await call(g, 20)
    error = await refused(g)
    assert (error.extra["Reason"], error.retry_after) == ("ReservedFunctionInvocationRateLimitExceeded", 1)
    assert not bench.limits.running
    await done(*await bench.begun(g))  # queued events have no rate
    bench.clock.move(0.1)
    await call(g, 1)
    other = bench.limits.share(version("i").id)
    for _ in range(999):  # the account's thousand is full again, but for one
        other.admit(bench.clock.monotonic())
        other.release()
    assert (await refused(version("h"))).extra["Reason"] == "FunctionInvocationRateLimitExceeded"
    await bench.assignment.close()


@story
async def test_a_function_grows_by_a_thousand_and_then_a_hundred_a_second() -> None:
    bench = Bench(limit=5000)
    share = bench.limits.share(F.id)
    for _ in range(999):
        share.grow(bench.clock.monotonic())
    running = await bench.begun()
    with pytest.raises(TooManyRequestsException) as refused:
        await bench.call()
    assert (refused.value.extra["Reason"], refused.value.retry_after) == ("ConcurrentInvocationLimitExceeded", 1)
    other = await bench.begun(version("g"))
    bench.clock.move(0.01)
    third = await bench.begun()
    for call in (running, other, third):
        await done(*call)
    assert not bench.limits.running
    await bench.assignment.close()


@story
async def test_short_memory_ends_the_least_recently_used_and_a_full_host_throttles() -> None:
    bench = Bench()
    functions = [version(name) for name in "abc"]
    idle: list[HeldEnvironment] = []
    for function in functions:
        task, environment = await bench.begun(function)
        await done(task, environment)
        bench.clock.move(1)
        idle.append(environment)
    await done(*await bench.begun(functions[0]))  # b is the least recently used now
    bench.clock.move(1)
    bench.memory = 2 * RESERVE - 1
    await done(*await bench.begun(version("d")))
    await until(lambda: idle[1].ended, "the least recently used ends")
    assert not idle[0].ended
    assert not idle[2].ended
    bench.clock.move(1)
    bench.memory = RESERVE + 5
    with pytest.raises(TooManyRequestsException) as refused:
        await bench.call(version("e"))
    assert (refused.value.extra["Reason"], refused.value.retry_after) == ("ConcurrentInvocationLimitExceeded", 1)
    assert not bench.limits.running
    await until(lambda: all(environment.ended for environment in bench.workers.environments), "all idle ones end")
    bench.assignment.provision(F, 1)
    await until(lambda: bench.assignment.standing(F).failed == NOT_STARTED, "nothing is started ahead either")
    bench.clock.move(1)
    bench.memory = None
    await done(*await bench.begun(version("e")))
    await bench.assignment.close()


KINDS = ("call", "call", "call", "start", "start", "answer", "cancel", "provision")
FAILURES = ("fail", "crash", "die", "reserve", "retire", "sweep", "memory")
STEPS = st.lists(st.tuples(st.sampled_from(KINDS + FAILURES), st.integers(0, 7)), max_size=60)


@settings(max_examples=400, deadline=None)
@given(steps=STEPS, limit=st.integers(2, 6))
def test_counts_agree_and_no_limit_is_passed_whatever_is_provisioned_fails_or_ends(
    steps: list[tuple[str, int]], limit: int
) -> None:
    story(_interleave)(steps, limit)


async def _interleave(steps: list[tuple[str, int]], limit: int) -> None:
    bench = Bench(limit, at_once=False)
    functions = [version(number="1"), version(number="2"), version("g", "1")]
    shares = [bench.limits.share(function.id) for function in functions]
    calls: list[asyncio.Task[Outcome]] = []
    environments = bench.workers.environments
    provisioned = [0, 0, 0]

    def kept() -> int:
        return sum(share.kept for share in {shares[0], shares[2]})

    for step, index in steps:
        running = bench.busy
        demanded = {share: share.running - share.ahead for share in (shares[0], shares[2])}
        unreserved = sum(share.running - share.ahead for share in {shares[0], shares[2]} if share.reserved is None)
        if step == "call":
            calls.append(asyncio.create_task(bench.call(functions[index % 3])))
        elif step in ("start", "fail") and bench.workers.starting:
            at = index % len(bench.workers.starting)
            bench.workers.finish(at) if step == "start" else bench.workers.fail(at)
        elif step == "answer" and running:
            running[index % len(running)].answer()
        elif step == "crash" and running:
            running[index % len(running)].crash()
        elif step == "die" and environments:
            environment = environments[index % len(environments)]
            if environment.alive:
                environment.die()
        elif step == "cancel" and calls:
            calls[index % len(calls)].cancel()
        elif step == "provision":
            before, provisioned[index % 3] = provisioned[index % 3], index // 2
            share = shares[index % 3]
            total = provisioned[0] + provisioned[1] if index % 3 < 2 else provisioned[2]
            if total > (limit if share.reserved is None else share.reserved):
                provisioned[index % 3] = before  # what control refuses
            else:
                share.provision(total)
                bench.assignment.provision(functions[index % 3], provisioned[index % 3])
        elif step == "reserve":
            shares[index % 3].reserve(None if index > 4 else max(index, shares[index % 3].provisioned))
        elif step == "retire":
            bench.assignment.retire(functions[index % 3].arn, None)
        elif step == "sweep":
            bench.clock.move(index * 500)
            bench.assignment.sweep()
        elif step == "memory":
            bench.memory = RESERVE * index // 2
            bench.clock.move(1)
        for _ in range(6):  # what was set off takes a few turns
            await asyncio.sleep(0)
        # Exactly as many are counted as there are calls, and each where it runs.
        assert sum(bench.limits.running.values()) == sum(not call.done() for call in calls)
        for share in {shares[0], shares[2]}:
            ahead = [
                environment
                for environment in bench.busy
                if environment.initialization == "provisioned-concurrency"
                and bench.limits.share(environment.function.id) is share
            ]
            assert share.ahead == len(ahead)
        # An admission on demand leaves alone what others keep.
        now = sum(share.running - share.ahead for share in {shares[0], shares[2]} if share.reserved is None)
        if step == "call" and now > unreserved:
            assert now <= limit - kept()
        for share, before in demanded.items():
            if share.reserved is not None and share.running - share.ahead > before:
                assert share.running - share.ahead <= share.reserved - share.provisioned

    closing = asyncio.create_task(bench.assignment.close())
    while not closing.done() or any(not call.done() for call in calls):
        while bench.workers.starting:
            bench.workers.finish()
        for environment in bench.busy:
            environment.answer()
        await asyncio.sleep(0)
    for call in calls:
        with contextlib.suppress(asyncio.CancelledError, TooManyRequestsException, WorkerError):
            await call
    assert not bench.limits.running
    assert not any(share.ahead for share in shares)
    await until(lambda: all(environment.ended for environment in environments), "every environment is taken down")
