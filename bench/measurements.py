"""The table of what is measured, and what is promised of it. To add a figure: a function, and a line in MEASUREMENTS.

A function gets the stage and returns one Samples for each figure of its line. What it can't measure it says by raising
Unavailable or LoadError; the table then shows the reason.
"""

import socket
import threading
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from time import monotonic, sleep

from bench import control, events, logs, snapstart, waiting
from bench.figures import Figure, Limit, Samples, at_least, at_most, percentile, ratio_at_least, ratio_at_most
from bench.floor import floor
from bench.load import HOST, SECOND, Load, LoadError, Plan, Result
from bench.memory import has_code, megabytes, tree
from bench.program import Unavailable
from bench.service import WHOLE_CPU, Service
from bench.stage import SMALL, Side, Stage, Work, latency

SETTLE = 30.0  # seconds for processes to come and go
HUGE = b'"%s"' % (b"x" * 6_000_000)
NOW_AND_THEN = 0.3  # seconds between such payloads
BURST = b'{"seconds": 1}'
P50, P99 = latency(0.5), latency(0.99)


@dataclass(frozen=True, slots=True)
class Measurement:
    name: str
    measure: Callable[[Stage], tuple[Samples, ...]]
    figures: tuple[Figure, ...]


def warm(stage: Stage, client: str = "lean") -> tuple[Samples, ...]:
    """One caller, one call after the other."""
    return stage.beside_floor(Work(client=client), P50, P99)


def throughput(stage: Stage, connections: int, functions: int = 1, client: str = "lean") -> tuple[Samples, ...]:
    return stage.beside_floor(Work(connections, functions, client=client), lambda result: result.per_second)


def payload(stage: Stage, size: int) -> tuple[Samples, ...]:
    """As much in as out; `size` in bytes, the quotes included."""
    bodies = (b'"%s"' % (b"x" * (size - 2)),) * 2
    return stage.beside_floor(Work(4, bodies=bodies), lambda result: result.megabytes_per_second)


def cold(stage: Stage, handler: str = "handlers.echo") -> tuple[Samples, ...]:
    """First calls of functions made beforehand: each makes an environment, one after the other."""
    results: list[Result] = []
    for _ in range(stage.rounds):
        names = stage.names(10 if stage.quick else 40)
        with stage.deployed(names, handler) as service:
            results.append(_once_each(stage, service, names, SMALL[: len(names)]))
    together = [latency for result in results for latency in result.latencies]
    return Samples(tuple(map(P50, results))), Samples((percentile(together, 0.99) * 1000 / SECOND,))


def cold_at_once(stage: Stage) -> tuple[Samples, ...]:
    """Ten first calls of one function at the same moment; they all sleep, so that each needs an environment."""
    medians: list[float] = []
    for _ in range(stage.rounds):
        names = stage.names(1)
        with stage.deployed(names, "handlers.sleep") as service:
            result = _once_each(stage, service, names, (b'{"seconds": 0.3}',) * 10, at_once=True)
            medians.append(P50(result) - 300)
    return (Samples(tuple(medians)),)


def burst(stage: Stage) -> tuple[Samples, ...]:
    """200 first calls of one function at once, which sleeps a second: how long until the last is answered."""
    seconds: list[float] = []
    for _ in range(1 if stage.quick else 3):
        names = stage.names(1)
        with stage.deployed(names, "handlers.sleep") as service:
            seconds.append(_once_each(stage, service, names, (BURST,) * 200, at_once=True).seconds)
            _wait_until_settled(service)
    return (Samples(tuple(seconds)),)


def start(stage: Stage) -> tuple[Samples, ...]:
    """From the command to the line that says it is ready, with an empty data directory."""
    seconds: list[float] = []
    for _ in range(stage.rounds):
        with stage.own_service() as service:
            seconds.append(service.seconds_to_ready)
    return (Samples(tuple(seconds)),)


def memory(stage: Stage) -> tuple[Samples, ...]:
    """The service with all its processes before its first call, then twenty environments of a small function."""
    number = 20
    with stage.own_service() as service:
        idle = _wait_until_settled(service)
        held = Samples((megabytes(idle),)), Samples((megabytes([service.pid], "Rss"),))
        names = stage.names(number)
        with service.functions(names):
            for name in names:
                service.invoke(name)
            each = {pid: megabytes([pid]) for pid in _wait_until_settled(service) if has_code(pid)}
        ended = each.keys() - _wait_until_settled(service)  # their functions are gone, and they with them
        if len(ended) < number:
            raise Unavailable(f"only {len(ended)} processes ended with {number} functions")
        return *held, Samples((sum(each[pid] for pid in ended) / number,))


