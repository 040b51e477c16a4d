"""What measurements share: the load generator, the service, and rounds in which two sides take turns."""

from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from itertools import count
from math import ceil
from types import TracebackType
from typing import Protocol, Self

from bench.figures import Samples, percentile
from bench.floor import floor
from bench.load import SECOND, Load, LoadError, Plan, Result
from bench.program import Unavailable
from bench.service import WHOLE_CPU, Service, service, service_on

SMALL = tuple(b'{"order": %d, "customer": "Ada Lovelace", "items": [1, 2, 3]}' % number for number in range(512))

MAKING = 6.0  # seconds of calls, so that every function has as many environments as callers ever meet at it

Measure = Callable[[Result], float]


def latency(share: float) -> Measure:
    """The percentile in ms: share 0.5 is the median, 0.99 the p99."""
    return lambda result: percentile(result.latencies, share) * 1000 / SECOND


class Side(Protocol):
    """Something that answers Invoke."""

    port: int

    def requests(self, names: Sequence[str], bodies: Sequence[bytes]) -> tuple[bytes, ...]: ...


@dataclass(frozen=True, slots=True)
class Work:
    """Who calls what: `connections` callers, so many functions in turn, with these events."""

    connections: int = 1
    functions: int = 1
    bodies: tuple[bytes, ...] = SMALL
    client: str = "lean"  # the runtime client: the leanest there is, or AWS's own, "awslambdaric"


class Stage:
    """`quick`: fewer and shorter rounds, to see that all works. `only_floor`: there is no service to measure."""

    def __init__(self, quick: bool, only_floor: bool = False) -> None:
        self.quick = quick
        self.rounds = 3 if quick else 5
        self.seconds = 0.7 if quick else 3.0  # of each round
        self.warm_up = 0.5 if quick else 1.0
        self._numbers = count(1)
        self._missing = "not asked for" if only_floor else ""
        self._service: Service | None = None

    def __enter__(self) -> Self:
        self._stack = ExitStack()
        self.load = self._stack.enter_context(Load())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    @property
    def service(self) -> Service:
        """Shared by all measurements that don't need one of their own. Raises Unavailable, after one attempt."""
        if self._service is None:
            if self._missing:
                raise Unavailable(self._missing)
            try:
                self._service = self._stack.enter_context(service())
            except Unavailable as error:
                self._missing = str(error)
                raise
        return self._service

    @contextmanager
    def own_service(self, data: str | None = None) -> Generator[Service]:
        """One that nobody has called yet. `data`: a data directory that has something in it already, and stays."""
        if self._missing:
            raise Unavailable(self._missing)
        with service() if data is None else service_on(data) as started:
            yield started

    def names(self, number: int) -> list[str]:
        """New ones, so that no measurement meets what another left."""
        return [f"bench-{next(self._numbers)}" for _ in range(number)]

    def plan(self, side: Side, names: Sequence[str], work: Work) -> Plan:
        """To be run soon: signatures age."""
        return self.plan_of(side, side.requests(names, work.bodies), work.connections)

    def plan_of(self, side: Side, requests: tuple[bytes, ...], connections: int) -> Plan:
        return Plan(side.port, requests, connections, self.seconds, warm_up=self.warm_up)

    def beside_floor(self, work: Work, *measures: Measure) -> tuple[Samples, ...]:
        """Ours and the floor in turn, and who goes first alternates. One Samples for each measure.

        What of ours can't be measured leaves the floor's figures and the reason."""
        names = self.names(work.functions)
        # Of several functions each has more runtimes than its share of callers: they meet at one by chance.
        runtimes = work.connections if work.functions == 1 else ceil(work.connections / work.functions) + 2
        results: dict[str, list[Result]] = {"floor": [], "ours": []}
        missing = ""
        with ExitStack() as stack:
            sides: dict[str, Side] = {"floor": stack.enter_context(floor(names, runtimes, work.client))}
            try:
                # A whole CPU for each function, since nobody limits the floor's.
                stack.enter_context(self.deployed(names, client=work.client, memory_size=WHOLE_CPU))
                sides["ours"] = self.service
            except Unavailable as error:
                missing = str(error)
            for number in range(-1, self.rounds):
                for name in sorted(sides, reverse=bool(number % 2)):
                    plan = self.plan(sides[name], names, work)
                    try:
                        if number >= 0:
                            results[name].append(self.load.run(plan))
                        elif name == "ours":  # before the first: the floor has its runtimes, ours are made for callers
                            self.load.run(replace(plan, seconds=MAKING if work.connections > 1 else plan.seconds))
                    except LoadError as error:
                        if name == "floor":
                            raise
                        missing = str(error)
                        del sides[name]
        ours = [] if missing else results["ours"]
        return tuple(
            Samples(tuple(map(measure, ours)), tuple(map(measure, results["floor"])), missing) for measure in measures
        )

    @contextmanager
    def deployed(
        self, names: Sequence[str], handler: str = "handlers.echo", client: str = "lean", memory_size: int = 128
    ) -> Generator[Service]:
        """Functions of the shared service, for as long as the block lasts."""
        running = self.service
        if client != "lean":
            (probe,) = self.names(1)
            with running.functions([probe], "handlers.client", client):
                if running.invoke(probe) != f'"{client}"'.encode():
                    raise Unavailable(f"{client} is not what runs the function")
        with running.functions(names, handler, client, memory_size):
            yield running
