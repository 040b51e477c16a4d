"""Provisioned concurrency by the rules that no recording shows: where it can be, what is too much, what ends it."""

from pathlib import Path
from typing import Any

import pytest

from lamplighter.invoke.ahead import INIT_FAILED, Standing
from lamplighter.model.errors import ServiceError
from lamplighter.model.functions import FunctionVersion
from support.control import ControlPlane, ManualClock, control_plane, run

ARN = "arn:aws:lambda:us-east-1:111111111111:function"
PUT, GET = "PutProvisionedConcurrencyConfig", "GetProvisionedConcurrencyConfig"
LIST, DELETE = "ListProvisionedConcurrencyConfigs", "DeleteProvisionedConcurrencyConfig"


async def refused(
    plane: ControlPlane, operation: str, qualifier: str, wanted: int = 1, name: str = "f"
) -> ServiceError:
    with pytest.raises(ServiceError) as caught:
        await plane.call(operation, FunctionName=name, Qualifier=qualifier, ProvisionedConcurrentExecutions=wanted)
    return caught.value


async def put(plane: ControlPlane, qualifier: str, wanted: int = 1) -> dict[str, Any]:
    return await plane.call(PUT, FunctionName="f", Qualifier=qualifier, ProvisionedConcurrentExecutions=wanted)


async def get(plane: ControlPlane, qualifier: str) -> dict[str, Any]:
    return await plane.call(GET, FunctionName="f", Qualifier=qualifier)


async def published(plane: ControlPlane, count: int = 1, **members: Any) -> None:
    """The function f with so many versions."""
    await plane.create("f", **members)
    await plane.settled("f")
    for number in range(count):
        await plane.call("UpdateFunctionConfiguration", FunctionName="f", Description=str(number))
        await plane.settled("f")
        await plane.call("PublishVersion", FunctionName="f")


async def alias(plane: ControlPlane, name: str, to: str, **weights: float) -> None:
    routing = {"AdditionalVersionWeights": {version.removeprefix("v"): weight for version, weight in weights.items()}}
    await plane.call("CreateAlias", FunctionName="f", Name=name, FunctionVersion=to, RoutingConfig=routing)


def test_a_config_is_in_progress_for_a_moment_and_then_ready(tmp_path: Path):
    async def main() -> None:
        clock = ManualClock()
        async with control_plane(tmp_path, clock) as plane:
            await published(plane)
            in_progress = {
                "RequestedProvisionedConcurrentExecutions": 7,
                "AvailableProvisionedConcurrentExecutions": 0,
                "AllocatedProvisionedConcurrentExecutions": 0,
                "Status": "IN_PROGRESS",
                "LastModified": "2025-06-15T15:06:40+0000",
            }
            assert await put(plane, "1", 7) == in_progress
            assert await get(plane, "1") == in_progress
            clock.time += 60
            ready = await get(plane, "1")
            assert ready == in_progress | {
                "AvailableProvisionedConcurrentExecutions": 7,
                "AllocatedProvisionedConcurrentExecutions": 7,
                "Status": "READY",
            }
            listed = await plane.call(LIST, FunctionName="f")
            assert listed == {"ProvisionedConcurrencyConfigs": [{"FunctionArn": f"{ARN}:f:1", **ready}]}
            assert (await put(plane, "1", 8))["Status"] == "IN_PROGRESS"

    run(main)


