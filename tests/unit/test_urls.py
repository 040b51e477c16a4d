"""Configurations of function URLs by the rules that no recording shows."""

import re
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from support.control import ControlPlane, ManualClock, control_plane, refused, run

ARN = "arn:aws:lambda:us-east-1:111111111111:function"
OPEN = {"FunctionName": "f", "AuthType": "NONE"}
CORS: dict[str, Any] = {
    "AllowCredentials": True,
    "AllowHeaders": ["date", "keep-alive"],
    "AllowMethods": ["*"],
    "AllowOrigins": ["*"],
    "ExposeHeaders": [],
    "MaxAge": 0,
}


@asynccontextmanager
async def with_alias(path: Path, clock: ManualClock | None = None) -> AsyncGenerator[ControlPlane]:
    """A function `f` with the alias `live`."""
    async with control_plane(path, clock) as plane:
        await plane.create("f")
        await plane.settled("f")
        await plane.call("CreateAlias", FunctionName="f", Name="live", FunctionVersion="$LATEST")
        yield plane


def present(answer: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in answer.items() if value is not None}


async def shown(plane: ControlPlane, **members: Any) -> dict[str, Any]:
    return present(await plane.call("GetFunctionUrlConfig", **{"FunctionName": "f", **members}))


def test_a_url_has_its_id_for_as_long_as_its_configuration_is_there(tmp_path: Path):
    async def main() -> None:
        async with with_alias(tmp_path) as plane:
            made = await plane.call("CreateFunctionUrlConfig", **OPEN)
            assert re.fullmatch(r"https://[a-z0-9]{32}\.lambda-url\.us-east-1\.on\.aws/", made["FunctionUrl"])
            updated = await plane.call("UpdateFunctionUrlConfig", FunctionName="f", AuthType="AWS_IAM")
            assert updated["FunctionUrl"] == made["FunctionUrl"]
            aliased = await plane.call("CreateFunctionUrlConfig", **OPEN, Qualifier="live")
            assert aliased["FunctionUrl"] != made["FunctionUrl"]
            assert aliased["FunctionArn"] == f"{ARN}:f:live"
            await plane.call("DeleteFunctionUrlConfig", FunctionName="f")
            again = await plane.call("CreateFunctionUrlConfig", **OPEN)
            assert again["FunctionUrl"] != made["FunctionUrl"]

    run(main)


def test_an_update_changes_what_it_names_and_the_time(tmp_path: Path):
    async def main() -> None:
        clock = ManualClock(1_750_000_000.5)
        async with with_alias(tmp_path, clock) as plane:
            made = await plane.call("CreateFunctionUrlConfig", **OPEN, Cors=CORS, InvokeMode="RESPONSE_STREAM")
            assert present(made) == {
                "AuthType": "NONE",
                "Cors": CORS,
                "CreationTime": "2025-06-15T15:06:40.500000Z",
                "FunctionArn": f"{ARN}:f",
                "FunctionUrl": made["FunctionUrl"],
                "InvokeMode": "RESPONSE_STREAM",
            }
            assert await shown(plane) == present(made) | {"LastModifiedTime": made["CreationTime"]}

            clock.time += 60
            await plane.call("UpdateFunctionUrlConfig", FunctionName="f", AuthType="AWS_IAM")
            changed = {"AuthType": "AWS_IAM", "LastModifiedTime": "2025-06-15T15:07:40.500000Z"}
            assert await shown(plane) == present(made) | changed
            updated = await plane.call("UpdateFunctionUrlConfig", FunctionName="f", Cors={"MaxAge": 5})
            assert updated["Cors"] == {"MaxAge": 5}  # they are replaced, not merged
            updated = await plane.call("UpdateFunctionUrlConfig", FunctionName="f", Cors={}, InvokeMode="BUFFERED")
            assert "Cors" not in present(updated)
            assert updated["InvokeMode"] == "BUFFERED"

    run(main)


