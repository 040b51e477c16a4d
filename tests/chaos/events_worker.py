"""Lives of a process that accepts, runs and delivers events, each ended by kill -9 at a random moment; a program.

One process imports everything and forks the lives, so that hundreds take seconds. Time runs 200 times as fast, and is
the same for all lives. What happens is told in files that each life appends to, a line at a time: `accepted` once an
event is acknowledged, `ran` when a function is run, `delivered` when something reaches its target.

`events_worker.py DIRECTORY KILLS SEED`; the last life accepts nothing, and ends when every queue is empty.
"""

import asyncio
import os
import random
import signal
import sys
import time
from pathlib import Path
from typing import Any, NoReturn

import orjson

from lamplighter.events import destinations, envelope
from lamplighter.events.accept import Acceptance
from lamplighter.events.deliveries import Deliveries
from lamplighter.events.destinations import Delivery, Targets, Undeliverable
from lamplighter.events.dispatcher import Dispatcher
from lamplighter.events.rounds import Rounds
from lamplighter.invoke.limits import Limits
from lamplighter.model.event_invoke import EventRules
from lamplighter.model.functions import CodePackage, FunctionId, FunctionVersion
from lamplighter.model.ids import Ids
from lamplighter.model.invocation import Invocation, Outcome
from lamplighter.store.database import Database
from lamplighter.store.events import SqliteEventQueue
from lamplighter.worker.contract import TooLate, WorkerError

SPEED = 200
WHOLE = "."  # the last word of a line
PATIENCE = 100.0  # seconds, for what a busy machine may take
LETTERS = "arn:aws:sqs:us-east-1:000000000000:letters"
RECORDS = {side: f"arn:aws:sqs:us-east-1:000000000000:{side}" for side in ("OnSuccess", "OnFailure")}
RULES = {
    "good": EventRules(destinations=RECORDS),
    "bad": EventRules(destinations=RECORDS),  # fails at every attempt
    "once": EventRules(retries=0, destinations=RECORDS),  # the same, and is not retried
    "brief": EventRules(age=100, destinations=RECORDS),  # the same, and its second retry would come too late
    "away": EventRules(age=150, destinations=RECORDS),  # mostly can't be run, and may get too old
}


