"""Environments and workers that do nothing by themselves: a test says what happens, and when."""

import asyncio
from collections.abc import Callable
from dataclasses import replace

from lamplighter.model.functions import CodePackage, FunctionId, FunctionVersion
from lamplighter.model.invocation import Invocation, Outcome
from lamplighter.worker.contract import Initialization, WorkerError
from lamplighter.worker.stream import Stream


class HeldClock:
    """Time stands still unless it is moved."""

    def __init__(self) -> None:
        self.time = 1_790_000_000.0

    def now(self) -> float:
        return self.time

    def monotonic(self) -> float:
        return self.time

    def move(self, seconds: float) -> None:
        self.time += seconds


def version(name: str = "f", number: str = "$LATEST", generation: int = 1, **members: object) -> FunctionVersion:
    usual = FunctionVersion(
        id=FunctionId("000000000000", "us-east-1", name),
        version=number,
        generation=generation,
        revision="r",
        role="arn:aws:iam::000000000000:role/r",
        code=CodePackage("0" * 64, 1),
        runtime="python3.12",
        handler="app.handler",
        last_modified="2026-01-02T03:04:05.678+0000",
        state="Active",
    )
    return replace(usual, **members)  # pyright: ignore[reportArgumentType]  # a test's own business


def invocation(payload: bytes = b"{}", **members: object) -> Invocation:
    return Invocation(
        "8a6f3f3c-0000-4000-8000-000000000001",
        payload,
        "arn:aws:lambda:us-east-1:000000000000:function:f",
        "Root=1-65f0c0de-0123456789abcdef01234567;Parent=0123456789abcdef;Sampled=0",
        **members,  # pyright: ignore[reportArgumentType]
    )


class HeldEnvironment:
    def __init__(self, function: FunctionVersion) -> None:
        self.function = function
        self.alive = True
        self.born = float("inf")  # never too old
        self.busy = False
        self.ended = False
        self.lingers = False  # stays busy after its answer, until `settle`
        self.fresh = True  # initialised
        self.initialization: Initialization = "on-demand"
        self._answer: asyncio.Future[Outcome] | None = None
        self._on_free: Callable[[], None] | None = None

    @property
    def warm(self) -> bool:
        return self.alive and self.fresh and not self.busy

    async def initialized(self) -> bool:
        return self.warm

    async def run(self, invocation: Invocation, stream: Stream | None = None) -> Outcome:
        assert self.alive
        assert not self.busy
        self.busy = True
        self._answer = asyncio.get_running_loop().create_future()
        try:
            return await self._answer
        except asyncio.CancelledError:
            self.die()
            raise

    def answer(self, lingers: bool = False) -> None:
        assert self._answer is not None
        self._answer.set_result(Outcome(b"1"))
        if not lingers:
            self.settle()

    def settle(self) -> None:
        self.busy = False
        if self._on_free is not None:
            callback, self._on_free = self._on_free, None
            callback()

    def die(self) -> None:
        """Whether in an invocation or idle."""
        self.alive = False
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(Outcome(b"{}", "Unhandled"))
        self.settle()

    def crash(self) -> None:
        """In an invocation; the next one would have to wait for an init."""
        self.fresh = False
        assert self._answer is not None
        self._answer.set_result(Outcome(b"{}", "Unhandled"))
        self.settle()

    def when_free(self, callback: Callable[[], None]) -> None:
        self._on_free = callback

    async def end(self) -> None:
        self.alive = False
        self.ended = True


class HeldWorkers:
    """Cold starts finish when the test says so, or at once."""

    def __init__(self, at_once: bool = True) -> None:
        self.at_once = at_once
        self.environments: list[HeldEnvironment] = []
        self.asked: list[Initialization] = []
        self.starting: list[tuple[FunctionVersion, asyncio.Future[HeldEnvironment]]] = []
        self.init_works = True

    async def start(self, function: FunctionVersion, initialization: Initialization = "on-demand") -> HeldEnvironment:
        self.asked.append(initialization)
        if self.at_once:
            environment = self._made(function)
        else:
            start: asyncio.Future[HeldEnvironment] = asyncio.get_running_loop().create_future()
            self.starting.append((function, start))
            environment = await start
        environment.initialization = initialization
        return environment

    def finish(self, index: int = 0) -> None:
        function, start = self.starting.pop(index)
        if not start.done():
            start.set_result(self._made(function))

    def fail(self, index: int = 0) -> None:
        _, start = self.starting.pop(index)
        if not start.done():
            start.set_exception(WorkerError("no room"))

    def _made(self, function: FunctionVersion) -> HeldEnvironment:
        environment = HeldEnvironment(function)
        environment.fresh = self.init_works
        self.environments.append(environment)
        return environment

    async def close(self) -> None:
        pass
