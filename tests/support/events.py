"""Asynchronous invocation as `app.py` puts it together, on a real database and with time in the test's hand; only the
functions are played by the test, and what is delivered stays here."""

import asyncio
import json
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

from lamplighter.events import destinations, envelope
from lamplighter.events.accept import Acceptance
from lamplighter.events.deliveries import Deliveries
from lamplighter.events.destinations import Delivery, Targets
from lamplighter.events.dispatcher import Dispatcher
from lamplighter.events.rounds import Rounds
from lamplighter.events.rules import Rules
from lamplighter.invoke.assignment import InProcessAssignment
from lamplighter.invoke.invoker import Invoker
from lamplighter.invoke.limits import Limits
from lamplighter.invoke.reservations import follow_reservations
from lamplighter.model.clock import Clock
from lamplighter.model.functions import FunctionId, FunctionVersion
from lamplighter.model.invocation import Invocation, Outcome
from lamplighter.store.database import Database
from lamplighter.store.events import SqliteEventQueue
from lamplighter.worker.contract import Initialization, TooLate
from lamplighter.worker.stream import Stream
from support.control import ACCOUNT, REGION, ControlPlane, ManualClock, control_plane, function_id

TRACE = "Root=1-65f0c0de-0123456789abcdef01234567;Parent=0123456789abcdef;Sampled=0"
FAILED = Outcome(b'{"errorMessage": "no luck", "errorType": "Exception"}', "Unhandled")

Handler = Callable[[FunctionVersion, Invocation], Awaitable[Outcome]]


class _Environment:
    """Runs a test's handler."""

    def __init__(self, function: FunctionVersion, handler: Handler, clock: Clock) -> None:
        self.function = function
        self.alive = True
        self.born = float("inf")  # never too old
        self.busy = False
        self._handler = handler
        self._clock = clock

    async def run(self, invocation: Invocation, stream: Stream | None = None) -> Outcome:
        if invocation.latest is not None and self._clock.now() >= invocation.latest:
            raise TooLate
        return await self._handler(self.function, invocation)

    @property
    def warm(self) -> bool:
        return self.alive

    async def initialized(self) -> bool:
        return self.alive

    def when_free(self, callback: Callable[[], None]) -> None:
        raise AssertionError("never busy after its answer")

    async def end(self) -> None:
        self.alive = False


class _Workers:
    def __init__(self, handler: Handler, clock: Clock, starting: Callable[[], Awaitable[None]] | None) -> None:
        self._handler = handler
        self._clock = clock
        self._starting = starting

    async def start(self, function: FunctionVersion, initialization: Initialization = "on-demand") -> _Environment:
        if self._starting is not None:
            await self._starting()
        return _Environment(function, self._handler, self._clock)

    async def close(self) -> None: ...


class _Kept(Targets):
    """Takes everything, unless it is told to fail."""

    def __init__(self) -> None:
        super().__init__(None, None, None, None)
        self.taken: list[Delivery] = []
        self.failures: list[Exception] = []  # of the next ones

    async def deliver(self, delivery: Delivery) -> None:
        if self.failures:
            raise self.failures.pop(0)
        self.taken.append(delivery)


