"""Small settings of a function or account: recursion, runtime management, scaling, account usage, runtime builds."""

from pathlib import Path
from typing import Any

import pytest

from lamplighter.model.errors import ServiceError
from lamplighter.runtimes import catalogue
from support.control import ControlPlane, control_plane, function_id, run, zipped
from support.environments import version

ARN = "arn:aws:lambda:us-east-1:111111111111:function"


async def refused(plane: ControlPlane, operation: str, **members: Any) -> ServiceError:
    with pytest.raises(ServiceError) as caught:
        await plane.call(operation, **members)
    return caught.value


def test_recursive_loops_are_terminated_unless_allowed(tmp_path: Path):
    async def main() -> None:
        async with control_plane(tmp_path) as plane:
            await plane.create("f")
            assert await plane.call("GetFunctionRecursionConfig", FunctionName="f") == {"RecursiveLoop": "Terminate"}
            answer = await plane.call("PutFunctionRecursionConfig", FunctionName="f", RecursiveLoop="Allow")
            assert answer == {"RecursiveLoop": "Allow"}
            assert await plane.call("GetFunctionRecursionConfig", FunctionName=f"{ARN}:f") == answer
            for operation in ("PutFunctionRecursionConfig", "GetFunctionRecursionConfig"):
                error = await refused(plane, operation, FunctionName="g", RecursiveLoop="Allow")
                assert (error.status, error.message) == (404, f"Function not found: {ARN}:g")
            await plane.call("DeleteFunction", FunctionName="f")
            await plane.create("f")
            assert await plane.call("GetFunctionRecursionConfig", FunctionName="f") == {"RecursiveLoop": "Terminate"}

    run(main)


def test_runtimes_are_managed_by_version_and_automatically_unless_said(tmp_path: Path):
    async def main() -> None:
        async with control_plane(tmp_path) as plane:
            await plane.create("f")
            build = (await plane.settled("f"))["RuntimeVersionConfig"]["RuntimeVersionArn"]
            await plane.call("PublishVersion", FunctionName="f")
            automatic = {"UpdateRuntimeOn": "Auto", "FunctionArn": f"{ARN}:f"}
            assert await plane.call("GetRuntimeManagementConfig", FunctionName="f") == automatic
            manual = await plane.call(
                "PutRuntimeManagementConfig",
                FunctionName="f:1",
                UpdateRuntimeOn="Manual",
                RuntimeVersionArn=build,
            )
            assert manual == {"UpdateRuntimeOn": "Manual", "FunctionArn": f"{ARN}:f:1", "RuntimeVersionArn": build}
            assert await plane.call("GetRuntimeManagementConfig", FunctionName="f", Qualifier="1") == manual
            assert await plane.call("GetRuntimeManagementConfig", FunctionName="f") == automatic
            latest = await plane.call(
                "PutRuntimeManagementConfig", FunctionName="f", Qualifier="$LATEST", UpdateRuntimeOn="FunctionUpdate"
            )
            assert latest == {"UpdateRuntimeOn": "FunctionUpdate", "FunctionArn": f"{ARN}:f:$LATEST"}
            unqualified = await plane.call("GetRuntimeManagementConfig", FunctionName="f")
            assert unqualified == {"UpdateRuntimeOn": "FunctionUpdate", "FunctionArn": f"{ARN}:f"}

    run(main)


def test_a_runtime_can_only_be_held_at_the_build_that_is_there(tmp_path: Path):
    async def main() -> None:
        async with control_plane(tmp_path) as plane:
            await plane.create("f")
            put, other = "PutRuntimeManagementConfig", "arn:aws:lambda:us-east-1::runtime:" + "0" * 64
            for given in (
                {"UpdateRuntimeOn": "Manual"},
                {"UpdateRuntimeOn": "Manual", "RuntimeVersionArn": other},
                {"UpdateRuntimeOn": "Auto", "RuntimeVersionArn": other},
            ):
                error = await refused(plane, put, FunctionName="f", **given)
                assert error.code == "InvalidParameterValueException"
            for name in ("g", "f:2", "f:alias"):
                error = await refused(plane, put, FunctionName=name, UpdateRuntimeOn="Auto")
                assert (error.status, error.message) == (404, f"Function not found: {ARN}:{name}")

    run(main)


def test_the_build_of_a_runtime_follows_the_architecture(tmp_path: Path):
    async def main() -> None:
        async with control_plane(tmp_path) as plane:
            for name in ("f", "g"):
                await plane.create(name)
            arns = [(await plane.settled(name))["RuntimeVersionConfig"] for name in ("f", "g")]
            assert arns[0] == arns[1]
            arm = await plane.call("UpdateFunctionCode", FunctionName="f", ZipFile=zipped(), Architectures=["arm64"])
            assert arm["RuntimeVersionConfig"] not in arns
            assert (await plane.settled("f"))["RuntimeVersionConfig"] == arm["RuntimeVersionConfig"]
            made = await plane.create("h", Architectures=["arm64"])
            assert made["RuntimeVersionConfig"] == arm["RuntimeVersionConfig"]
            await plane.settled("f")
            newer = await plane.call("UpdateFunctionConfiguration", FunctionName="f", Runtime="python3.13")
            assert newer["RuntimeVersionConfig"] != arm["RuntimeVersionConfig"]

    run(main)