def test_it_is_as_far_as_the_environments_of_the_versions_behind_it(tmp_path: Path):
    async def main() -> None:
        standing = {"1": Standing(2), "2": Standing()}
        clock = ManualClock()

        def look(function: FunctionVersion) -> Standing:
            return standing[function.version]

        async def shown() -> tuple[Any, ...]:
            config = await get(plane, "live")
            return (
                config["Status"],
                config["AllocatedProvisionedConcurrentExecutions"],
                config["AvailableProvisionedConcurrentExecutions"],
                config.get("StatusReason"),
            )

        async with control_plane(tmp_path, clock, standing=look) as plane:
            await published(plane, 2)
            await alias(plane, "live", "1")
            await put(plane, "live", 4)
            clock.time += 60
            assert await shown() == ("IN_PROGRESS", 2, 2, None)
            standing["1"] = Standing(2, INIT_FAILED)
            assert await shown() == ("FAILED", 2, 2, "FUNCTION_ERROR_INIT_FAILURE")
            standing["1"] = Standing(9)
            assert await shown() == ("READY", 4, 4, None)
            routing = {"AdditionalVersionWeights": {"2": 0.25}}
            await plane.call("UpdateAlias", FunctionName="f", Name="live", RoutingConfig=routing)
            assert await shown() == ("IN_PROGRESS", 3, 3, None)
            standing["2"] = Standing(1)
            assert await shown() == ("READY", 4, 4, None)

    run(main)


def test_only_what_is_published_can_have_it(tmp_path: Path):
    async def main() -> None:
        async with control_plane(tmp_path) as plane:
            await published(plane)
            await alias(plane, "newest", "$LATEST")
            for qualifier in ("$LATEST", "newest"):
                error = await refused(plane, PUT, qualifier)
                assert (error.code, error.typed) == ("InvalidParameterValueException", True)
                assert error.message == (
                    "Provisioned Concurrency Configs cannot be applied to unpublished function versions."
                )
            for operation in (GET, DELETE):
                error = await refused(plane, operation, "$LATEST")
                assert error.code == "InvalidParameterValueException"
                assert error.message == "The function resource provided must be an alias or a published version."

    run(main)


@pytest.mark.parametrize("operation", [PUT, GET, DELETE])
def test_what_it_is_put_on_exists(operation: str, tmp_path: Path):
    async def main() -> None:
        async with control_plane(tmp_path) as plane:
            await published(plane)
            for name in ("f", "nobody"):
                error = await refused(plane, operation, "10", name=name)
                assert (error.status, error.message) == (404, f"Function not found: {ARN}:{name}:10")
                error = await refused(plane, operation, "noalias", name=name)
                assert (error.status, error.message) == (404, f"Cannot find alias arn: {ARN}:{name}:noalias")

    run(main)


def test_a_config_that_is_not_there_is_told_so_and_deleted_silently(tmp_path: Path):
    async def main() -> None:
        async with control_plane(tmp_path) as plane:
            await published(plane)
            error = await refused(plane, GET, "1")
            assert (error.status, error.code) == (404, "ProvisionedConcurrencyConfigNotFoundException")
            assert error.message == "No Provisioned Concurrency Config found for this function"
            assert await plane.call(DELETE, FunctionName="f", Qualifier="1") == {}
            with pytest.raises(ServiceError) as caught:
                await plane.call(LIST, FunctionName="nobody")
            assert caught.value.message == f"Function not found: {ARN}:nobody"

    run(main)


def test_a_version_has_it_once_by_itself_or_by_an_alias(tmp_path: Path):
    async def main() -> None:
        async with control_plane(tmp_path) as plane:
            await published(plane, 2)
            await alias(plane, "live", "1")
            await put(plane, "1")
            error = await refused(plane, PUT, "live")
            assert (error.status, error.code) == (409, "ResourceConflictException")
            assert error.message == (
                "Alias can't be used for Provisioned Concurrency configuration on an already Provisioned version"
            )
            await plane.call(DELETE, FunctionName="f", Qualifier="1")
            await put(plane, "live")
            error = await refused(plane, PUT, "1")
            assert (error.status, error.message) == (409, "Version is pointed by a Provisioned Concurrency alias")
            await put(plane, "2")
            await put(plane, "live", 2)  # its own does not stand in its way

    run(main)


