"""The service: builds every room's parts, joins them, serves, drains, ends. The only module that knows them all.

Two processes share the work (design, decision 5): this one, which gives root away before it reads a byte from the
network, and the sandbox server, which keeps it and speaks to nobody but us.
"""

import asyncio
import gc
import hashlib
import logging
import os
import signal
import socket
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import uvloop

from lamplighter import endpoints, startup
from lamplighter.api.account import AccountOperations
from lamplighter.api.aliases import AliasOperations
from lamplighter.api.authorization import INVOKE
from lamplighter.api.code_signing import CodeSigningOperations
from lamplighter.api.concurrency import ConcurrencyOperations
from lamplighter.api.downloads import PATH as DOWNLOADS
from lamplighter.api.downloads import Downloads
from lamplighter.api.event_invoke import EventInvokeOperations
from lamplighter.api.functions import FunctionOperations
from lamplighter.api.health import HEALTH, READY, Health
from lamplighter.api.http import Caller, Operation, Request, StreamingOperation
from lamplighter.api.invoke import Accept, InvokeApi
from lamplighter.api.invoke_async import InvokeAsyncOperation
from lamplighter.api.invoke_stream import InvokeStreamOperation
from lamplighter.api.layers import LayerOperations
from lamplighter.api.logs.service import NAME as LOGS
from lamplighter.api.logs.service import logs_service
from lamplighter.api.metrics.service import NAME as METRICS
from lamplighter.api.metrics.service import metrics_service
from lamplighter.api.owner import OwnersPages
from lamplighter.api.permissions import PermissionOperations
from lamplighter.api.prometheus.figures import Figures
from lamplighter.api.prometheus.listener import Listener
from lamplighter.api.protocol import Wire
from lamplighter.api.provisioned import ProvisionedOperations
from lamplighter.api.reach import Reaches
from lamplighter.api.recursion import RecursionOperations
from lamplighter.api.runtime_management import RuntimeManagementOperations
from lamplighter.api.scaling import ScalingOperations
from lamplighter.api.server import FrontDoor
from lamplighter.api.sessions import Sessions
from lamplighter.api.sigv4 import Verifier
from lamplighter.api.state import STATE, State
from lamplighter.api.tags import TagOperations
from lamplighter.api.unavailable import unavailable
from lamplighter.api.urls import UrlOperations
from lamplighter.api.usage import USAGE, MonthlyUsage
from lamplighter.api.versions import VersionOperations
from lamplighter.control.account import Account
from lamplighter.control.aliases import Aliases
from lamplighter.control.code import Code
from lamplighter.control.code_signing import CodeSigning
from lamplighter.control.concurrency import Concurrency
from lamplighter.control.event_invoke import EventInvokeConfigs
from lamplighter.control.functions import Functions, Runtimes
from lamplighter.control.layer_policies import LayerPolicies
from lamplighter.control.layers import Layers
from lamplighter.control.permissions import Permissions
from lamplighter.control.preparing import Preparing
from lamplighter.control.provisioned import Provisioned
from lamplighter.control.rebuilding import Rebuilding
from lamplighter.control.recursion import Recursion
from lamplighter.control.runtime_management import RuntimeManagement
from lamplighter.control.scaling import Scaling
from lamplighter.control.settling import Settling
from lamplighter.control.snapshots import Snapshots
from lamplighter.control.sources import CODE_STORAGE, Sources
from lamplighter.control.tags import Tags
from lamplighter.control.target_permissions import Allows
from lamplighter.control.urls import Urls
from lamplighter.control.versions import Versions
from lamplighter.control.warming import Warming
from lamplighter.events import destinations, envelope
from lamplighter.events.accept import Acceptance
from lamplighter.events.contract import Measure
from lamplighter.events.deliveries import Deliveries
from lamplighter.events.dispatcher import Dispatcher
from lamplighter.events.rounds import Rounds
from lamplighter.events.rules import Rules
from lamplighter.invoke.assignment import InProcessAssignment
from lamplighter.invoke.cached_time import CachedTime
from lamplighter.invoke.invoker import Invoker
from lamplighter.invoke.limits import Limits
from lamplighter.invoke.memory import MEBIBYTE, available
from lamplighter.invoke.pace import Pace
from lamplighter.invoke.provisioned_time import ProvisionedTime
from lamplighter.invoke.provisioning import Provisioning
from lamplighter.invoke.reservations import follow_reservations
from lamplighter.invoke.resources import Resources
from lamplighter.model.clock import SystemClock
from lamplighter.model.functions import FunctionId, FunctionVersion
from lamplighter.model.ids import Ids
from lamplighter.model.invocation import Invocation
from lamplighter.model.usage import Observe, together
from lamplighter.runtimes import catalogue
from lamplighter.runtimes.commands import Commands
from lamplighter.runtimes.sdk import Forks
from lamplighter.sandbox.client import ServerSandboxes
from lamplighter.sandbox.contract import SandboxError
from lamplighter.sandbox.ways import Ways
from lamplighter.settings import Settings
from lamplighter.startup import StartupError
from lamplighter.store import credentials
from lamplighter.store.blobs import FileBlobs
from lamplighter.store.contract import DataDirectoryInUse, DataDirectoryUnusable, QueueCounts
from lamplighter.store.credentials import Credentials, CredentialsUnusable
from lamplighter.store.database import Database
from lamplighter.store.directory import DataDirectory
from lamplighter.store.events import SqliteEventQueue
from lamplighter.store.looking import CannotLook, queues
from lamplighter.store.records import SqliteRecords
from lamplighter.store.sqlite import SqliteFunctions, SqlitePackageReferences
from lamplighter.store.usage import UsageLedger
from lamplighter.store.used import used
from lamplighter.telemetry.activity import Activity
from lamplighter.telemetry.logs.archive import Archive
from lamplighter.telemetry.logs.intake import Embed, Intake
from lamplighter.telemetry.logs.watching import Subscriptions
from lamplighter.telemetry.loop_lag import LoopLag
from lamplighter.telemetry.metering.meter import Meter
from lamplighter.telemetry.metrics.collector import Collector
from lamplighter.telemetry.metrics.embedded import Embedded
from lamplighter.telemetry.metrics.store import MetricStore
from lamplighter.telemetry.service_log import set_up
from lamplighter.telemetry.traces.exporter import Exporter
from lamplighter.worker.freeze import FREEZE_AFTER
from lamplighter.worker.templates import Templates
from lamplighter.worker.worker import Worker, variables

