"""Asynchronous invocation: how fast events are taken and run, how soon, and what others' backlogs cost.

Rates are compared with synchronous calls of the same function by the same number of clients, in turn and in the same
run. Backlogs are real rows: they are put into the queue by the store's own `enqueue`, in groups as always, while the
service is down; a million calls would measure the calls. When a function started it says itself, in its log; one clock
serves both sides.
"""

import asyncio
import os
import signal
import sqlite3
import subprocess
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic, perf_counter, sleep
from typing import Final

from bench.delays import delays, path_of
from bench.figures import Samples, percentile
from bench.load import Result
from bench.memory import megabytes, tree
from bench.program import Unavailable
from bench.service import COMMAND, WHOLE_CPU, Service, package
from bench.stage import Stage
from lamplighter.events.envelope import invocation_event
from lamplighter.model.clock import SystemClock
from lamplighter.model.functions import FunctionId
from lamplighter.model.ids import Ids
from lamplighter.model.invocation import Invocation
from lamplighter.store.database import Database
from lamplighter.store.directory import DataDirectory
from lamplighter.store.events import SqliteEventQueue

CLIENTS: Final = 32
PAYLOAD: Final = b'{"order": 4711, "customer": "Ada Lovelace", "items": [1, 2, 3], "seconds": 60}'
PATIENCE: Final = 60.0  # seconds for a backlog to become as small, or a log as long, as expected
MILLION: Final = 1_000_000
RUN_MEANWHILE: Final = 150_000  # of which a million are left in the last round
# What may be in others' way: the function's handler, and how many of its events wait.
TROUBLES: Final = {
    "200,000 waiting events": ("handlers.echo", 260_000),  # so many are left in the last round
    "events that always fail": ("handlers.fail", 100_000),
    "events that hang": ("handlers.sleep", 10_000),
}


def accepting(stage: Stage) -> tuple[Samples, ...]:
    """Events taken per second, while they run, against synchronous calls."""
    names = stage.names(1)
    rates: dict[str, list[float]] = {"Event": [], "RequestResponse": []}
    with stage.deployed(names, memory_size=WHOLE_CPU) as service:
        for turn in range(-1, stage.rounds):
            for kind in sorted(rates, reverse=bool(turn % 2)):
                result = _calls(stage, service, names, kind)
                if turn >= 0:  # the one before is for making environments
                    rates[kind].append(result.per_second)
                _wait_until_left(service, 0)
    return (Samples(tuple(rates["Event"]), tuple(rates["RequestResponse"])),)


