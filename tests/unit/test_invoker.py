"""How the invoker finds what to run: by version or alias, from memory, and never what is no longer true."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from lamplighter.invoke.invoker import Invoker
from lamplighter.model.errors import ServiceError, TooManyRequestsException
from lamplighter.model.functions import FunctionVersion
from lamplighter.model.invocation import Invocation
from lamplighter.model.usage import Refused, Usage
from lamplighter.worker.contract import Environment
from support.control import ControlPlane, control_plane, function_id, run, until

ARN = "arn:aws:lambda:us-east-1:111111111111:function"
F = function_id("f")


class Retired:
    """An Assignment that only notes what it is told to retire."""

    def __init__(self) -> None:
        self.told: list[tuple[str, int | None]] = []

    def environment(self, function: FunctionVersion, paced: bool = False) -> AbstractAsyncContextManager[Environment]:
        raise AssertionError("nothing is run here")

    def retire(self, arn: str, keep_generation: int | None) -> None:
        self.told.append((arn, keep_generation))

    async def close(self) -> None: ...


@dataclass
class Scene:
    plane: ControlPlane
    invoker: Invoker
    assignment: Retired
    chances: list[float]  # of the next calls; then 0.99

    async def runs(self, qualifier: str | None) -> str:
        return (await self.invoker.resolve(F, qualifier)).version

    async def call(self, operation: str, **members: Any) -> dict[str, Any]:
        return await self.plane.call(operation, FunctionName="f", **members)


@asynccontextmanager
async def scene(path: Path, creation: float = 0.0) -> AsyncIterator[Scene]:
    """A function `f` with the versions 1 and 2."""
    async with control_plane(path, creation=creation) as plane:
        await plane.create("f")
        await plane.settled("f")
        await plane.call("PublishVersion", FunctionName="f")
        await plane.call("UpdateFunctionConfiguration", FunctionName="f", Timeout=9)
        await plane.settled("f")
        await plane.call("PublishVersion", FunctionName="f")
        assignment, chances = Retired(), list[float]()

        def chance() -> float:
            return chances.pop(0) if chances else 0.99

        invoker = Invoker(plane.stored, plane.records, plane.database, assignment, chance)
        yield Scene(plane, invoker, assignment, chances)
        await invoker.close()


async def refused(call: Coroutine[Any, Any, Any]) -> ServiceError:
    with pytest.raises(ServiceError) as caught:
        await call
    return caught.value


def test_an_alias_is_followed_where_it_moves(tmp_path: Path):
    async def main() -> None:
        async with scene(tmp_path) as s:
            await s.call("CreateAlias", Name="live", FunctionVersion="1")
            for _ in range(2):
                assert await s.runs("live") == "1"
            await s.call("UpdateAlias", Name="live", FunctionVersion="2")
            assert await s.runs("live") == "2"
            assert [await s.runs(qualifier) for qualifier in (None, "$LATEST", "1", "2")] == [
                "$LATEST",
                "$LATEST",
                "1",
                "2",
            ]

    run(main)


def test_an_alias_of_two_versions_is_decided_at_every_call(tmp_path: Path):
    async def main() -> None:
        async with scene(tmp_path) as s:
            routing = {"AdditionalVersionWeights": {"2": 0.25}}
            await s.call("CreateAlias", Name="live", FunctionVersion="1", RoutingConfig=routing)
            s.chances += [0.0, 0.24, 0.25, 0.9, 0.1]
            assert [await s.runs("live") for _ in range(5)] == ["2", "2", "1", "1", "2"]
            s.chances += [0.0]
            await s.call("UpdateAlias", Name="live", RoutingConfig={})
            assert [await s.runs("live") for _ in range(2)] == ["1", "1"]

    run(main)


def test_an_alias_without_weights_is_remembered_like_a_version(tmp_path: Path):
    async def main() -> None:
        async with scene(tmp_path) as s:
            await s.call("CreateAlias", Name="live", FunctionVersion="1")
            assert await s.invoker.resolve(F, "live") is await s.invoker.resolve(F, "live")

    run(main)


def test_what_is_not_there_is_named_as_it_was_asked_for(tmp_path: Path):
    async def main() -> None:
        async with scene(tmp_path) as s:
            await s.call("CreateAlias", Name="live", FunctionVersion="1")
            await s.runs("live")
            await s.call("DeleteAlias", Name="live")
            for qualifier in ("live", "7", "$LATEST.PUBLISHED", "valid-with-$-inside"):
                refusal = await refused(s.invoker.resolve(F, qualifier))
                assert (refusal.status, refusal.message) == (404, f"Function not found: {ARN}:f:{qualifier}")
            refusal = await refused(s.invoker.resolve(function_id("nobody"), None))
            assert refusal.message == f"Function not found: {ARN}:nobody:$LATEST"

    run(main)


def test_a_version_that_is_pending_cannot_run_by_its_alias_either(tmp_path: Path):
    async def main() -> None:
        async with scene(tmp_path, creation=0.2) as s:
            await s.call("UpdateFunctionConfiguration", SnapStart={"ApplyOn": "PublishedVersions"})
            await s.plane.settled("f")
            assert (await s.call("PublishVersion"))["State"] == "Pending"
            await s.call("CreateAlias", Name="live", FunctionVersion="3")
            refusal = await refused(s.invoker.resolve(F, "live"))
            assert (refusal.status, refusal.code) == (409, "SnapStartNotReadyException")
            await s.plane.settled("f", "3")
            assert await s.runs("live") == "3"

    run(main)


def test_moving_an_alias_ends_no_environment_but_deleting_a_version_does(tmp_path: Path):
    async def main() -> None:
        async with scene(tmp_path) as s:
            await s.call("CreateAlias", Name="live", FunctionVersion="1")
            generation = (await s.invoker.resolve(F, "live")).generation
            await s.call("UpdateAlias", Name="live", FunctionVersion="2")

            async def told() -> bool:
                return bool(s.assignment.told)

            await until(told)
            assert s.assignment.told == [(f"{ARN}:f:1", generation)]
            s.assignment.told.clear()
            await s.runs("1")
            await s.call("DeleteFunction", Qualifier="1")
            await until(told)
            assert s.assignment.told == [(f"{ARN}:f:1", None)]

    run(main)


def test_calls_and_moves_at_the_same_time_never_meet_a_version_that_is_gone(tmp_path: Path):
    async def main() -> None:
        async with scene(tmp_path) as s:
            await s.call("CreateAlias", Name="live", FunctionVersion="1")
            stop = asyncio.Event()

            async def caller() -> None:
                while not stop.is_set():
                    assert await s.runs("live") in ("1", "2")
                    await asyncio.sleep(0)

            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(caller())
                for version in "2121212":
                    await s.call("UpdateAlias", Name="live", FunctionVersion=version)
                    assert await s.runs("live") == version  # whoever moved it sees it moved
                await s.call("DeleteFunction", Qualifier="1")
                stop.set()

    run(main)


class Full(Retired):
    def environment(self, function: FunctionVersion, paced: bool = False) -> AbstractAsyncContextManager[Environment]:
        raise TooManyRequestsException("ConcurrentInvocationLimitExceeded")


def test_what_a_limit_refuses_is_told(tmp_path: Path):
    async def main() -> None:
        async with scene(tmp_path) as s:
            told: list[Usage] = []
            plane = s.plane
            invoker = Invoker(plane.stored, plane.records, plane.database, Full(), observe=told.append)
            function = await invoker.resolve(F, "2")
            called = Invocation("id", b"{}", f"{F.arn}:2", "Root=1-5759e988-bd862e3fe1be46a994272793")
            assert (await refused(invoker.invoke(function, called))).code == "TooManyRequestsException"
            (usage,) = told
            assert isinstance(usage, Refused)
            assert (usage.function, usage.version, usage.invoked_arn) == (F, "2", f"{F.arn}:2")
            assert usage.reason == "throttled"
            await invoker.close()

    run(main)