# Seconds after which a thread that computes lets the event loop go on. Logs are searched and databases written beside
# it; with Python's own 5 ms, each of its turns could wait that long, and a call has several.
SWITCH = 0.0001
# Objects that are made before the young ones are looked at, and how often the older ones are then. What a call makes is
# gone with it or waits for a thread that writes; to look at that often finds nothing.
COLLECT = (20_000, 20, 20)
DRAIN_LIMIT = 30.0  # seconds that calls in flight have to finish after the first signal

log = logging.getLogger("lamplighter")


def serve(settings: Settings, *, on_ready: Callable[[str], None] = print) -> int:
    """Serve until a signal; returns the exit code. Raises StartupError.

    `on_ready` is given the line that says where and how."""
    set_up(settings.log_format, settings.log_level)
    try:
        with DataDirectory(settings.data_dir) as directory:
            return uvloop.run(_serve(settings, directory, on_ready))
    except (DataDirectoryInUse, DataDirectoryUnusable, CredentialsUnusable, SandboxError) as error:
        raise StartupError(str(error)) from error


async def _serve(settings: Settings, directory: DataDirectory, on_ready: Callable[[str], None]) -> int:
    sys.setswitchinterval(SWITCH)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, _stop_or_quit, stop)
    async with AsyncExitStack() as stack:
        listener = stack.enter_context(startup.bind(settings.host, settings.port))
        scraped = None
        if settings.prometheus is not None:
            scraped = stack.enter_context(startup.bind(*settings.prometheus, option="--prometheus"))
        allows = startup.role_policies(settings)
        isolation = startup.chosen_isolation(settings)
        owned = credentials.load_or_make(directory.path)
        told = startup.sandbox_configuration(directory, isolation, startup.reach(settings, isolation), settings.tmp)
        Path(told.run_dir).parent.mkdir(parents=True, exist_ok=True)
        runtimes = catalogue.installed(Path(told.run_dir).with_name("runtimes.json"))
        sandboxes = await ServerSandboxes.launch(replace(told, runtimes=startup.sandbox_runtimes(runtimes)))
        stack.push_async_callback(sandboxes.close)
        startup.say_what_does_not_hold(isolation, sandboxes.controllers)
        if isolation == "full":
            startup.give_root_away(directory)
        if told.reach is not None:
            sandboxes.ways = await Ways.launch(told.reach)
            stack.push_async_callback(sandboxes.ways.close)
        door, rounds = await stack.enter_async_context(
            _front_door(settings, directory, owned, runtimes, sandboxes, startup.url(listener), scraped, allows)
        )
        # What stands now stays: the collector need not look at it again, which it would do in the middle of calls.
        gc.collect()
        gc.freeze()
        gc.set_threshold(*COLLECT)
        await door.listen(listener)
        on_ready(startup.ready_line(settings, listener, isolation, told.reach))
        sandboxes.lost.add_done_callback(lambda lost: None if lost.cancelled() else stop.set())
        await stop.wait()
        cut_off, interrupted = await asyncio.gather(door.drain(DRAIN_LIMIT), rounds.drain(DRAIN_LIMIT))
        if cut_off:
            log.warning("%d calls were still running after %.0f s and were cut off", cut_off, DRAIN_LIMIT)
        if interrupted:
            log.warning("%d queued events were still running and will be run again", interrupted)
        if sandboxes.lost.done():
            log.error("the sandbox server is gone, and nothing can run without it; start Lamplighter again")
            return 1
    return 0