def crowd(stage: Stage) -> tuple[Samples, ...]:
    """One caller while 500 environments sit idle, compared with the same before there were any."""
    number = 500
    with stage.own_service() as service:
        crowd, names = stage.names(1), stage.names(1)
        with service.functions(crowd, "handlers.sleep"), service.functions(names):
            alone = stage.load.run(stage.plan(service, names, Work()))
            before = megabytes(tree(service.pid))
            _once_each(stage, service, crowd, (b'{"seconds": 10}',) * number, at_once=True)
            each = (megabytes(_wait_until_settled(service)) - before) / number
            crowded = stage.load.run(stage.plan(service, names, Work()))
    return Samples((P50(crowded),), (P50(alone),)), Samples((each,))


def beside(stage: Stage, trouble: Callable[[Stage, Service], AbstractContextManager[None]]) -> tuple[Samples, ...]:
    """One caller's p99 with somebody else's trouble, compared with the same without."""
    names = stage.names(1)
    quiet: list[float] = []
    disturbed: list[float] = []
    with stage.deployed(names, memory_size=WHOLE_CPU) as service:
        for _ in range(stage.rounds):
            quiet.append(P99(stage.load.run(stage.plan(service, names, Work()))))
            with trouble(stage, service):
                disturbed.append(P99(stage.load.run(stage.plan(service, names, Work()))))
    return (Samples(tuple(disturbed), tuple(quiet)),)


@contextmanager
def slow_client(stage: Stage, service: Service) -> Generator[None]:
    """Somebody sends a request byte by byte."""
    over = threading.Event()
    (request,) = service.requests(["nobody"], [b'"%s"' % (b"x" * 100_000)])

    def trickle() -> None:
        with socket.create_connection((HOST, service.port)) as connection:
            for byte in request:
                connection.send(bytes([byte]))
                if over.wait(0.01):
                    return

    thread = threading.Thread(target=trickle)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def beside_huge_payloads(stage: Stage) -> tuple[Samples, ...]:
    """One caller's p99 while somebody calls with 6 MB, now and then and without end: against the same without, and the
    latter also against the floor's beside the same, since three more processes want the processors whoever answers."""
    names, others = stage.names(1), stage.names(1)
    quiet: list[float] = []
    at_times: list[float] = []
    disturbed: list[float] = []
    bare: list[float] = []
    with stage.deployed([*names, *others], memory_size=WHOLE_CPU) as service, floor([*names, *others], 1) as relay:
        for _ in range(stage.rounds):
            quiet.append(P99(stage.load.run(stage.plan(service, names, Work()))))
            for side, pause, found in ((service, NOW_AND_THEN, at_times), (service, 0, disturbed), (relay, 0, bare)):
                with _calls(stage, side, others, HUGE, pause):
                    found.append(P99(stage.load.run(stage.plan(side, names, Work()))))
    beside = ((at_times, quiet), (disturbed, quiet), (disturbed, bare))
    return tuple(Samples(tuple(found), tuple(base)) for found, base in beside)


def log_flood(stage: Stage, service: Service) -> AbstractContextManager[None]:
    """Somebody's function writes a megabyte of log per call, again and again."""
    return _somebody_else(stage, service, "handlers.flood", b"{}")


@contextmanager
def _somebody_else(stage: Stage, service: Service, handler: str, body: bytes) -> Generator[None]:
    names = stage.names(1)
    with service.functions(names, handler, memory_size=WHOLE_CPU), _calls(stage, service, names, body):
        yield


@contextmanager
def _calls(stage: Stage, side: Side, names: list[str], body: bytes, pause: float = 0) -> Generator[None]:
    """By one more caller, for as long as one round."""
    with Load() as load:
        load.wait_until_it_stands()
        running = load.begin(replace(stage.plan(side, names, Work(bodies=(body,))), pause=pause))
        yield
        running.result(SETTLE)


