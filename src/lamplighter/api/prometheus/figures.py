"""What Prometheus is shown: counts of functions since the service's start, what runs and waits now, and the process.

The first functions that were called have series of their own, the rest has one together, so a scrape is bounded however
many there are. Only what must be read in the event loop is; the rest, and the text, is made in a thread.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import accumulate
from typing import Final, NamedTuple

from lamplighter.invoke.limits import Limits
from lamplighter.model.clock import Clock
from lamplighter.model.functions import FunctionId
from lamplighter.store.contract import QueueCounts
from lamplighter.telemetry.activity import Activity, Counts, end_of
from lamplighter.telemetry.exposition import Family, Histogram, Labels, exposed
from lamplighter.telemetry.loop_lag import LoopLag
from lamplighter.telemetry.own_memory import open_files, processor_time, resident
from lamplighter.worker.worker import Worker

FUNCTIONS: Final = 1000  # with series of their own
OTHERS: Final = "(others)"  # no function can have this name
_DURATIONS: Final = tuple(range(3, 88, 4))  # steps that buckets end with: 0.25 ms to 17 min, each twice the last
_AGES: Final = tuple(range(19, 108, 8))  # 8 ms to 9 h, each four times the last
_QUEUE: Final = "invoke:"

_COUNTED: Final = (
    ("invocations", "Invocations that ran, also if they failed."),
    ("errors", "Invocations that failed, ran out of time or crashed."),
    ("throttles", "Invocations that a limit refused."),
    ("cold_starts", "Invocations that waited for an environment to be initialized."),
    ("recursive_invocations_dropped", "Invocations refused to end a loop of functions."),
)
_MEASURED: Final = (
    ("async_events_received", "AsyncEventsReceived", "Events accepted."),
    ("async_events_dropped", "AsyncEventsDropped", "Events that ended without success."),
    ("dead_letter_errors", "DeadLetterErrors", "Events that could not be brought to a dead-letter queue."),
    ("destination_delivery_failures", "DestinationDeliveryFailures", "Records that no destination took."),
)


class Now(NamedTuple):
    """As it is at one moment, in the event loop."""

    counts: Sequence[tuple[FunctionId, Counts]]
    running: Mapping[FunctionId, int]
    environments: Mapping[tuple[FunctionId, str], int]
    lag: Histogram


class Figures:
    """`limit`: of the account's concurrency. `tmps`: how many sandboxes have been started, by where their /tmp is.
    `queues`: what waits; may take its time, and is asked in a thread. `functions`: as FUNCTIONS."""

    def __init__(
        self,
        activity: Activity,
        worker: Worker,
        limits: Limits,
        limit: int,
        tmps: Mapping[str, int],
        lag: LoopLag,
        queues: Callable[[], Sequence[QueueCounts]],
        clock: Clock,
        functions: int = FUNCTIONS,
    ) -> None:
        self._activity = activity
        self._worker = worker
        self._limits = limits
        self._limit = limit
        self._tmps = tmps
        self._lag = lag
        self._queues = queues
        self._clock = clock
        self._functions = functions
        self._began = clock.now()
        self._one = asyncio.Lock()  # however many ask, one text is made at a time

    async def text(self) -> str:
        async with self._one:
            environments = Counter(
                (environment.function.id, environment.stage) for environment in self._worker.environments
            )
            now = Now(
                tuple(self._activity.functions.items()), self._limits.running, environments, self._lag.histogram()
            )
            return await asyncio.to_thread(self._text, now)

    def _text(self, now: Now) -> str:
        return exposed((*_of_functions(now, self._functions), *self._of_queues(), *self._of_service(now)))

    def _of_queues(self) -> Iterable[Family]:
        waiting, oldest = Counter[str](), dict[str, float]()
        deliveries = 0
        for queue in self._queues():
            count = queue.waiting + queue.retrying
            if not queue.queue.startswith(_QUEUE):
                deliveries += count
            elif count:
                name = queue.queue.rpartition(":")[2]
                name = name if name in waiting or len(waiting) < self._functions else OTHERS
                waiting[name] += count
                if queue.oldest is not None:
                    age = max(0.0, self._clock.now() - queue.oldest)
                    oldest[name] = max(oldest.get(name, 0.0), age)
        yield _gauge("async_events_waiting", "Events that wait to be run, or to be run again.", _named(waiting))
        yield _gauge("async_oldest_event_age_seconds", "Age of the oldest event that waits.", _named(oldest))
        yield _gauge("deliveries_waiting", "Records that wait to be brought to a target.", [({}, deliveries)])

    def _of_service(self, now: Now) -> Iterable[Family]:
        yield _gauge("concurrency_limit", "Invocations that may run at once.", [({}, self._limit)])
        samples = [({"tmp": place}, count) for place, count in self._tmps.items()]
        yield _counter("sandboxes_started", "Sandboxes that were started, by where their /tmp is.", samples)
        yield Family(
            "lamplighter_event_loop_lag_seconds",
            "histogram",
            "How late the service's event loop does what is due.",
            [({}, now.lag)],
        )
        memory, files = resident(), open_files()
        if memory is not None:
            yield Family("process_resident_memory_bytes", "gauge", "The service's own memory.", [({}, memory)])
        if files is not None:
            yield Family("process_open_fds", "gauge", "The service's open files.", [({}, files)])
        yield Family(
            "process_cpu_seconds_total", "counter", "The service's own processor time.", [({}, processor_time())]
        )
        yield Family("process_start_time_seconds", "gauge", "When the service started.", [({}, self._began)])


def _of_functions(now: Now, most: int) -> Iterable[Family]:
    folded: dict[str, list[Counts]] = {}

    def name_of(id: FunctionId) -> str:
        return id.name if id.name in folded or len(folded) < most else OTHERS

    for id, counts in now.counts:
        folded.setdefault(name_of(id), []).append(counts)
    totals = {name: _sum(counts) for name, counts in folded.items()}
    for name, help in _COUNTED:
        yield _counter(name, help, [(_of(function), total.counted[name]) for function, total in totals.items()])
    yield Family(
        "lamplighter_duration_seconds",
        "histogram",
        "How long invocations ran.",
        [(_of(function), total.durations) for function, total in totals.items() if total.durations.number],
    )
    for name, metric, help in _MEASURED:
        samples = [
            (_of(function), total.measured[metric]) for function, total in totals.items() if metric in total.measured
        ]
        yield _counter(name, help, samples)
    yield Family(
        "lamplighter_async_event_age_seconds",
        "histogram",
        "How old events were when they were run.",
        [(_of(function), total.ages) for function, total in totals.items() if total.ages.number],
    )
    running, stages = Counter[str](), Counter[tuple[str, str]]()
    for id, count in now.running.items():
        running[name_of(id)] += count
    for (id, stage), count in now.environments.items():
        stages[name_of(id), stage] += count
    # Also those at rest: a gauge that is gone would keep its last value on a graph.
    zeros = dict.fromkeys(folded, 0)
    yield _gauge("concurrent_executions", "Invocations that run.", _named({**zeros, **running}))
    samples = [(_of(function) | {"state": stage}, count) for (function, stage), count in stages.items()]
    yield _gauge("environments", "Environments, by what they do: starting, ready or busy.", samples)


class _Total(NamedTuple):
    counted: Mapping[str, int]
    durations: Histogram
    measured: Mapping[str, float]
    ages: Histogram


def _sum(counts: Sequence[Counts]) -> _Total:
    measured: dict[str, float] = {}
    for each in counts:
        for name, value in tuple(each.measured.items()):
            measured[name] = measured.get(name, 0.0) + value
    return _Total(
        {
            "invocations": sum(each.invocations for each in counts),
            "errors": sum(each.errors for each in counts),
            "throttles": sum(each.throttles for each in counts),
            "cold_starts": sum(each.cold for each in counts),
            "recursive_invocations_dropped": sum(each.recursive for each in counts),
        },
        _histogram([each.steps for each in counts], sum(each.time for each in counts) / 1000, _DURATIONS),
        measured,
        _histogram(
            [each.ages for each in counts if each.ages is not None],
            sum(each.seconds_of_age for each in counts),
            _AGES,
        ),
    )


def _histogram(steps: Sequence[Sequence[int]], total: float, ends: Sequence[int]) -> Histogram:
    if not steps:
        return Histogram((), 0.0, 0)
    summed = tuple(steps[0]) if len(steps) == 1 else tuple(map(sum, zip(*steps, strict=True)))
    upto = tuple(accumulate(summed))
    return Histogram([(end_of(end) / 1000, upto[end]) for end in ends], total, upto[-1])


def _of(function: str) -> dict[str, str]:
    return {"function": function}


def _named(values: Mapping[str, float]) -> Sequence[tuple[Labels, float]]:
    return [(_of(function), value) for function, value in values.items()]


def _counter(name: str, help: str, samples: Sequence[tuple[Labels, float]]) -> Family:
    return Family(f"lamplighter_{name}_total", "counter", help, samples)


def _gauge(name: str, help: str, samples: Sequence[tuple[Labels, float]]) -> Family:
    return Family(f"lamplighter_{name}", "gauge", help, samples)
