"""Collects values and writes them, every `FLUSH` seconds, in a thread: an invocation costs one append to a queue.

AWS/Lambda's metrics are made of what ran (model/usage.py), of what the events room measures, and of the peaks of
concurrency since the last look. A crash loses what was told within the last `FLUSH` seconds.
"""

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final, NamedTuple, TypeVar

from lamplighter.model.clock import Clock
from lamplighter.model.functions import FunctionId
from lamplighter.model.loop import Loop
from lamplighter.model.usage import Peak, Ran, Refused, Runs, Usage
from lamplighter.store.contract import StoreFailed
from lamplighter.telemetry.metrics.distribution import Distribution
from lamplighter.telemetry.metrics.store import KEPT, MINUTE, Dimensions, MetricStore, Series, sorted_dimensions

FLUSH: Final = 2.0  # seconds
HURRY: Final = 20_000  # values waiting that are written without waiting for the time
BOUND: Final = 200_000  # values waiting at most, while the disk takes none; what comes then is lost, and said so
_FORGET: Final = 3600.0  # seconds between looks for what is too old
_NAMESPACE: Final = "AWS/Lambda"
_MILLISECONDS: Final = ("Duration", "PostRuntimeExtensionsDuration", "AsyncEventAge")

_log = logging.getLogger(__name__)
_T = TypeVar("_T")


class Value(NamedTuple):
    """For one metric; `at`: seconds since the epoch."""

    series: Series
    at: float
    distribution: Distribution


class _Measured(NamedTuple):
    name: str
    function: FunctionId
    value: float
    at: float
    arn: str  # with the alias or version that it concerns


_Told = Usage | Value | _Measured


class Collector(Loop):
    """Used with `async with`. `peaks`: what to note of concurrency, and `routed`: which aliases chose between versions,
    by ARN; both are asked at each flush, for the time since the last. `settle`: has all told that is not told yet."""

    def __init__(
        self, store: MetricStore, clock: Clock, peaks: Callable[[], Iterable[Peak]] = tuple, bound: int = BOUND
    ) -> None:
        self._store = store
        self._clock = clock
        self.peaks = peaks
        self.routed: Callable[[], frozenset[str]] = frozenset
        self.settle: Callable[[], object] = tuple
        self._bound = bound
        self._told: deque[_Told] = deque()
        self._lost = 0
        self._kept: dict[tuple[Series, int], Distribution] = {}  # that the disk has not taken
        self._thread = ThreadPoolExecutor(1, "metrics")
        self._hurry = asyncio.Event()

    # What takes note: in the event loop, but for `put`, which any thread may call

    def observe(self, usage: Usage) -> None:
        self._told.append(usage)
        if len(self._told) >= HURRY:
            self._crowded()

    def measure(self, name: str, function: FunctionId, value: float, arn: str) -> None:
        self._told.append(_Measured(name, function, value, self._clock.now(), arn))
        if len(self._told) >= HURRY:
            self._crowded()

    def put(self, values: Sequence[Value]) -> None:
        if len(self._told) < self._bound:
            self._told.extend(values)
        else:
            self._lost += len(values)

    def _crowded(self) -> None:
        self._hurry.set()
        if len(self._told) > self._bound:
            self._told.pop()
            self._lost += 1

    # Writing and reading

    async def ask(self, question: Callable[[MetricStore], _T]) -> _T:
        """What the store answers, in its thread, once it has all that was told so far."""
        await self.flush()
        return await asyncio.get_running_loop().run_in_executor(self._thread, question, self._store)

    async def flush(self) -> None:
        self.settle()
        peaks, now, routed, count = tuple(self.peaks()), self._clock.now(), self.routed(), len(self._told)
        if count or peaks or self._kept:
            await asyncio.get_running_loop().run_in_executor(self._thread, self._write, count, peaks, now, routed)

    def _write(self, count: int, peaks: Sequence[Peak], now: float, routed: frozenset[str]) -> None:
        """`count`: of what was told when the rest was asked."""
        batch, self._kept = self._kept, {}
        runs: dict[tuple[int, str, str, int], Runs] = {}  # such as differ in figures alone
        for _ in range(min(count, len(self._told))):
            told = self._told.popleft()
            if isinstance(told, Ran | Runs):
                kind = (id(told.function), told.invoked_arn, told.initialization, int(told.began) // MINUTE)
                alike = runs.get(kind)
                if alike is None:
                    alike = runs[kind] = Runs(told.function, told.invoked_arn, told.initialization, told.began)
                _join(alike, told)
            else:
                _fold(batch, told, routed)
            if isinstance(told, Ran) and told.extensions:
                _fold_extensions(batch, told, routed)
        for alike in runs.values():
            _fold_runs(batch, alike, routed)
        for peak in peaks:
            dimensions: list[tuple[str, str]] = [("FunctionName", peak.function)] if peak.function else []
            if peak.qualifier is not None:
                dimensions.append(("Resource", f"{peak.function}:{peak.qualifier}"))
            series = Series(peak.account, peak.region, _NAMESPACE, peak.name, tuple(dimensions), "Count")
            distribution = Distribution()
            distribution.add(peak.value)
            _into(batch, series, now, distribution)
        try:
            lost = self._store.add(batch)
        except StoreFailed as error:
            _log.error("metrics could not be written, and are kept for the next time: %s", error.__cause__)
            if len(batch) <= self._bound:
                self._kept = batch
            return
        lost, self._lost = lost + self._lost, 0
        if lost:
            _log.warning("%d values of metrics were lost: there were too many, or too many metrics", lost)

    async def _go_on(self) -> None:
        forgotten = -_FORGET
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._hurry.wait(), FLUSH)
            self._hurry.clear()
            await self.flush()
            if self._clock.monotonic() - forgotten >= _FORGET:
                forgotten = self._clock.monotonic()
                try:
                    await self.ask(lambda store: store.forget(self._clock.now() - KEPT))
                except StoreFailed as error:
                    _log.error("old metrics could not be forgotten: %s", error.__cause__)

    async def _finish(self) -> None:
        await self.flush()
        self._thread.shutdown()
        self._store.close()