def _once_each(
    stage: Stage, service: Service, names: list[str], bodies: tuple[bytes, ...], at_once: bool = False
) -> Result:
    """Each request once, one after the other or all at the same time."""
    requests = service.requests(names, bodies)
    connections = len(requests) if at_once else 1
    result = stage.load.run(Plan(service.port, requests, connections, seconds=SETTLE, count=len(requests)))
    if len(result.latencies) < len(requests):
        raise LoadError(f"only {len(result.latencies)} of {len(requests)} calls in {SETTLE:.0f} s")
    return result


def _wait_until_settled(service: Service) -> set[int]:
    """Its processes, once they have been the same for a second: spare ones are made and ended in the background."""
    deadline = monotonic() + SETTLE
    known: set[int] = set()
    since = monotonic()
    while monotonic() < deadline:
        now = tree(service.pid)
        if now != known:
            known, since = now, monotonic()
        elif monotonic() - since > 1:
            return known
        sleep(0.05)
    raise Unavailable(f"processes still come and go after {SETTLE:.0f} s")


def _pair(name: str, unit: str, *limits: tuple[Limit | None, Limit | None]) -> tuple[Figure, ...]:
    """Two figures of the same calls: p50 and p99."""
    return tuple(Figure(f"{name}, {what}", unit, *limit) for what, limit in zip(("p50", "p99"), limits, strict=True))


_SHARE = ratio_at_least(0.40), ratio_at_least(0.60)
_BYTES = None, ratio_at_least(0.50)
_BESIDE = None, ratio_at_most(2.0)