@asynccontextmanager
async def _front_door(
    settings: Settings,
    directory: DataDirectory,
    owned: Credentials,
    runtimes: Mapping[str, catalogue.InstalledRuntime],
    sandboxes: ServerSandboxes,
    url: str,
    scraped: socket.socket | None,
    allows: Allows,
) -> AsyncGenerator[tuple[FrontDoor, Rounds]]:
    """Everything behind the listener, from the store up, and what serves the queues; taken down in reverse."""
    clock, wire = SystemClock(), Wire()
    ids = Ids(clock)
    async with AsyncExitStack() as stack:
        database = Database(directory.database)
        stack.push_async_callback(database.close)
        stored, references, records = (
            SqliteFunctions(database),
            SqlitePackageReferences(database),
            SqliteRecords(database),
        )
        blobs = FileBlobs(directory.blobs)
        code = Code(blobs, references, directory.code, clock)
        queue = await _event_queue(stack, directory)
        metrics = Collector(MetricStore(directory.metrics), clock) if settings.metrics else None
        if metrics is not None:
            await stack.enter_async_context(metrics)
        activity = Activity()
        measure = _measure(activity, metrics)
        accept = Acceptance(queue, clock, measure).accept
        embedded = Embedded(metrics.put).lines if metrics is not None else None
        archive, intake = await _logs(stack, directory, clock, partial(_deliver_log, stored, accept, ids), embedded)
        commands = Commands(runtimes, isolated=sandboxes.isolation != "none")
        traces = await _traces(stack, settings, ids)
        observers: list[Observe] = []
        meter = await stack.enter_async_context(Meter(UsageLedger(directory.usage))) if settings.metering else None
        if meter is not None:
            _follow_tags(database, records, meter)
            observers.append(meter.observe)
        if metrics is not None:
            observers.append(metrics.observe)
        if settings.metering or scraped is not None:
            observers.append(activity.observe)
            database.listen(lambda id: _forget_deleted(activity, records, id))
        observe = together(*observers, *([traces.observe] if traces else []))
        sessions = Sessions(_derived(owned, "environments"), None if settings.function_api == "all" else INVOKE)
        reaches = Reaches(sessions, endpoints.inside(settings, url, sandboxes.isolation != "none"))
        forks = Forks(directory.code, sandboxes.runtimes)
        worker = Worker(
            sandboxes,
            clock,
            None if settings.function_api == "off" else reaches.open,
            intake.open if settings.logs else None,
            commands=commands,
            observe=observe,
            segments=traces.datagram if traces else None,
            forks=forks,
            freeze_after=FREEZE_AFTER if settings.freeze else None,
        )
        worker.templates = templates = _templates(settings, stored, sandboxes, worker, clock, observe)
        stack.push_async_callback(templates.close)
        stack.push_async_callback(worker.close)  # first: copies end before what they are copies of
        database.listen(templates.changed)
        concurrency = settings.account_concurrency
        limits = Limits(concurrency)
        follow_reservations(limits, records, database, settings.account_id, settings.region)
        assignment = InProcessAssignment(
            Preparing(worker, code),
            clock,
            limits,
            settings.idle_timeout,
            settings.max_environment_age,
            available,
            settings.memory_reserve * MEBIBYTE,
            partial(_spilled, metrics),
        )
        stack.push_async_callback(assignment.close)
        resources = Resources() if metrics is not None else None
        invoker = Invoker(stored, records, database, assignment, clock=clock, observe=observe, resources=resources)
        if metrics is not None and resources is not None:
            metrics.peaks = lambda: (*limits.peaks(), *resources.peaks(), *assignment.peaks())
            metrics.routed = invoker.routed
        stack.push_async_callback(invoker.close)
        versions = _versions(stored, settings.account_id, settings.region)
        cached = CachedTime(clock, observe, partial(_is_there, records), versions)
        await stack.enter_async_context(cached)
        database.listen(cached.changed)
        take = Snapshots(templates, cached.publish).take
        await stack.enter_async_context(Settling(stored, database, code, clock, snapshot=take))
        sources = Sources(endpoints.s3(settings, owned, clock), references)
        functions = Functions(
            stored,
            records,
            code,
            sources,
            _known_runtimes(settings, runtimes),
            clock,
            lambda id: measure("SignatureValidationErrors", id, 1.0),
            allows,
        )
        already = await stored.page(settings.account_id, settings.region, None, 50)
        warm = partial(_warm, sandboxes, commands)
        await stack.enter_async_context(Warming(records, database, forks, warm, already))
        home = (settings.account_id, settings.region)
        short = partial(_short, settings)
        await stack.enter_async_context(Rebuilding(stored, code, *home, templates.initialize, short))
        works = {
            envelope.PREFIX: Dispatcher(invoker, limits, records, Rules(records, database), clock, measure),
            destinations.PREFIX: Deliveries(endpoints.targets(settings, owned, clock), clock, measure),
        }
        rounds = await stack.enter_async_context(Rounds(queue, works, clock))
        health = Health(lambda: not sandboxes.lost.done())
        verify = _verify(settings, owned, sessions, clock)
        waiting = partial(_queues, directory.events)
        pages = OwnersPages(
            verify,
            owned.access_key_id if settings.auth else None,
            {
                STATE: State(worker, limits, activity, concurrency, waiting, clock),
                USAGE: MonthlyUsage(None if meter is None else meter.flush, partial(used, directory)),
            },
        )
        downloads = Downloads(_derived(owned, "downloads"), blobs, clock)
        operations: dict[str, Operation | StreamingOperation] = {
            **{name: unavailable(name) for name in wire.operations},
            **FunctionOperations(functions, downloads).operations(),
            **VersionOperations(Versions(stored, references, clock, CODE_STORAGE)).operations(),
            **AliasOperations(Aliases(records)).operations(),
            **InvokeAsyncOperation(invoker, accept, ids).operations(),
            **InvokeStreamOperation(invoker, ids, partial(Pace, clock)).operations(),
            **LayerOperations(Layers(records, code, sources, clock), LayerPolicies(records), downloads).operations(),
            **CodeSigningOperations(CodeSigning(records, clock)).operations(),
            **EventInvokeOperations(EventInvokeConfigs(records, clock, allows)).operations(),
            **PermissionOperations(Permissions(records)).operations(),
            **TagOperations(Tags(records)).operations(),
            **UrlOperations(Urls(records, clock)).operations(),
            **ConcurrencyOperations(Concurrency(records, concurrency)).operations(),
            **ProvisionedOperations(Provisioned(records, clock, concurrency, assignment.standing)).operations(),
            **ScalingOperations(Scaling(records)).operations(),
            **RuntimeManagementOperations(RuntimeManagement(records)).operations(),
            **RecursionOperations(Recursion(records)).operations(),
            **AccountOperations(Account(stored, references, records, concurrency, CODE_STORAGE)).operations(),
        }
        door = FrontDoor(
            wire,
            verify,
            operations,
            InvokeApi(wire, invoker, ids, settings.region, accept),
            {DOWNLOADS: downloads, HEALTH: health, READY: health, STATE: pages, USAGE: pages},
            clock,
            ids,
            settings.region,
            [
                logs_service(
                    archive,
                    clock,
                    intake.flush,
                    partial(_runs, stored),
                    _verify(settings, owned, sessions, clock, LOGS),
                    settings.region,
                ),
                *(
                    [
                        metrics_service(
                            metrics, clock, _verify(settings, owned, sessions, clock, METRICS), settings.region
                        )
                    ]
                    if metrics
                    else []
                ),
            ],
        )
        reaches.front = door
        time = ProvisionedTime(clock, observe)
        stack.callback(time.close)
        Provisioning(assignment, limits, records, database, time, settings.account_id, settings.region)
        if scraped is not None:
            figures = Figures(activity, worker, limits, concurrency, _lag(stack), waiting, clock)
            await stack.enter_async_context(Listener(scraped, figures.text, clock))
            log.info("Prometheus finds metrics at %s/metrics", startup.url(scraped))
        yield door, rounds