class Lines:
    """A file of lines that survive the death of whoever wrote them. A kill can cut one short where a page of the file
    ends: what begins a line of its own and lacks the mark of the end was never written."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def add(self, *words: object) -> None:
        os.write(self._file, f"\n{' '.join(map(str, words))} {WHOLE}\n".encode())


class FastClock:
    def __init__(self, began: float) -> None:
        self._began = began

    def now(self) -> float:
        return self._began + (time.clock_gettime(time.CLOCK_REALTIME) - self._began) * SPEED

    def monotonic(self) -> float:
        return time.monotonic() * SPEED


class Moment:
    """One, as a clock: so that it is known to the digit when an event was accepted."""

    def __init__(self, at: float) -> None:
        self._at = at

    def now(self) -> float:
        return self._at

    def monotonic(self) -> float:
        return time.monotonic()


class Functions:
    """What an Invoker would be."""

    def __init__(self, ran: Lines, clock: FastClock, chance: random.Random) -> None:
        self._ran = ran
        self._clock = clock
        self._chance = chance

    async def resolve(self, id: FunctionId, qualifier: str | None) -> FunctionVersion:
        code = CodePackage("0" * 64, 1)
        return FunctionVersion(id, "$LATEST", 1, "r", "", code, None, None, "", dead_letter_arn=LETTERS)

    async def invoke(self, function: FunctionVersion, invocation: Invocation) -> Outcome:
        if function.id.name == "away" and self._chance.random() < 0.9:
            raise WorkerError("no room")
        assert invocation.latest is not None
        if (now := self._clock.now()) >= invocation.latest:
            raise TooLate
        self._ran.add(function.id.name, invocation.request_id, now)
        await asyncio.sleep(self._chance.random() * 0.01)  # a life may end here
        return Outcome(b"1") if function.id.name in ("good", "away") else Outcome(b"{}", "Unhandled")


class Rules:
    def of(self, id: FunctionId, qualifier: str | None) -> EventRules:
        return RULES[id.name]


class Receivers(Targets):
    def __init__(self, delivered: Lines, chance: random.Random) -> None:
        super().__init__(None, None, None, None)
        self._delivered = delivered
        self._chance = chance

    async def deliver(self, delivery: Delivery) -> None:
        if self._chance.random() < 0.2:
            raise Undeliverable("away", again=True)
        told: dict[str, Any] = {"condition": "-", "approximateInvokeCount": "-"}
        if delivery.kind == "destination":
            told = orjson.loads(delivery.body)["requestContext"]
        target = delivery.target.rpartition(":")[2]
        self._delivered.add(target, delivery.request_id, told["condition"], told["approximateInvokeCount"])


async def live(directory: Path, began: float, seed: int, last: bool) -> None:
    clock, chance = FastClock(began), random.Random(seed)
    accepted, ran, delivered = (Lines(directory / name) for name in ("accepted", "ran", "delivered"))
    database = Database(directory / "events.db")
    queue = SqliteEventQueue(database)

    def unmeasured(metric: str, function: FunctionId, value: float, arn: str) -> None: ...

    functions: Any = Functions(ran, clock, chance)
    rules: Any = Rules()
    records: Any = None  # asked only for functions that are gone
    works = {
        envelope.PREFIX: Dispatcher(functions, Limits(), records, rules, clock, unmeasured),
        destinations.PREFIX: Deliveries(Receivers(delivered, chance), clock, unmeasured),
    }
    ids = Ids(clock)

    async def accept() -> NoReturn:
        while True:
            id = FunctionId("000000000000", "us-east-1", chance.choice(list(RULES)))
            invocation = Invocation(ids.request_id(), b"{}", id.arn, "Root=1-0-0")
            function, moment = await functions.resolve(id, None), Moment(clock.now())
            await Acceptance(queue, moment, unmeasured).accept(function, invocation)
            accepted.add(id.name, invocation.request_id, moment.now())
            await asyncio.sleep(chance.random() * 0.005)

    async with Rounds(queue, works, clock):
        if last:
            async with asyncio.timeout(PATIENCE):
                while await queue.queues():  # noqa: ASYNC110  # nothing announces it
                    await asyncio.sleep(0.05)
        else:
            await asyncio.gather(*(accept() for _ in range(3)))
    await queue.close()
    await database.close()


def wait_for_lines(path: Path, more: int, life: int) -> None:
    """Until a life has accepted so many events, however busy the machine is."""

    def size() -> int:
        return path.read_bytes().count(f" {WHOLE}\n".encode()) if path.exists() else 0

    wanted, deadline = size() + more, time.monotonic() + PATIENCE
    while size() < wanted:
        assert time.monotonic() < deadline, "a life accepts nothing"
        assert os.waitpid(life, os.WNOHANG) == (0, 0), "it ended on its own"
        time.sleep(0.002)


def main(directory: Path, kills: int, seed: int) -> None:
    chance, began = random.Random(seed), time.clock_gettime(time.CLOCK_REALTIME)
    for number in range(kills):
        life = os.fork()
        if not life:
            asyncio.run(live(directory, began, seed * 10_000 + number, last=False))
        if number % 3:  # the others end in their start, or wherever they are by then
            wait_for_lines(directory / "accepted", 2, life)
        time.sleep(0.01 + chance.random() * 0.06)
        os.kill(life, signal.SIGKILL)
        _, status = os.waitpid(life, 0)
        assert os.WTERMSIG(status) == signal.SIGKILL, "it ended on its own"
    asyncio.run(live(directory, began, seed, last=True))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