MEASUREMENTS = (
    Measurement(
        "warm",
        warm,
        _pair("warm, one client", "ms", (ratio_at_most(2.5), ratio_at_most(2.0)), (None, ratio_at_most(3.0))),
    ),
    Measurement(
        "throughput-16",
        partial(throughput, connections=16),
        (Figure("throughput, 16 clients", "/s", *_SHARE),),
    ),
    Measurement(
        "throughput-64",
        partial(throughput, connections=64),
        (Figure("throughput, 64 clients", "/s", None, ratio_at_least(0.60)),),
    ),
    Measurement(
        "functions-20",
        partial(throughput, connections=16, functions=20),
        (Figure("throughput, 16 clients, 20 functions", "/s", None, ratio_at_least(0.50)),),
    ),
    Measurement(
        "functions-20-64",
        partial(throughput, connections=64, functions=20),
        (Figure("throughput, 64 clients, 20 functions", "/s", None, ratio_at_least(0.50)),),
    ),
    Measurement(
        "awslambdaric",
        partial(warm, client="awslambdaric"),
        _pair("awslambdaric, one client", "ms", (None, None), (None, None)),
    ),
    Measurement(
        "awslambdaric-16",
        partial(throughput, connections=16, client="awslambdaric"),
        (Figure("awslambdaric, 16 clients", "/s", None, ratio_at_least(0.70)),),
    ),
    Measurement("payload-1mb", partial(payload, size=1 << 20), (Figure("1 MB both ways", "MB/s", *_BYTES),)),
    Measurement("payload-6mb", partial(payload, size=6 << 20), (Figure("6 MB both ways", "MB/s", *_BYTES),)),
    Measurement("cold", cold, _pair("cold", "ms", (at_most(20), at_most(15)), (None, at_most(40)))),
    Measurement(
        "cold-boto3",
        partial(cold, handler="sdk.echo"),
        _pair("cold with an S3 client of boto3", "ms", (None, at_most(25)), (None, None)),
    ),
    Measurement(
        "cold-nodejs",
        partial(waiting.starts, language="nodejs"),
        _pair("cold, Node.js, from a process that waits", "ms", (at_most(60), None), (None, None)),
    ),
    Measurement(
        "cold-java",
        partial(waiting.starts, language="java"),
        _pair("cold, Java, from a process that waits", "ms", (at_most(150), None), (None, None)),
    ),
    Measurement(
        "snapstart",
        snapstart.starts,
        _pair("first call from a snapshot, after an init of 2 s", "ms", (None, at_most(30)), (None, None)),
    ),
    Measurement("cold-at-once", cold_at_once, (Figure("cold, ten at once, p50", "ms"),)),
    Measurement("burst", burst, (Figure("200 first calls that sleep 1 s, all answered", "s", None, at_most(5)),)),
    Measurement("start", start, (Figure("start to ready", "s", at_most(1.0)),)),
    Measurement(
        "memory",
        memory,
        (
            Figure("idle service, PSS of all its processes", "MB", at_most(100)),
            Figure("idle service, RSS of the one that serves", "MB", at_most(100)),
            Figure("idle environment, PSS", "MB", at_most(12), at_most(8)),
        ),
    ),
    Measurement(
        "crowd",
        crowd,
        (
            Figure("500 idle environments: p50 against none", "ms", None, ratio_at_most(1.5)),
            Figure("each of them adds, PSS", "MB", None, at_most(8)),
        ),
    ),
    Measurement(
        "slow-client",
        partial(beside, trouble=slow_client),
        (Figure("p99 beside a slow client, against none", "ms", *_BESIDE),),
    ),
    Measurement(
        "huge-payload",
        beside_huge_payloads,
        (
            Figure("p99 beside a 6 MB payload now and then, against none", "ms", *_BESIDE),
            Figure("p99 beside 6 MB payloads, against none", "ms", *_BESIDE),
            Figure("p99 beside 6 MB payloads, against the floor's beside them", "ms", *_BESIDE),
        ),
    ),
    Measurement(
        "log-flood",
        partial(beside, trouble=log_flood),
        (Figure("p99 beside a log flood, against none", "ms", *_BESIDE),),
    ),
    Measurement(
        "logs",
        lambda stage: logs.cost(stage, "--logs"),
        (
            Figure("warm with logs, against without, p50", "ms", ratio_at_most(1.05)),
            Figure("warm with logs, against without, p99", "ms"),
            Figure("throughput with logs, against without, 16 clients", "/s", ratio_at_least(0.95)),
        ),
    ),
    Measurement(
        "telemetry",
        lambda stage: logs.cost(stage, "--logs", "--metering", "--metrics"),
        (
            Figure("warm with logs, metering and metrics, against without, p50", "ms", ratio_at_most(1.1)),
            Figure("warm with logs, metering and metrics, against without, p99", "ms"),
            Figure("throughput with logs, metering and metrics, against none, 16 clients", "/s", ratio_at_least(0.9)),
        ),
    ),
    Measurement(
        "logs-filter",
        logs.filters,
        tuple(Figure(f"the last hour of 1 GB of logs, by {kind}", "s", at_most(1.0)) for kind in logs.PATTERNS),
    ),
    Measurement(
        "events-accept",
        events.accepting,
        (Figure("events accepted, 32 clients, against synchronous calls", "/s", ratio_at_least(0.5)),),
    ),
    Measurement(
        "events-drain",
        events.draining,
        (Figure("events of a backlog run, against synchronous calls by 32 clients", "/s", ratio_at_least(0.7)),),
    ),
    Measurement("events-delay", events.delay, _pair("accepted to started", "ms", (at_most(10), None), (None, None))),
    Measurement(
        "events-fairness",
        events.fairness,
        tuple(
            Figure(f"accepted to started beside {trouble}, p99 added", "ms", at_most(100))
            for trouble in events.TROUBLES
        ),
    ),
    Measurement(
        "events-backlog",
        events.backlog,
        (
            Figure("1,000,000 events waiting and running, PSS added to the service's process", "MB", at_most(50)),
            Figure("the same, added to all processes, with the environments that run them", "MB", at_most(150)),
            Figure("start to ready with 1,000,000 events, against none", "s", at_most(2.0)),
            Figure("the same after kill -9 in the middle of them", "s", at_most(2.0)),
            Figure("lamplighter queue with 1,000,000 events", "s"),
        ),
    ),
    Measurement(
        "control-calls",
        control.calls,
        tuple(Figure(f"{call}, p50", "ms", at_most(5)) for call in control.CALLS),
    ),
    Measurement("control-reads", control.reads, (Figure("reads, 16 clients", "/s", at_least(500)),)),
    Measurement(
        "many-functions",
        control.many_functions,
        tuple(
            Figure(f"{what} with {control.MANY:,} functions, against {control.FEW}", unit, limit)
            for what, unit, limit in (
                ("a page of ListFunctions", "ms", ratio_at_most(1.5)),
                ("first calls after a start", "ms", ratio_at_most(1.5)),
                ("warm calls", "ms", ratio_at_most(1.25)),
                ("start to ready", "s", None),
            )
        ),
    ),
)
