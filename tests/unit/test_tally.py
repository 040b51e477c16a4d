"""Plain invocations are told of many at once: sums are the same as when each is told by itself."""

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from lamplighter.model.clock import SystemClock
from lamplighter.model.metering import Key, Totals
from lamplighter.model.usage import Observe, Ran, Refused, Restore, Runs, Usage
from lamplighter.store.usage import UsageLedger, usage_between
from lamplighter.telemetry import tally as tallies
from lamplighter.telemetry.activity import Activity
from lamplighter.telemetry.metering.meter import Meter
from lamplighter.telemetry.metrics.collector import Collector
from lamplighter.telemetry.metrics.store import MetricStore, Series
from lamplighter.telemetry.tally import Tally
from support.usage import NOON, ran, version

FUNCTIONS = (version("a", memory_size=1024), version("a", memory_size=512), version("b", ephemeral_storage=1536))
NAMES = ("Invocations", "Errors", "Duration", "PostRuntimeExtensionsDuration", "ProvisionedConcurrencyInvocations")
STATUSES = ("success", "success", "error", "timeout", "crash")

# What sets an invocation apart from plain ones, or not.
ODD: Sequence[dict[str, Any]] = (
    {},
    {},
    {},
    {"init": 30.5},
    {"restore": Restore(20.0, 10.5)},
    {"extensions": 7.5},
    {"streamed": 7 << 20},
    {"source": "async", "payload": 100},
    {"source": "async", "payload": 1 << 20},
    {"initialization": "provisioned-concurrency"},
    {"above": ""},
)
calls = st.builds(
    lambda function, status, after, duration, odd: ran(
        function, status=status, began=NOON + after, duration=duration, **odd
    ),
    st.sampled_from(FUNCTIONS),
    st.sampled_from(STATUSES),
    st.floats(0.0, 3700.0),
    st.one_of(st.floats(0.0, 50.0), st.floats(0.0, 100_000.0)),
    st.sampled_from(ODD),
)


async def counted(path: Path, usages: Sequence[Usage], settles: Sequence[bool] | None) -> tuple[object, ...]:
    """What bill, activity and metrics come to. `settles`: after which all is told; None: each is told by itself."""
    activity, collector = Activity(), Collector(MetricStore(path / "metrics.db"), SystemClock())
    async with Meter(UsageLedger(path / "usage.db")) as meter, collector:
        observers: tuple[Observe, ...] = (meter.observe, activity.observe, collector.observe)
        tally = Tally(*observers)
        activity.settle = meter.settle = collector.settle = tally.settle
        for number, usage in enumerate(usages):
            if settles is None:
                for observe in observers:
                    observe(usage)
                continue
            tally.observe(usage)
            if settles[number % len(settles)]:
                tally.settle()
        if settles is not None and len(usages) % 2:
            await meter.flush()
    bill: Mapping[Key, Totals] = dict(usage_between(path / "usage.db", 0, 1 << 40))
    shown = {
        function: (found.invocations, found.errors, found.cold, round(found.time, 3), found.steps)
        for function, found in activity.functions.items()
    }
    return bill, shown, metrics(path / "metrics.db")


def metrics(path: Path) -> object:
    store = MetricStore(path)
    found = [
        (name, at, told.count, round(told.total, 3), told.minimum, told.maximum, sorted(told.values.items()))
        for name in NAMES
        for unit in ("Count", "Milliseconds")
        for dimensions in ((), (("FunctionName", "a"),), (("FunctionName", "b"),))
        for at, _, told in store.read(
            Series("000000000000", "us-east-1", "AWS/Lambda", name, dimensions, unit), 0, NOON + 1e6, False
        )
    ]
    store.close()
    return found


@settings(max_examples=12, deadline=None)
@given(st.lists(calls, max_size=40), st.lists(st.booleans(), min_size=1, max_size=5))
def test_told_together_invocations_come_to_the_same_as_one_by_one(usages: list[Ran], settles: list[bool]) -> None:
    with TemporaryDirectory() as one, TemporaryDirectory() as other:
        together = asyncio.run(counted(Path(one), usages, settles))
        assert together == asyncio.run(counted(Path(other), usages, None))


def test_many_are_told_without_being_asked_and_the_rest_when_asked() -> None:
    told: list[Usage] = []
    tally = Tally(told.append)
    for _ in range(tallies.AT_ONCE + 3):
        tally.observe(ran(FUNCTIONS[0]))
    refused = Refused(FUNCTIONS[0].id, "1", FUNCTIONS[0].arn, NOON, "throttled")
    tally.observe(refused)
    assert [len(usage.durations) for usage in told if isinstance(usage, Runs)] == [tallies.AT_ONCE]
    assert told[1:] == [refused], "told at once"
    tally.settle()
    tally.settle()
    assert [len(usage.durations) for usage in told if isinstance(usage, Runs)] == [tallies.AT_ONCE, 3]


def test_versions_that_ran_in_another_minute_are_not_held() -> None:
    told: list[Usage] = []
    tally = Tally(told.append)
    for number in range(5):
        tally.observe(ran(version(f"f{number}"), began=NOON))
    tally.observe(ran(FUNCTIONS[0], began=NOON + 60))
    assert len(told) == 5