def draining(stage: Stage) -> tuple[Samples, ...]:
    """Events of a backlog run per second, nothing else going on, against synchronous calls."""
    number = 6_000 if stage.quick else 30_000
    (name,) = stage.names(1)
    drained: list[float] = []
    called: list[float] = []
    with TemporaryDirectory(prefix="lamplighter-bench-") as data:
        _deploy(stage, data, {name: "handlers.echo"})
        for _ in range(stage.rounds):
            _fill(data, name, number)
            with stage.own_service(data) as service:
                _wait_until_left(service, number * 3 // 4)
                before, began = _left(service), perf_counter()
                _wait_until_left(service, number // 10)
                drained.append((before - _left(service)) / (perf_counter() - began))
                _wait_until_left(service, 0)
                called.append(_calls(stage, service, [name], "RequestResponse").per_second)
    return (Samples(tuple(drained), tuple(called)),)


def delay(stage: Stage) -> tuple[Samples, ...]:
    """From the 202 to the function's first line, in ms, when nothing else goes on."""
    (name,) = stage.names(1)
    medians: list[float] = []
    slowest: list[float] = []
    with stage.deployed([name], "handlers.started", memory_size=WHOLE_CPU) as service:
        for _ in range(-1, stage.rounds):
            found = delays(service, name, 100 if stage.quick else 200)
            medians.append(percentile(found, 0.5))
            slowest.append(percentile(found, 0.99))
    return Samples(tuple(medians[1:])), Samples(tuple(slowest[1:]))


def fairness(stage: Stage) -> tuple[Samples, ...]:
    """What each trouble adds to the p99 of another function's delay, in ms."""
    (victim,) = stage.names(1)
    slowest: dict[str, list[float]] = {"": [], **{trouble: [] for trouble in TROUBLES}}
    with TemporaryDirectory(prefix="lamplighter-bench-") as place:
        places = {trouble: str(Path(place, str(number))) for number, trouble in enumerate(slowest)}
        _deploy(stage, places[""], {victim: "handlers.started"})
        for trouble, (handler, number) in TROUBLES.items():
            _deploy(stage, places[trouble], {victim: "handlers.started", "bench-trouble": handler})
            _fill(places[trouble], "bench-trouble", number // (10 if stage.quick else 1))
        for _ in range(stage.rounds):
            for trouble, found in slowest.items():
                with stage.own_service(places[trouble]) as service:
                    delays(service, victim, 50)  # makes its environments, and gives the trouble time to begin
                    found.append(percentile(delays(service, victim, 100 if stage.quick else 300), 0.99))
    quiet = slowest.pop("")
    return tuple(
        Samples(tuple(ours - base for ours, base in zip(found, quiet, strict=True))) for found in slowest.values()
    )


@dataclass(frozen=True, slots=True)
class Held:
    """MB, in the service's own process and in all of them."""

    service: float
    everything: float

    def most(self, other: "Held") -> "Held":
        return Held(max(self.service, other.service), max(self.everything, other.everything))

    def beyond(self, other: "Held") -> "Held":
        return Held(self.service - other.service, self.everything - other.everything)


def backlog(stage: Stage) -> tuple[Samples, ...]:
    """With a million events waiting: memory above that without any, while they run; the start, after an orderly end and
    after kill -9 in the middle of them; how long `lamplighter queue` takes."""
    number = (MILLION + RUN_MEANWHILE) // (10 if stage.quick else 1)
    (name,) = stage.names(1)
    held: list[Held] = []
    starts: dict[int, list[float]] = {0: [], number: []}
    again: list[float] = []
    looks: list[float] = []
    with TemporaryDirectory(prefix="lamplighter-bench-") as place:
        for waiting in starts:
            data = str(Path(place, str(waiting)))
            _deploy(stage, data, {name: "handlers.echo"})
            _fill(data, name, waiting)
        for _ in range(stage.rounds):
            memory: dict[int, Held] = {}
            for waiting in starts:
                data = str(Path(place, str(waiting)))
                with stage.own_service(data) as service:
                    starts[waiting].append(service.seconds_to_ready)
                    if not waiting:
                        service.invoke(name)
                    memory[waiting] = _most_held(service, stage.seconds)
                    if waiting:
                        looks.append(_look(data))
                        os.kill(service.pid, signal.SIGKILL)
            with stage.own_service(str(Path(place, str(number)))) as service:
                again.append(service.seconds_to_ready)
                memory[number] = memory[number].most(_most_held(service, stage.seconds))
            held.append(memory[number].beyond(memory[0]))
    none = tuple(starts[0])
    return (
        Samples(tuple(one.service for one in held)),
        Samples(tuple(one.everything for one in held)),
        Samples(tuple(starts[number]), none),
        Samples(tuple(again), none),
        Samples(tuple(looks)),
    )


def _calls(stage: Stage, service: Service, names: Sequence[str], kind: str) -> Result:
    requests = tuple(service.signed("POST", path_of(name), PAYLOAD, X_Amz_Invocation_Type=kind) for name in names)
    return stage.load.run(stage.plan_of(service, requests, CLIENTS))


def _deploy(stage: Stage, data: str, functions: dict[str, str]) -> None:
    """A data directory with these functions, by their handlers."""
    with stage.own_service(data) as service:
        for name, handler in functions.items():
            content, settings = package(handler=handler)
            service.create(name, content, **settings, MemorySize=WHOLE_CPU)
        service.wait_until_active(functions)


def _fill(data: str, name: str, number: int) -> None:
    """So many events of a function, accepted now, as the service would have stored them. It must be down."""
    asyncio.run(_enqueue(DataDirectory(Path(data)).events, name, number))


async def _enqueue(path: Path, name: str, number: int) -> None:
    clock, function = SystemClock(), FunctionId("000000000000", "us-east-1", name)
    ids, database = Ids(clock), Database(path)
    queue = SqliteEventQueue(database)
    try:
        for start in range(0, number, 1024):
            events = [
                invocation_event(
                    function, Invocation(ids.request_id(), PAYLOAD, function.arn, ids.trace()), clock.now()
                )
                for _ in range(min(1024, number - start))
            ]
            await queue.enqueue(*events)
    finally:
        await queue.close()
        await database.close()


def _left(service: Service) -> int:
    with closing(sqlite3.connect(f"{DataDirectory(service.data).events.as_uri()}?mode=ro", uri=True)) as connection:
        ((count,),) = connection.execute("SELECT count(*) FROM events")
        return count


def _wait_until_left(service: Service, number: int) -> None:
    """Until no more than so many events wait."""
    deadline = monotonic() + PATIENCE
    while (left := _left(service)) > number:
        if monotonic() > deadline:
            raise Unavailable(f"{left} events are still waiting after {PATIENCE:.0f} s")
        sleep(0.02)


def _most_held(service: Service, seconds: float) -> Held:
    """The most in so many seconds."""
    until, most = monotonic() + seconds, Held(0, 0)
    while monotonic() < until:
        most = most.most(Held(megabytes([service.pid]), megabytes(tree(service.pid))))
        sleep(0.1)
    return most


def _look(data: str) -> float:
    began = perf_counter()
    subprocess.run([*COMMAND, "queue", "--data-dir", data], capture_output=True, check=True, timeout=PATIENCE)
    return perf_counter() - began