def _join(alike: Runs, more: Ran | Runs) -> None:
    if isinstance(more, Runs):
        alike.durations += more.durations
        alike.errors += more.errors
    else:
        alike.durations.append(more.duration)
        alike.errors += more.status != "success"


def _fold_runs(batch: dict[tuple[Series, int], Distribution], runs: Runs, routed: frozenset[str]) -> None:
    """Of one version, invoked and initialised in one way, in one minute."""
    count = len(runs.durations)
    values: dict[str, Sequence[float]] = {
        "Invocations": [1.0] * count,
        "Errors": [0.0] * (count - runs.errors) + [1.0] * runs.errors,
        "Duration": runs.durations,
    }
    if runs.initialization == "provisioned-concurrency":
        values["ProvisionedConcurrencyInvocations"] = values["Invocations"]
    version = runs.function.version if runs.invoked_arn in routed else None
    _spread(batch, runs.function.id, runs.invoked_arn, version, runs.began, values)


def _fold_extensions(batch: dict[tuple[Series, int], Distribution], run: Ran, routed: frozenset[str]) -> None:
    version = run.function.version if run.invoked_arn in routed else None
    values = {"PostRuntimeExtensionsDuration": [run.extensions]}
    _spread(batch, run.function.id, run.invoked_arn, version, run.began, values)


def _fold(batch: dict[tuple[Series, int], Distribution], told: _Told, routed: frozenset[str]) -> None:
    if isinstance(told, Refused):
        name = "Throttles" if told.reason == "throttled" else "RecursiveInvocationsDropped"
        version = told.version if told.invoked_arn in routed else None
        _spread(batch, told.function, told.invoked_arn, version, told.at, {name: [1.0]})
    elif isinstance(told, _Measured):
        _spread(batch, told.function, told.arn, None, told.at, {told.name: [told.value]})
    elif isinstance(told, Value):
        _into(batch, told.series, told.at, told.distribution)


def _spread(
    batch: dict[tuple[Series, int], Distribution],
    id: FunctionId,
    arn: str,
    version: str | None,
    at: float,
    values: Mapping[str, Sequence[float]],
) -> None:
    """Under each set of dimensions that AWS has (spec 10.2)."""
    sets = dimension_sets(id.name, arn, version)
    for name, found in values.items():
        unit = "Milliseconds" if name in _MILLISECONDS else "Count"
        distribution = Distribution()
        distribution.add_all(found)
        for dimensions in sets:
            _into(batch, Series(id.account, id.region, _NAMESPACE, name, dimensions, unit), at, distribution)


def dimension_sets(name: str, arn: str, version: str | None) -> Sequence[Dimensions]:
    """`arn`: as invoked; `version`: that was executed, if it is an alias that chose it."""
    sets: list[Dimensions] = [(), (("FunctionName", name),)]
    qualifier = "".join(arn.split(":")[7:8])
    if qualifier:
        resource = (("FunctionName", name), ("Resource", f"{name}:{qualifier}"))
        sets.append(resource)
        if version is not None:
            sets.append(sorted_dimensions((*resource, ("ExecutedVersion", version))))
    return sets


def _into(batch: dict[tuple[Series, int], Distribution], series: Series, at: float, new: Distribution) -> None:
    key = series, int(at) // MINUTE * MINUTE
    found = batch.get(key)
    if found is None:
        found = batch[key] = Distribution()
    found.merge(new)