def test_an_alias_of_two_versions_and_one_with_snap_start_cannot_have_it(tmp_path: Path):
    async def main() -> None:
        async with control_plane(tmp_path) as plane:
            await published(plane, 2)
            await alias(plane, "canary", "1", v2=0.1)
            error = await refused(plane, PUT, "canary")
            assert error.message == "Alias with weights can not be used with Provisioned Concurrency"
            await plane.call(
                "UpdateFunctionConfiguration", FunctionName="f", SnapStart={"ApplyOn": "PublishedVersions"}
            )
            await plane.settled("f")
            await plane.call("PublishVersion", FunctionName="f")
            assert "SnapStart" in str((await refused(plane, PUT, "3")).message)

    run(main)


def test_the_function_cannot_have_more_than_it_reserved(tmp_path: Path):
    async def main() -> None:
        async with control_plane(tmp_path) as plane:
            await published(plane, 2)
            await plane.call("PutFunctionConcurrency", FunctionName="f", ReservedConcurrentExecutions=10)
            await put(plane, "1", 6)
            error = await refused(plane, PUT, "2", 5)
            assert error.message == (
                "Requested Provisioned Concurrency should not be greater than the "
                "reservedConcurrentExecution for function"
            )
            await put(plane, "2", 4)
            await put(plane, "1", 5)
            settings = await plane.call("GetAccountSettings")
            assert settings["AccountLimit"]["UnreservedConcurrentExecutions"] == 990

    run(main)


def test_the_account_cannot_give_more_than_it_has(tmp_path: Path):
    async def main() -> None:
        async with control_plane(tmp_path) as plane:
            await published(plane, 2)
            await put(plane, "1", 400)
            error = await refused(plane, PUT, "2", 601)
            assert (error.typed, error.message) == (
                False,
                "Specified ConcurrentExecutions for function is greater than account's unreserved concurrency [600].",
            )
            error = await refused(plane, PUT, "2", 501)
            assert (error.typed, error.message) == (
                False,
                "Specified ConcurrentExecutions for function decreases account's "
                "UnreservedConcurrentExecution below its minimum value of [100].",
            )
            await put(plane, "2", 500)
            await put(plane, "2", 500)  # nothing more
            await put(plane, "1", 399)

    run(main)


def test_it_goes_with_what_it_was_put_on(tmp_path: Path):
    async def main() -> None:
        async with control_plane(tmp_path) as plane:
            await published(plane, 2)
            await alias(plane, "live", "1")
            await put(plane, "live")
            await put(plane, "2")
            await plane.call("DeleteAlias", FunctionName="f", Name="live")
            await plane.call("DeleteFunction", FunctionName="f", Qualifier="2")
            assert await plane.call(LIST, FunctionName="f") == {"ProvisionedConcurrencyConfigs": []}
            await put(plane, "1")
            await plane.call("DeleteFunction", FunctionName="f")
            await published(plane)
            assert (await refused(plane, GET, "1")).code == "ProvisionedConcurrencyConfigNotFoundException"

    run(main)


def test_pages_hold_every_config_once(tmp_path: Path):
    async def main() -> None:
        async with control_plane(tmp_path) as plane:
            await published(plane, 11)
            await alias(plane, "b", "10")
            await alias(plane, "a", "11")
            for qualifier in ("1", "2", "9", "a", "b"):
                await put(plane, qualifier)
            found: list[str] = []
            given: dict[str, Any] = {}
            while True:
                page = await plane.call(LIST, FunctionName="f", MaxItems=2, **given)
                found += [config["FunctionArn"] for config in page["ProvisionedConcurrencyConfigs"]]
                if "NextMarker" not in page:
                    break
                given["Marker"] = page["NextMarker"]
            assert found == [f"{ARN}:f:{qualifier}" for qualifier in ("a", "b", "1", "2", "9")]
            with pytest.raises(ServiceError) as caught:
                await plane.call(LIST, FunctionName="f", Marker="nonsense")
            assert caught.value.code == "InvalidParameterValueException"

    run(main)