@dataclass
class Scene:
    plane: ControlPlane
    clock: ManualClock
    database: Database
    queue: SqliteEventQueue
    rounds: Rounds
    limits: Limits
    invoker: Invoker
    acceptance: Acceptance
    targets: _Kept
    ran: list[tuple[str, Invocation]] = field(default_factory=list[tuple[str, Invocation]])  # version and invocation
    measured: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])  # metric and function

    async def function(self, name: str, **members: Any) -> FunctionId:
        await self.plane.create(name, **members)
        await self.plane.settled(name)
        return function_id(name)

    async def accept(self, name: str, payload: bytes = b"{}", qualifier: str | None = None, trace: str = TRACE) -> str:
        """The request id."""
        id = function_id(name)
        arn = id.arn if qualifier is None else f"{id.arn}:{qualifier}"
        invocation = Invocation(str(uuid4()), payload, arn, trace)
        await self.acceptance.accept(await self.invoker.resolve(id, qualifier), invocation)
        return invocation.request_id

    async def move(self, seconds: float) -> None:
        """Time passes, and what is due by then gets its chance."""
        self.clock.time += seconds
        self.rounds.look()
        await settled()

    async def ran_times(self, count: int) -> None:
        await until(lambda: len(self.ran) >= count, f"{count} runs, there were {len(self.ran)}")
        await settled()
        assert len(self.ran) == count

    async def empty(self) -> None:
        async with asyncio.timeout(20):
            while await self.queue.queues():  # noqa: ASYNC110  # nothing announces it
                await asyncio.sleep(0.002)

    def records(self) -> list[dict[str, Any]]:
        """What destinations got."""
        return [json.loads(delivery.body) for delivery in self.targets.taken if delivery.kind == "destination"]

    def letters(self) -> list[Delivery]:
        return [delivery for delivery in self.targets.taken if delivery.kind == "dead_letter"]

    async def configure(self, name: str, **members: Any) -> None:
        await self.plane.call("PutFunctionEventInvokeConfig", FunctionName=name, **members)


async def succeed(function: FunctionVersion, invocation: Invocation) -> Outcome:
    return Outcome(invocation.payload)


async def fail(function: FunctionVersion, invocation: Invocation) -> Outcome:
    return FAILED


@asynccontextmanager
async def scene(
    path: Path,
    handler: Handler = succeed,
    *,
    clock: ManualClock | None = None,
    account_limit: int = 1000,
    starting: Callable[[], Awaitable[None]] | None = None,
) -> AsyncGenerator[Scene]:
    """`starting`: what making an environment takes."""
    clock = clock or ManualClock()

    async def noted(function: FunctionVersion, invocation: Invocation) -> Outcome:
        made.ran.append((function.version, invocation))
        return await handler(function, invocation)

    def measure(metric: str, function: FunctionId, value: float, arn: str) -> None:
        made.measured.append((metric, function.name))

    async with AsyncExitStack() as stack:
        plane = await stack.enter_async_context(control_plane(path, clock))
        limits = Limits(account_limit)
        follow_reservations(limits, plane.records, plane.database, ACCOUNT, REGION)
        assignment = InProcessAssignment(_Workers(noted, clock, starting), clock, limits)
        stack.push_async_callback(assignment.close)
        invoker = Invoker(plane.stored, plane.records, plane.database, assignment, clock=clock)
        stack.push_async_callback(invoker.close)
        database = Database(plane.directory.events)
        stack.push_async_callback(database.close)
        queue = SqliteEventQueue(database, patience=0.0)
        stack.push_async_callback(queue.close)
        targets = _Kept()
        rules = Rules(plane.records, plane.database)
        works = {
            envelope.PREFIX: Dispatcher(invoker, limits, plane.records, rules, clock, measure),
            destinations.PREFIX: Deliveries(targets, clock, measure),
        }
        rounds = Rounds(queue, works, clock)
        acceptance = Acceptance(queue, clock, measure)
        made = Scene(plane, clock, database, queue, rounds, limits, invoker, acceptance, targets)
        await stack.enter_async_context(rounds)
        yield made


async def until(condition: Callable[[], object], what: str = "the condition") -> None:
    """Wait for a condition that nothing announces."""
    try:
        async with asyncio.timeout(20):
            while not condition():  # noqa: ASYNC110  # nothing announces it
                await asyncio.sleep(0.002)
    except TimeoutError:
        raise AssertionError(f"not within 20 s: {what}") from None


async def settled() -> None:
    """A few turns of the loop and of the writer: for what should not happen to have its chance."""
    for _ in range(5):
        await asyncio.sleep(0.004)