def test_there_is_one_url_for_a_function_and_one_for_each_alias(tmp_path: Path):
    async def main() -> None:
        async with with_alias(tmp_path) as plane:
            for qualifier in ({}, {"Qualifier": "live"}):
                await plane.call("CreateFunctionUrlConfig", **OPEN, **qualifier)
                refusal = await refused(plane.call("CreateFunctionUrlConfig", **OPEN, **qualifier))
                arn = ":".join([ARN, "f", *qualifier.values()])
                assert (refusal.status, refusal.message) == (
                    409,
                    f"Failed to create function url config for [functionArn = {arn}]. "
                    "Error message:  FunctionUrlConfig exists for this Lambda function",
                )

    run(main)


def test_the_url_of_an_alias_outlives_it_but_no_url_outlives_the_function(tmp_path: Path):
    async def main() -> None:
        async with with_alias(tmp_path) as plane:
            await plane.call("CreateFunctionUrlConfig", **OPEN)
            await plane.call("CreateFunctionUrlConfig", **OPEN, Qualifier="live")
            before = await shown(plane, Qualifier="live")
            await plane.call("DeleteAlias", FunctionName="f", Name="live")
            assert await shown(plane, Qualifier="live") == before
            await plane.call("CreateAlias", FunctionName="f", Name="live", FunctionVersion="$LATEST")
            assert await shown(plane, FunctionName="f:live") == before

            await plane.call("DeleteFunction", FunctionName="f")
            await plane.create("f")
            refusal = await refused(shown(plane))
            assert (refusal.status, refusal.message) == (404, "The resource you requested does not exist.")
            assert (await refused(shown(plane, Qualifier="live"))).status == 404

    run(main)


@pytest.mark.parametrize("method", ["OPTION", "get", ""])
def test_only_methods_that_a_url_serves_can_be_allowed(tmp_path: Path, method: str):
    async def main() -> None:
        async with with_alias(tmp_path) as plane:
            cors = {"AllowMethods": ["GET", method]}
            refusal = await refused(plane.call("CreateFunctionUrlConfig", **OPEN, Cors=cors))
            assert refusal.code == "InvalidParameterValueException"
            await plane.call("CreateFunctionUrlConfig", **OPEN, Cors={"AllowMethods": ["GET", "*"]})
            refusal = await refused(plane.call("UpdateFunctionUrlConfig", FunctionName="f", Cors=cors))
            assert refusal.code == "InvalidParameterValueException"
            assert (await shown(plane))["Cors"] == {"AllowMethods": ["GET", "*"]}

    run(main)


def test_urls_are_listed_in_pages_the_function_s_own_first(tmp_path: Path):
    async def main() -> None:
        async with with_alias(tmp_path) as plane:
            names = [f"a{number:02d}" for number in range(6)]
            for name in names:
                await plane.call("CreateAlias", FunctionName="f", Name=name, FunctionVersion="$LATEST")
                await plane.call("CreateFunctionUrlConfig", **OPEN, Qualifier=name)
            await plane.call("CreateFunctionUrlConfig", **OPEN)
            seen: list[str] = []
            marker: dict[str, str] = {}
            while True:
                page = present(await plane.call("ListFunctionUrlConfigs", FunctionName="f", MaxItems=3, **marker))
                seen += [
                    config["FunctionArn"].removeprefix(f"{ARN}:f").removeprefix(":")
                    for config in page["FunctionUrlConfigs"]
                ]
                assert all({"InvokeMode", "LastModifiedTime"} <= config.keys() for config in page["FunctionUrlConfigs"])
                if "NextMarker" not in page:
                    break
                marker = {"Marker": page["NextMarker"]}
            assert seen == ["", *names]
            refusal = await refused(plane.call("ListFunctionUrlConfigs", FunctionName="f", Marker="x"))
            assert refusal.code == "InvalidParameterValueException"
            assert (await refused(plane.call("ListFunctionUrlConfigs", FunctionName="nobody"))).status == 404

    run(main)
