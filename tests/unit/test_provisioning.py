"""What is provisioned reaches environments and limits, with every change and at the start; and what it costs."""

from pathlib import Path

from lamplighter.invoke.ahead import Standing
from lamplighter.invoke.limits import Limits
from lamplighter.invoke.provisioned_time import PERIOD, ProvisionedTime
from lamplighter.invoke.provisioning import Provisioning
from lamplighter.model.functions import FunctionVersion
from lamplighter.model.usage import Usage
from support.control import ACCOUNT, REGION, ControlPlane, control_plane, function_id, run
from support.environments import HeldClock, version
from support.sandbox_server import story

PUT, DELETE = "PutProvisionedConcurrencyConfig", "DeleteProvisionedConcurrencyConfig"


class Followed:
    """Takes note of what is wanted, as the assignment would make it true."""

    def __init__(self, plane: ControlPlane) -> None:
        self.wanted: dict[str, int] = {}
        self.qualifiers: dict[str, str] = {}
        self.limits = Limits(1000)
        time = ProvisionedTime(HeldClock(), None)
        Provisioning(self, self.limits, plane.records, plane.database, time, ACCOUNT, REGION)

    def provision(self, function: FunctionVersion, count: int, qualifier: str = "") -> None:
        self.wanted[function.version] = count
        self.qualifiers[function.version] = qualifier

    def standing(self, function: FunctionVersion) -> Standing:
        return Standing()

    @property
    def now(self) -> dict[str, int]:
        return {version: count for version, count in self.wanted.items() if count}

    @property
    def kept(self) -> int:
        return self.limits.share(function_id("f")).kept


async def published(plane: ControlPlane, count: int) -> None:
    await plane.create("f")
    await plane.settled("f")
    for number in range(count):
        await plane.call("UpdateFunctionConfiguration", FunctionName="f", Description=str(number))
        await plane.settled("f")
        await plane.call("PublishVersion", FunctionName="f")


async def put(plane: ControlPlane, qualifier: str, wanted: int) -> None:
    await plane.call(PUT, FunctionName="f", Qualifier=qualifier, ProvisionedConcurrentExecutions=wanted)


def test_environments_follow_a_config_its_alias_and_the_aliass_weights(tmp_path: Path):
    async def main() -> None:
        async with control_plane(tmp_path) as plane:
            followed = Followed(plane)
            await published(plane, 3)
            await plane.call("CreateAlias", FunctionName="f", Name="live", FunctionVersion="1")
            await put(plane, "live", 10)
            assert (followed.now, followed.kept) == ({"1": 10}, 10)
            await plane.call("UpdateAlias", FunctionName="f", Name="live", FunctionVersion="2")
            assert (followed.now, followed.kept) == ({"2": 10}, 10)
            routing = {"AdditionalVersionWeights": {"1": 0.25}}
            await plane.call("UpdateAlias", FunctionName="f", Name="live", RoutingConfig=routing)
            assert (followed.now, followed.kept) == ({"2": 8, "1": 2}, 10)
            await put(plane, "3", 5)
            assert (followed.now, followed.kept) == ({"2": 8, "1": 2, "3": 5}, 15)
            assert followed.qualifiers == {"1": "live", "2": "live", "3": "3"}
            await plane.call("DeleteAlias", FunctionName="f", Name="live")
            assert (followed.now, followed.kept) == ({"3": 5}, 5)
            await plane.call(DELETE, FunctionName="f", Qualifier="3")
            assert (followed.now, followed.kept) == ({}, 0)

    run(main)


def test_it_ends_with_the_function_and_begins_again_after_a_restart(tmp_path: Path):
    async def main() -> None:
        async with control_plane(tmp_path) as plane:
            await published(plane, 1)
            await put(plane, "1", 3)
        async with control_plane(tmp_path) as plane:
            followed = Followed(plane)
            assert (followed.now, followed.kept) == ({"1": 3}, 3)
            await plane.call("DeleteFunction", FunctionName="f")
            assert (followed.now, followed.kept) == ({}, 0)

    run(main)


@story
async def test_time_is_told_in_periods_and_what_is_added_for_the_rest_of_one() -> None:
    clock, told = HeldClock(), list[Usage]()
    time = ProvisionedTime(clock, told.append)
    function, began = version(number="1"), clock.now()

    def new() -> list[tuple[object, ...]]:
        found = [tuple(usage[1:]) for usage in told]
        told.clear()
        return found

    time.keep(function, 2)
    assert new() == [(2, began, PERIOD)]
    clock.move(100)
    time.keep(function, 5)
    time.keep(function, 5)
    assert new() == [(3, began + 100, PERIOD - 100)]
    time.keep(function, 1)
    time.keep(function, 5)  # paid for already
    time.keep(function, 1)
    clock.move(199)
    time.turn()
    assert new() == []
    clock.move(1)
    time.turn()
    assert new() == [(1, began + PERIOD, PERIOD)]
    time.keep(function, 0)
    clock.move(PERIOD)
    time.turn()
    time.keep(function, 1)
    assert new() == [(1, began + 2 * PERIOD, PERIOD)]
    time.close()
