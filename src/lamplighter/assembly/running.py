"""What runs functions: the worker and its templates, who gets an environment, and what is made ahead."""

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial

from lamplighter.api.reach import Reaches
from lamplighter.assembly.stores import Stores
from lamplighter.assembly.telemetry import Telemetry
from lamplighter.control.preparing import Preparing
from lamplighter.control.rebuilding import Rebuilding
from lamplighter.control.settling import Settling
from lamplighter.control.snapshots import Snapshots
from lamplighter.control.warming import Warming
from lamplighter.invoke.assignment import InProcessAssignment
from lamplighter.invoke.cached_time import CachedTime
from lamplighter.invoke.invoker import Invoker
from lamplighter.invoke.limits import Limits
from lamplighter.invoke.memory import MEBIBYTE, available
from lamplighter.invoke.provisioned_time import ProvisionedTime
from lamplighter.invoke.provisioning import Provisioning
from lamplighter.invoke.reservations import follow_reservations
from lamplighter.invoke.resources import Resources
from lamplighter.model.clock import Clock
from lamplighter.model.functions import FunctionVersion
from lamplighter.runtimes import catalogue
from lamplighter.runtimes.commands import Commands
from lamplighter.runtimes.sdk import Forks
from lamplighter.sandbox.client import ServerSandboxes
from lamplighter.settings.choices import Settings
from lamplighter.telemetry.metrics.collector import Collector
from lamplighter.worker.freeze import FREEZE_AFTER
from lamplighter.worker.templates import Templates
from lamplighter.worker.worker import Worker, variables


@dataclass(frozen=True, slots=True)
class Running:
    worker: Worker
    limits: Limits
    assignment: InProcessAssignment
    invoker: Invoker


async def open_running(
    stack: AsyncExitStack,
    settings: Settings,
    stores: Stores,
    told: Telemetry,
    runtimes: Mapping[str, catalogue.InstalledRuntime],
    sandboxes: ServerSandboxes,
    reaches: Reaches,
    clock: Clock,
) -> Running:
    commands = Commands(runtimes, isolated=sandboxes.isolation != "none")
    forks = Forks(stores.directory.code, sandboxes.runtimes)
    worker = Worker(
        sandboxes,
        clock,
        None if settings.function_api == "off" else reaches.open,
        told.intake.open if settings.logs else None,
        commands=commands,
        observe=told.observe,
        segments=told.traces.datagram if told.traces else None,
        forks=forks,
        freeze_after=FREEZE_AFTER if settings.freeze else None,
        book=told.book,
    )
    short = partial(_short, settings.memory_reserve * MEBIBYTE)
    current = partial(_current, stores)
    templates = Templates(sandboxes, clock, worker.fit, current, short=short, observe=told.observe)
    worker.templates = templates
    stack.push_async_callback(templates.close)
    stack.push_async_callback(worker.close)  # first: copies end before what they are copies of
    stores.database.listen(templates.changed)
    limits = Limits(settings.account_concurrency)
    home = (settings.account_id, settings.region)
    follow_reservations(limits, stores.records, stores.database, *home)
    assignment = InProcessAssignment(
        Preparing(worker, stores.code, partial(_remedy, runtimes)),
        clock,
        limits,
        settings.idle_timeout,
        settings.max_environment_age,
        available,
        settings.memory_reserve * MEBIBYTE,
        partial(_spilled, told.metrics),
    )
    stack.push_async_callback(assignment.close)
    invoker = _invoker(stores, told, limits, assignment, clock)
    stack.push_async_callback(invoker.close)
    cached = CachedTime(clock, told.observe, partial(_is_there, stores), _versions(stores, *home))
    await stack.enter_async_context(cached)
    stores.database.listen(cached.changed)
    take = Snapshots(templates, cached.publish).take
    await stack.enter_async_context(Settling(stores.functions, stores.database, stores.code, clock, snapshot=take))
    already = await stores.functions.page(*home, None, 50)
    warm = partial(_warm, sandboxes, commands)
    await stack.enter_async_context(Warming(stores.records, stores.database, forks, warm, already))
    await stack.enter_async_context(Rebuilding(stores.functions, stores.code, *home, templates.initialize, short))
    return Running(worker, limits, assignment, invoker)


def provision(
    stack: AsyncExitStack, settings: Settings, stores: Stores, told: Telemetry, running: Running, clock: Clock
) -> None:
    """Have what is provisioned made: once functions can call this service, which their initialisation may."""
    time = ProvisionedTime(clock, told.observe)
    stack.callback(time.close)
    home = (settings.account_id, settings.region)
    Provisioning(running.assignment, running.limits, stores.records, stores.database, time, *home)


def _invoker(stores: Stores, told: Telemetry, limits: Limits, assignment: InProcessAssignment, clock: Clock) -> Invoker:
    metrics = told.metrics
    resources = Resources() if metrics is not None else None
    invoker = Invoker(
        stores.functions,
        stores.records,
        stores.database,
        assignment,
        clock=clock,
        observe=told.observe,
        resources=resources,
    )
    if metrics is not None and resources is not None:
        metrics.peaks = lambda: (*limits.peaks(), *resources.peaks(), *assignment.peaks())
        metrics.routed = invoker.routed
    return invoker


def _remedy(runtimes: Mapping[str, catalogue.InstalledRuntime], function: FunctionVersion) -> str | None:
    name = function.runtime
    return None if name is None or name in runtimes else catalogue.remedy(name)


def _short(reserve: int) -> bool:
    """Whether the host's memory is."""
    found = available()
    return found is not None and found < reserve


async def _current(stores: Stores, function: FunctionVersion) -> bool:
    serving = await stores.functions.serving(function.id, function.version)
    return serving is not None and serving.generation == function.generation


async def _versions(stores: Stores, account: str, region: str) -> AsyncIterator[FunctionVersion]:
    after: tuple[str, str] | None = None
    while page := await stores.functions.page_of_versions(account, region, after, 100):
        for function in page:
            yield function
        after = page[-1].id.name, page[-1].version


def _is_there(stores: Stores, function: FunctionVersion) -> bool:
    id = function.id
    return stores.records.view(id.account, id.region).version(id.name, function.version) is not None


def _warm(
    sandboxes: ServerSandboxes, commands: Commands, function: FunctionVersion, fork_server: str, first: bool
) -> None:
    command = commands(function.runtime or "", variables(function, "", {})) if first else None
    sandboxes.warm(fork_server, command)


def _spilled(metrics: Collector | None, function: FunctionVersion, qualifier: str) -> None:
    if metrics is not None:
        arn = f"{function.id.arn}:{qualifier}"
        metrics.measure("ProvisionedConcurrencySpilloverInvocations", function.id, 1.0, arn)
