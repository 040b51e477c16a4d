"""The service: builds every room's parts, joins them, serves, drains, ends. With `assembly`, the only code that knows
them all.

Two processes share the work (design, decision 5): this one, which gives root away before it reads a byte from the
network, and the sandbox server, which keeps it and speaks to nobody but us.
"""

import asyncio
import gc
import logging
import os
import signal
import socket
import sys
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path

import uvloop

from lamplighter import endpoints, heap, startup
from lamplighter.api.authorization import INVOKE
from lamplighter.api.prometheus.figures import Figures
from lamplighter.api.prometheus.listener import Listener
from lamplighter.api.reach import Reaches
from lamplighter.api.server import FrontDoor
from lamplighter.api.sessions import Sessions
from lamplighter.assembly.answering import front_door, waiting
from lamplighter.assembly.running import open_running, provision
from lamplighter.assembly.stores import open_stores
from lamplighter.assembly.telemetry import open_telemetry
from lamplighter.bodies.carrier import ProcessCarrier
from lamplighter.control.target_permissions import Allows
from lamplighter.events import destinations, envelope
from lamplighter.events.deliveries import Deliveries
from lamplighter.events.dispatcher import Dispatcher
from lamplighter.events.rounds import Rounds
from lamplighter.events.rules import Rules
from lamplighter.model.clock import SystemClock
from lamplighter.model.ids import Ids
from lamplighter.runtimes import catalogue
from lamplighter.sandbox.client import ServerSandboxes
from lamplighter.sandbox.contract import SandboxError
from lamplighter.sandbox.ways import Ways
from lamplighter.settings.choices import Settings
from lamplighter.startup import StartupError
from lamplighter.store import credentials
from lamplighter.store.contract import DataDirectoryInUse, DataDirectoryUnusable
from lamplighter.store.credentials import Credentials, CredentialsUnusable
from lamplighter.store.directory import DataDirectory
from lamplighter.telemetry.loop_lag import LoopLag
from lamplighter.telemetry.service_log import set_up

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
    heap.bound()
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
        startup.check_tmp(settings, isolation)
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
            _parts(settings, directory, owned, runtimes, sandboxes, startup.url(listener), scraped, allows)
        )
        # What stands now stays: the collector need not look at it again, which it would do in the middle of calls.
        gc.collect()
        gc.freeze()
        gc.set_threshold(*COLLECT)
        await door.listen(listener)
        trimming = loop.create_task(heap.keep_small())
        stack.callback(trimming.cancel)
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
async def _parts(
    settings: Settings,
    directory: DataDirectory,
    owned: Credentials,
    runtimes: Mapping[str, catalogue.InstalledRuntime],
    sandboxes: ServerSandboxes,
    url: str,
    scraped: socket.socket | None,
    allows: Allows,
) -> AsyncGenerator[tuple[FrontDoor, Rounds]]:
    """Everything behind the listener, from the stores up, and what serves the queues; taken down in reverse."""
    clock = SystemClock()
    ids = Ids(clock)
    async with AsyncExitStack() as stack:
        stores = await open_stores(stack, directory, clock)
        told = await open_telemetry(stack, settings, stores, clock, ids, scraped is not None)
        sessions = Sessions(owned.derived("environments"), None if settings.function_api == "all" else INVOKE)
        reaches = Reaches(sessions, endpoints.inside(settings, url, sandboxes.isolation != "none"))
        running = await open_running(stack, settings, stores, told, runtimes, sandboxes, reaches, clock)
        carrier = ProcessCarrier()
        stack.push_async_callback(carrier.close)
        rules = Rules(stores.records, stores.database)
        works = {
            envelope.PREFIX: Dispatcher(running.invoker, running.limits, stores.records, rules, clock, told.measure),
            destinations.PREFIX: Deliveries(endpoints.targets(settings, owned, clock), clock, told.measure),
        }
        rounds = await stack.enter_async_context(Rounds(stores.queue, works, clock))
        door = front_door(
            settings,
            owned,
            sessions,
            stores,
            told,
            running,
            runtimes,
            allows,
            lambda: not sandboxes.lost.done(),
            clock,
            ids,
            carrier,
        )
        reaches.front = door
        provision(stack, settings, stores, told, running, clock)
        if scraped is not None:
            lag = LoopLag()
            stack.callback(lag.close)
            figures = Figures(
                told.activity,
                running.worker,
                running.limits,
                settings.account_concurrency,
                sandboxes.tmps,
                lag,
                waiting(stores),
                clock,
            )
            await stack.enter_async_context(Listener(scraped, figures.text, clock))
            log.info("Prometheus finds metrics at %s/metrics", startup.url(scraped))
        yield door, rounds


def _stop_or_quit(stop: asyncio.Event) -> None:
    """The first signal drains; at the second we are gone, and the sandbox server takes everything down behind us."""
    if stop.is_set():
        os._exit(1)
    log.info("stopping: no new calls; those in flight have %.0f s. A second signal ends at once.", DRAIN_LIMIT)
    stop.set()
