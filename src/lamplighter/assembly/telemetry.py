"""What is told of what runs: logs, metrics, metering and traces, each only where it is wanted."""

from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass

from lamplighter import endpoints
from lamplighter.assembly.log_delivery import LogDelivery
from lamplighter.assembly.stores import Stores
from lamplighter.events.accept import Acceptance
from lamplighter.events.contract import Measure
from lamplighter.model.clock import Clock
from lamplighter.model.functions import FunctionId
from lamplighter.model.ids import Ids
from lamplighter.model.usage import Observe
from lamplighter.settings.choices import Settings
from lamplighter.startup import StartupError
from lamplighter.store.records import SqliteRecords
from lamplighter.store.usage import UsageLedger
from lamplighter.telemetry.activity import Activity
from lamplighter.telemetry.logs.archive import Archive
from lamplighter.telemetry.logs.intake import Embed, Intake
from lamplighter.telemetry.logs.watching import Subscriptions
from lamplighter.telemetry.metering.meter import Meter
from lamplighter.telemetry.metrics.collector import Collector
from lamplighter.telemetry.metrics.embedded import Embedded
from lamplighter.telemetry.metrics.store import MetricStore
from lamplighter.telemetry.tally import Tally
from lamplighter.telemetry.traces.exporter import Exporter
from lamplighter.worker.notes import Notebook


@dataclass(frozen=True, slots=True)
class Telemetry:
    """`observe` is told of everything that ran but what is noted in `book`; None: nobody wants to know."""

    activity: Activity
    measure: Measure
    observe: Observe | None
    book: Notebook | None
    acceptance: Acceptance
    archive: Archive
    intake: Intake
    meter: Meter | None
    metrics: Collector | None
    traces: Exporter | None


async def open_telemetry(
    stack: AsyncExitStack, settings: Settings, stores: Stores, clock: Clock, ids: Ids, scraped: bool
) -> Telemetry:
    """`scraped`: whether Prometheus reads what is counted."""
    metrics = Collector(MetricStore(stores.directory.metrics), clock) if settings.metrics else None
    if metrics is not None:
        await stack.enter_async_context(metrics)
    activity = Activity()
    measure = _measure(activity, metrics)
    acceptance = Acceptance(stores.queue, clock, measure)
    embedded = Embedded(metrics.put).lines if metrics is not None else None
    archive, intake = await _logs(stack, stores, clock, LogDelivery(stores, acceptance, ids).deliver, embedded)
    post = endpoints.collector(settings)
    traces = None if post is None else await stack.enter_async_context(Exporter(post, ids.segment))
    meter = await stack.enter_async_context(Meter(UsageLedger(stores.directory.usage))) if settings.metering else None
    observers: list[Observe] = []
    if meter is not None:
        _follow_tags(stores, meter)
        observers.append(meter.observe)
    if metrics is not None:
        observers.append(metrics.observe)
    if settings.metering or scraped:
        observers.append(activity.observe)
        stores.database.listen(lambda id: _forget_deleted(activity, stores.records, id))
    if traces is not None:
        observers.append(traces.observe)
    tally = Tally(*observers)
    observe, count = (tally.observe, tally.count) if observers else (None, None)  # so that nothing is made for nobody
    book = Notebook(count, observe) if observers or settings.logs else None

    def settle() -> None:
        if book is not None:
            book.catch_up()
        tally.settle()

    activity.settle = intake.settle = settle
    if metrics is not None:
        metrics.settle = settle
    if meter is not None:
        meter.settle = settle
    return Telemetry(activity, measure, observe, book, acceptance, archive, intake, meter, metrics, traces)


async def _logs(
    stack: AsyncExitStack,
    stores: Stores,
    clock: Clock,
    deliver: Callable[[str, str, bytes], Awaitable[None]],
    embedded: Embed | None,
) -> tuple[Archive, Intake]:
    try:
        archive = Archive(stores.directory.logs, clock)
        await archive.open()
    except OSError as error:
        raise StartupError(
            f"The logs cannot be used: {error.strerror} (errno {error.errno}, {error.filename})."
        ) from None
    stack.push_async_callback(archive.close)
    await stack.enter_async_context(Subscriptions(archive, deliver))
    intake = Intake(archive, embedded)
    stack.push_async_callback(intake.close)
    return archive, intake


def _measure(activity: Activity, metrics: Collector | None) -> Measure:
    """What the events room measures, to whoever counts it."""
    if metrics is None:
        return activity.measure

    def measure(name: str, function: FunctionId, value: float, arn: str) -> None:
        metrics.measure(name, function, value, arn)
        activity.measure(name, function, value, arn)

    return measure


def _follow_tags(stores: Stores, meter: Meter) -> None:
    def changed(id: FunctionId) -> None:
        found = stores.records.view(id.account, id.region).tags(id.name)
        if found is not None:  # a deleted function keeps what it had
            meter.tagged(id, found)

    stores.database.listen(changed)


def _forget_deleted(activity: Activity, records: SqliteRecords, id: FunctionId) -> None:
    if id in activity.functions and records.view(id.account, id.region).version(id.name) is None:
        activity.forget(id)
