import asyncio
from dataclasses import replace
from unittest import mock

from lamplighter.control.warming import Warming
from lamplighter.model.functions import FunctionVersion
from support.environments import version


class Plane:
    """The functions that there are, and who wants to hear of changes; what was made warm."""

    def __init__(self) -> None:
        self.functions: dict[str, FunctionVersion] = {}
        self.changes = mock.Mock()
        self.records = mock.Mock()
        self.records.view.return_value.version = self.functions.get
        self.warm: list[tuple[str, str, bool]] = []
        self.fails = False

    async def forks(self, function: FunctionVersion) -> str:
        await asyncio.sleep(0)
        if self.fails:
            raise OSError(5, "Input/output error", "/code")
        return f"{function.runtime}-sdk"

    def warming(self, *stored: FunctionVersion) -> Warming:
        def warm(function: FunctionVersion, server: str, first: bool) -> None:
            self.warm.append((function.id.name, server, first))

        return Warming(self.records, self.changes, self.forks, warm, stored)

    async def put(self, function: FunctionVersion) -> None:
        self.functions[function.id.name] = function
        self.changes.listen.call_args.args[0](function.id)
        for _ in range(5):
            await asyncio.sleep(0)


def deployed(name: str, **members: object) -> FunctionVersion:
    return replace(version(name), runtime="python3.11", **members)  # pyright: ignore[reportArgumentType]


def test_a_function_is_warm_once_it_can_be_invoked_and_once_for_each_generation() -> None:
    async def run() -> None:
        plane = Plane()
        async with plane.warming():
            await plane.put(deployed("f", state="Pending"))
            assert plane.warm == [("f", "python3.11", True)]
            await plane.put(deployed("f"))
            await plane.put(deployed("f", revision="another"))
            assert plane.warm[1:] == [("f", "python3.11-sdk", False)]
            await plane.put(deployed("f", generation=2, last_update_status="InProgress"))
            assert len(plane.warm) == 2
            await plane.put(deployed("f", generation=2, last_update_status="Successful"))
            assert plane.warm[2:] == [("f", "python3.11-sdk", False)]

    asyncio.run(run())


def test_runtimes_of_functions_that_are_there_already_start_at_once() -> None:
    async def run() -> None:
        plane = Plane()
        async with plane.warming(deployed("f"), deployed("g")):
            assert plane.warm == [("f", "python3.11", True)]

    asyncio.run(run())


def test_a_package_that_cannot_be_read_keeps_no_other_function_from_being_warm() -> None:
    async def run() -> None:
        plane = Plane()
        plane.fails = True
        async with plane.warming():
            await plane.put(deployed("f"))
            plane.fails = False
            await plane.put(deployed("g"))
        assert [name for name, _, first in plane.warm if not first] == ["g"]

    asyncio.run(run())