async def _logs(
    stack: AsyncExitStack,
    directory: DataDirectory,
    clock: SystemClock,
    deliver: Callable[[str, bytes], Awaitable[None]],
    embedded: Embed | None,
) -> tuple[Archive, Intake]:
    try:
        archive = Archive(directory.logs, clock)
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


async def _traces(stack: AsyncExitStack, settings: Settings, ids: Ids) -> Exporter | None:
    post = endpoints.collector(settings)
    return None if post is None else await stack.enter_async_context(Exporter(post, ids.segment))


async def _deliver_log(stored: SqliteFunctions, accept: Accept, ids: Ids, arn: str, payload: bytes) -> None:
    """Log events to a function that subscribes to them."""
    id, _ = envelope.function_of(arn)
    function = await stored.serving(id)
    if function is not None:
        await accept(function, Invocation(ids.request_id(), payload, arn, ids.trace()))


async def _runs(stored: SqliteFunctions, arn: str) -> bool:
    id, _ = envelope.function_of(arn)
    return await stored.serving(id) is not None


def _templates(
    settings: Settings,
    stored: SqliteFunctions,
    sandboxes: ServerSandboxes,
    worker: Worker,
    clock: SystemClock,
    observe: Observe | None,
) -> Templates:
    async def current(function: FunctionVersion) -> bool:
        serving = await stored.serving(function.id, function.version)
        return serving is not None and serving.generation == function.generation

    return Templates(sandboxes, clock, worker.fit, current, short=partial(_short, settings), observe=observe)