def test_functions_are_made_with_every_runtime_of_the_catalogue_that_is_not_retired(tmp_path: Path):
    async def main() -> None:
        async with control_plane(tmp_path) as plane:
            offered = [name for name, runtime in catalogue.RUNTIMES.items() if runtime.state != "retired"]
            assert {"nodejs26.x", "ruby4.0", "python3.15", "java17.al2023"} <= set(offered)
            for number, runtime in enumerate(offered):
                assert (await plane.create(f"f{number}", Runtime=runtime))["Runtime"] == runtime

    run(main)


def test_scaling_is_for_functions_on_a_capacity_provider(tmp_path: Path):
    async def main() -> None:
        async with control_plane(tmp_path) as plane:
            await plane.create("f")
            await plane.settled("f")
            await plane.call("PublishVersion", FunctionName="f")
            for operation in ("PutFunctionScalingConfig", "GetFunctionScalingConfig"):
                for qualifier in ("1", "$LATEST.PUBLISHED"):
                    error = await refused(plane, operation, FunctionName="f", Qualifier=qualifier)
                    assert (error.status, error.code) == (403, "AccessDeniedException")
                    assert error.message == (
                        "The function provided by the arn does not contain a capacity provider configuration"
                    )
                error = await refused(plane, operation, FunctionName="f", Qualifier="2")
                assert (error.status, error.message) == (404, f"Function not found: {ARN}:f:2")

    run(main)


def test_a_version_on_a_capacity_provider_keeps_its_bounds(tmp_path: Path):
    async def main() -> None:
        async with control_plane(tmp_path) as plane:
            provider = {"CapacityProviderConfig": {"LambdaManagedInstancesCapacityProviderConfig": {}}}
            managed = version(id=function_id("f"), other=provider, last_update_status="Successful")
            await plane.stored.create(managed, {}, version(id=function_id("f"), other=provider))
            where = {"FunctionName": "f", "Qualifier": "1"}
            shown = await plane.call("GetFunctionScalingConfig", **where)
            assert shown["AppliedFunctionScalingConfig"]["MinExecutionEnvironments"] == 3
            bounds = {"MinExecutionEnvironments": 5, "MaxExecutionEnvironments": 100}
            answer = await plane.call("PutFunctionScalingConfig", **where, FunctionScalingConfig=bounds)
            assert answer == {"FunctionState": "Active"}
            assert await plane.call("GetFunctionScalingConfig", **where) == {
                "FunctionArn": f"{ARN}:f:1",
                "AppliedFunctionScalingConfig": bounds,
                "RequestedFunctionScalingConfig": bounds,
            }
            for least, most in ((5, None), (None, 5), (6, 5), (0, 5)):
                wrong = {"MinExecutionEnvironments": least, "MaxExecutionEnvironments": most}
                error = await refused(plane, "PutFunctionScalingConfig", **where, FunctionScalingConfig=wrong)
                assert error.code == "InvalidParameterValueException"
            await plane.call("PutFunctionScalingConfig", **where)
            assert await plane.call("GetFunctionScalingConfig", **where) == shown

    run(main)


def test_account_usage_is_what_is_there(tmp_path: Path):
    async def main() -> None:
        async with control_plane(tmp_path, concurrency=250) as plane:
            assert await plane.call("GetAccountSettings") == {
                "AccountLimit": {
                    "TotalCodeSize": 80_530_636_800,
                    "CodeSizeUnzipped": 262_144_000,
                    "CodeSizeZipped": 52_428_800,
                    "ConcurrentExecutions": 250,
                    "UnreservedConcurrentExecutions": 250,
                },
                "AccountUsage": {"TotalCodeSize": 0, "FunctionCount": 0},
            }
            package = zipped()
            for name in ("f", "g"):
                await plane.create(name, Code={"ZipFile": package})
                await plane.settled(name)
            await plane.call("PublishVersion", FunctionName="f")
            await plane.call("PublishLayerVersion", LayerName="l", Content={"ZipFile": package})
            usage = (await plane.call("GetAccountSettings"))["AccountUsage"]
            assert usage == {"TotalCodeSize": 4 * len(package), "FunctionCount": 2}
            await plane.call("DeleteFunction", FunctionName="f")
            usage = (await plane.call("GetAccountSettings"))["AccountUsage"]
            assert usage == {"TotalCodeSize": 2 * len(package), "FunctionCount": 1}

    run(main)