def _short(settings: Settings) -> bool:
    """Whether the host's memory is."""
    found = available()
    return found is not None and found < settings.memory_reserve * MEBIBYTE


async def _versions(stored: SqliteFunctions, account: str, region: str) -> AsyncIterator[FunctionVersion]:
    after: tuple[str, str] | None = None
    while page := await stored.page_of_versions(account, region, after, 100):
        for function in page:
            yield function
        after = page[-1].id.name, page[-1].version


def _is_there(records: SqliteRecords, function: FunctionVersion) -> bool:
    id = function.id
    return records.view(id.account, id.region).version(id.name, function.version) is not None


async def _event_queue(stack: AsyncExitStack, directory: DataDirectory) -> SqliteEventQueue:
    """In a database file of its own, so that events and the control plane don't wait for each other's commits."""
    database = Database(directory.events)
    stack.push_async_callback(database.close)
    queue = SqliteEventQueue(database)
    stack.push_async_callback(queue.close)
    return queue


def _warm(
    sandboxes: ServerSandboxes, commands: Commands, function: FunctionVersion, fork_server: str, first: bool
) -> None:
    command = commands(function.runtime or "", variables(function, "", {})) if first else None
    sandboxes.warm(fork_server, command)


def _known_runtimes(settings: Settings, runtimes: Mapping[str, catalogue.InstalledRuntime]) -> Runtimes:
    def available(name: str) -> str | None:
        return None if name in runtimes or settings.missing_runtimes == "accept" else catalogue.remedy(name)

    return Runtimes(available, catalogue.runtime_version_arn)


def _verify(
    settings: Settings, owned: Credentials, sessions: Sessions, clock: SystemClock, service: str = "lambda"
) -> Callable[[Request], Caller]:
    root = Caller(owned.access_key_id, settings.account_id, f"arn:aws:iam::{settings.account_id}:root")
    if not settings.auth:
        return lambda request: root

    def secret_of(access_key: str) -> tuple[str, Caller] | None:
        if access_key == owned.access_key_id:
            return owned.secret_access_key, root
        return sessions.secret_of(access_key)

    return Verifier(secret_of, clock, settings.region, service, sessions.session_of).verify


def _measure(activity: Activity, metrics: Collector | None) -> Measure:
    """What the events room measures, to whoever counts it."""
    if metrics is None:
        return activity.measure

    def measure(name: str, function: FunctionId, value: float) -> None:
        metrics.measure(name, function, value)
        activity.measure(name, function, value)

    return measure


def _spilled(metrics: Collector | None, function: FunctionVersion, qualifier: str) -> None:
    if metrics is not None:
        arn = f"{function.id.arn}:{qualifier}"
        metrics.measure("ProvisionedConcurrencySpilloverInvocations", function.id, 1.0, arn)


def _follow_tags(database: Database, records: SqliteRecords, meter: Meter) -> None:
    def changed(id: FunctionId) -> None:
        found = records.view(id.account, id.region).tags(id.name)
        if found is not None:  # a deleted function keeps what it had
            meter.tagged(id, found)

    database.listen(changed)


def _forget_deleted(activity: Activity, records: SqliteRecords, id: FunctionId) -> None:
    if id in activity.functions and records.view(id.account, id.region).version(id.name) is None:
        activity.forget(id)


def _lag(stack: AsyncExitStack) -> LoopLag:
    lag = LoopLag()
    stack.callback(lag.close)
    return lag


def _queues(events: Path) -> Sequence[QueueCounts]:
    try:
        return queues(events).counts
    except CannotLook as error:
        log.warning("queues can't be counted: %s", error)
        return ()


def _derived(owned: Credentials, purpose: str) -> bytes:
    """A secret for one purpose, as lasting as the credentials, from which it can't be told back."""
    return hashlib.blake2b(purpose.encode(), key=owned.secret_access_key.encode()[:64]).digest()


def _stop_or_quit(stop: asyncio.Event) -> None:
    """The first signal drains; at the second we are gone, and the sandbox server takes everything down behind us."""
    if stop.is_set():
        os._exit(1)
    log.info("stopping: no new calls; those in flight have %.0f s. A second signal ends at once.", DRAIN_LIMIT)
    stop.set()
