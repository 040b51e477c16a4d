"""Versions by the rules that no recording shows: what is published, what is refused, what is deleted, and races."""

import asyncio
from collections.abc import Coroutine
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lamplighter.control import versions
from lamplighter.control.snapshots import SnapshotFailed
from lamplighter.model.errors import ServiceError
from lamplighter.model.functions import CodePackage, FunctionVersion
from support.control import ControlPlane, control_plane, function_id, run, zipped

ARN = "arn:aws:lambda:us-east-1:111111111111:function"
WRONG_REVISION = (
    "The Revision Id provided does not match the latest Revision Id. "
    "Call the GetFunction/GetAlias API to retrieve the latest Revision Id"
)
IN_STATE = "The operation cannot be performed at this time. The function is currently in the following state: "


async def refused(call: Coroutine[Any, Any, Any]) -> ServiceError:
    with pytest.raises(ServiceError) as caught:
        await call
    return caught.value


async def deployed(plane: ControlPlane, name: str = "f", **members: Any) -> dict[str, Any]:
    await plane.create(name, **members)
    return await plane.settled(name)


async def changed(plane: ControlPlane, **members: Any) -> dict[str, Any]:
    await plane.call("UpdateFunctionConfiguration", FunctionName="f", **members)
    return await plane.settled("f")


async def listed(plane: ControlPlane) -> list[str]:
    answer = await plane.call("ListVersionsByFunction", FunctionName="f")
    return [version["Version"] for version in answer["Versions"]]


def test_a_version_is_active_at_once_and_latest_gets_another_revision_by_it(tmp_path: Path):
    async def main() -> None:
        async with control_plane(tmp_path) as plane:
            before = await deployed(plane, Description="latest's")
            one = await plane.call("PublishVersion", FunctionName="f", Description="one's")
            assert (one["Version"], one["FunctionArn"], one["Description"]) == ("1", f"{ARN}:f:1", "one's")
            assert (one["State"], one["LastUpdateStatus"]) == ("Active", "Successful")
            assert not one.keys() & {"StateReason", "StateReasonCode", "LastUpdateStatusReason"}
            latest = await plane.call("GetFunctionConfiguration", FunctionName="f")
            assert latest["Description"] == "latest's"
            assert len({before["RevisionId"], latest["RevisionId"], one["RevisionId"]}) == 3
            assert latest["LastModified"] == before["LastModified"]

    run(main)


def test_what_did_not_change_is_not_published_again(tmp_path: Path):
    async def main() -> None:
        async with control_plane(tmp_path) as plane:
            await deployed(plane)
            one = await plane.call("PublishVersion", FunctionName="f", Description="given")
            latest = await plane.call("GetFunctionConfiguration", FunctionName="f")
            assert await plane.call("PublishVersion", FunctionName="f", Description="another") == one
            assert await plane.call("GetFunctionConfiguration", FunctionName="f") == latest
            await changed(plane, Timeout=9)
            two = await plane.call("PublishVersion", FunctionName="f")
            assert (two["Version"], two["Timeout"], two["Description"]) == ("2", 9, "")
            await changed(plane, Timeout=9)  # accepted, but no difference
            assert (await plane.call("PublishVersion", FunctionName="f"))["Version"] == "2"
            await changed(plane, Description="makes a difference")
            assert (await plane.call("PublishVersion", FunctionName="f"))["Version"] == "3"
            assert await listed(plane) == ["$LATEST", "1", "2", "3"]

    run(main)


def test_numbers_are_never_used_again_and_start_anew_with_the_function(tmp_path: Path):
    async def main() -> None:
        async with control_plane(tmp_path) as plane:
            for _ in range(2):
                await deployed(plane)
                assert (await plane.call("PublishVersion", FunctionName="f"))["Version"] == "1"
                await plane.call("DeleteFunction", FunctionName="f", Qualifier="1")
                assert (await plane.call("PublishVersion", FunctionName="f"))["Version"] == "2"
                assert await listed(plane) == ["$LATEST", "2"]
                await plane.call("DeleteFunction", FunctionName="f")

    run(main)


def test_preconditions_guard_publishing(tmp_path: Path):
    async def main() -> None:
        async with control_plane(tmp_path) as plane:
            latest = await deployed(plane)
            sha256 = latest["CodeSha256"]
            refusal = await refused(plane.call("PublishVersion", FunctionName="f", CodeSha256="somethingelse"))
            assert refusal.code == "InvalidParameterValueException"
            assert refusal.message == (
                f"CodeSHA256 (somethingelse) is different from current CodeSHA256 in $LATEST ({sha256}). "
                "Please try again with the CodeSHA256 in $LATEST."
            )
            wrong = "12345678-1234-1234-1234-123456789012"
            refusal = await refused(plane.call("PublishVersion", FunctionName="f", RevisionId=wrong))
            assert (refusal.status, refusal.message) == (412, WRONG_REVISION)
            given = {"CodeSha256": sha256, "RevisionId": latest["RevisionId"]}
            assert (await plane.call("PublishVersion", FunctionName="f", **given))["Version"] == "1"
            refusal = await refused(plane.call("PublishVersion", FunctionName="f", **given))
            assert refusal.message == WRONG_REVISION  # publishing changed it
            refusal = await refused(plane.call("PublishVersion", FunctionName="f", PublishTo="LATEST_PUBLISHED"))
            assert refusal.code == "InvalidParameterValueException"

    run(main)


def test_nothing_is_published_while_something_is_in_progress(tmp_path: Path):
    async def main() -> None:
        async with control_plane(tmp_path, creation=0.1, update=30) as plane:
            await plane.create("f")
            refusal = await refused(plane.call("PublishVersion", FunctionName="f"))
            assert (refusal.status, refusal.message) == (409, f"{IN_STATE}Pending")
            await plane.settled("f")
            await plane.call("UpdateFunctionConfiguration", FunctionName="f", Timeout=4)
            refusal = await refused(plane.call("PublishVersion", FunctionName="f"))
            assert refusal.status == 409
            assert refusal.message == (
                f"The operation cannot be performed at this time. An update is in progress for resource: {ARN}:f"
            )

    run(main)


def test_with_snap_start_a_version_is_pending_first_and_then_optimized(tmp_path: Path):
    async def snapshot(function: FunctionVersion) -> bool:
        return function.runtime == "python3.12"

    async def main() -> None:
        async with control_plane(tmp_path, creation=0.05, snapshot=snapshot) as plane:
            latest = await deployed(plane, SnapStart={"ApplyOn": "PublishedVersions"})
            assert latest["SnapStart"] == {"ApplyOn": "PublishedVersions", "OptimizationStatus": "Off"}
            one = await plane.call("PublishVersion", FunctionName="f")
            assert (one["State"], one["StateReasonCode"]) == ("Pending", "Creating")
            assert one["SnapStart"]["OptimizationStatus"] == "Off"
            settled = await plane.settled("f", "1")
            assert (settled["State"], settled["LastUpdateStatus"]) == ("Active", "Successful")
            assert settled["SnapStart"] == {"ApplyOn": "PublishedVersions", "OptimizationStatus": "On"}
            latest = await plane.call("GetFunctionConfiguration", FunctionName="f")
            assert latest["SnapStart"]["OptimizationStatus"] == "Off"

    run(main)


def test_a_version_that_no_snapshot_can_be_taken_of_is_active_and_says_off(tmp_path: Path):
    async def snapshot(function: FunctionVersion) -> bool:
        return False

    async def main() -> None:
        async with control_plane(tmp_path, snapshot=snapshot) as plane:
            await deployed(plane, SnapStart={"ApplyOn": "PublishedVersions"})
            await plane.call("PublishVersion", FunctionName="f")
            settled = await plane.settled("f", "1")
            assert settled["State"] == "Active"
            assert settled["SnapStart"] == {"ApplyOn": "PublishedVersions", "OptimizationStatus": "Off"}

    run(main)


def test_a_version_that_cannot_be_initialized_has_failed_and_says_why(tmp_path: Path):
    async def snapshot(function: FunctionVersion) -> bool:
        raise SnapshotFailed("FunctionError.RuntimeInitError", "it would not")

    async def main() -> None:
        async with control_plane(tmp_path, snapshot=snapshot) as plane:
            await deployed(plane, SnapStart={"ApplyOn": "PublishedVersions"})
            await plane.call("PublishVersion", FunctionName="f")
            settled = await plane.settled("f", "1")
            assert (settled["State"], settled["StateReasonCode"]) == ("Failed", "FunctionError.RuntimeInitError")
            assert settled["StateReason"] == "it would not"
            assert settled["SnapStart"]["OptimizationStatus"] == "Off"

    run(main)


def test_what_is_published_of_a_failed_update_has_to_prove_itself(tmp_path: Path):
    async def main() -> None:
        async with control_plane(tmp_path, update=60) as plane:
            await deployed(plane)
            await plane.call("UpdateFunctionCode", FunctionName="f", ZipFile=zipped({"handler.py": "broken"}))
            updated = await plane.stored.get(function_id("f"))
            assert updated is not None
        (tmp_path / "blobs" / updated.code.digest[:2] / updated.code.digest).write_bytes(b"damaged")
        (tmp_path / "code" / ".boot").unlink()
        async with control_plane(tmp_path) as plane:
            assert (await plane.settled("f"))["LastUpdateStatus"] == "Failed"
            before = await plane.stored.serving(function_id("f"))
            assert (await plane.call("PublishVersion", FunctionName="f"))["State"] == "Pending"
            assert (await plane.settled("f", "1"))["State"] == "Failed"
            assert await plane.stored.serving(function_id("f")) == before

    run(main)


def test_a_code_update_that_publishes_answers_with_the_qualified_arn(tmp_path: Path):
    async def main() -> None:
        async with control_plane(tmp_path) as plane:
            await deployed(plane)
            made = await plane.call("UpdateFunctionCode", FunctionName="f", ZipFile=zipped(), Publish=True)
            assert (made["Version"], made["FunctionArn"], made["State"]) == ("1", f"{ARN}:f:1", "Pending")
            await plane.settled("f")
            assert (await plane.settled("f", "1"))["State"] == "Active"
            plain = await plane.call("UpdateFunctionCode", FunctionName="f", ZipFile=zipped())
            assert (plain["Version"], plain["FunctionArn"]) == ("$LATEST", f"{ARN}:f")

    run(main)


def test_code_storage_counts_every_version(tmp_path: Path):
    async def main() -> None:
        async with control_plane(tmp_path, code_storage=2 * len(zipped())) as plane:
            await deployed(plane)
            await plane.call("PublishVersion", FunctionName="f")
            await changed(plane, Timeout=4)
            refusal = await refused(plane.call("PublishVersion", FunctionName="f"))
            assert refusal.code == "CodeStorageExceededException"
            await plane.call("DeleteFunction", FunctionName="f", Qualifier="1")
            assert (await plane.call("PublishVersion", FunctionName="f"))["Version"] == "2"

    run(main)


@pytest.mark.parametrize("operation", ["PublishVersion", "ListVersionsByFunction"])
def test_versions_are_of_a_function_that_exists_and_is_not_qualified(tmp_path: Path, operation: str):
    async def main() -> None:
        async with control_plane(tmp_path) as plane:
            refusal = await refused(plane.call(operation, FunctionName="f"))
            assert (refusal.status, refusal.message) == (404, f"Function not found: {ARN}:f")
            refusal = await refused(plane.call(operation, FunctionName="f:1"))
            assert refusal.code == "InvalidParameterValueException"

    run(main)


def test_versions_are_listed_by_number_in_pages(tmp_path: Path):
    async def main() -> None:
        async with control_plane(tmp_path) as plane:
            await deployed(plane)
            for timeout in range(10, 22):
                await changed(plane, Timeout=timeout)
                await plane.call("PublishVersion", FunctionName="f")
            await deployed(plane, "g")  # another function's versions are not mixed in
            seen: list[str] = []
            marker: dict[str, str] = {}
            while True:
                answer = await plane.call("ListVersionsByFunction", FunctionName="f", MaxItems=5, **marker)
                for version in answer["Versions"]:
                    assert version["FunctionArn"] == f"{ARN}:f:{version['Version']}"
                    assert not version.keys() & {"State", "LastUpdateStatus", "RuntimeVersionConfig"}
                    seen.append(version["Version"])
                if "NextMarker" not in answer:
                    break
                marker = {"Marker": answer["NextMarker"]}
                # What goes meanwhile is not there, and nothing else is missed.
                await plane.call("DeleteFunction", FunctionName="f", Qualifier=seen[-1] if len(seen) > 5 else "11")
            assert seen == ["$LATEST", *(str(number) for number in range(1, 13) if number != 11)]
            refusal = await refused(plane.call("ListVersionsByFunction", FunctionName="f", Marker="no marker"))
            assert refusal.code == "InvalidParameterValueException"

    run(main)


def test_deleting_a_version_that_is_not_there_succeeds_but_not_of_a_function_that_is_not(tmp_path: Path):
    async def main() -> None:
        async with control_plane(tmp_path) as plane:
            await deployed(plane)
            await plane.call("DeleteFunction", FunctionName="f", Qualifier="99")
            refusal = await refused(plane.call("DeleteFunction", FunctionName="nobody", Qualifier="99"))
            assert (refusal.status, refusal.message) == (404, f"Function not found: {ARN}:nobody:99")
            refusal = await refused(plane.call("DeleteFunction", FunctionName="nobody", Qualifier="$LATEST"))
            assert refusal.message == "$LATEST version cannot be deleted without deleting the function."
            refusal = await refused(plane.call("DeleteFunction", FunctionName="nobody:name"))
            assert refusal.message == "Deletion of aliases is not currently supported."
            assert await listed(plane) == ["$LATEST"]

    run(main)


def test_a_version_that_an_alias_points_to_stays(tmp_path: Path):
    async def main() -> None:
        async with control_plane(tmp_path) as plane:
            await deployed(plane)
            for timeout in (4, 5):
                await plane.call("PublishVersion", FunctionName="f")
                await changed(plane, Timeout=timeout)
            weighted = {"FunctionVersion": "1", "RoutingConfig": {"AdditionalVersionWeights": {"2": 0.5}}}
            await plane.call("CreateAlias", FunctionName="f", Name="b", **weighted)
            await plane.call("CreateAlias", FunctionName="f", Name="a", FunctionVersion="2")
            for version, names in (("1", "b"), ("2", "a, b")):
                refusal = await refused(plane.call("DeleteFunction", FunctionName="f", Qualifier=version))
                assert (refusal.status, refusal.code) == (409, "ResourceConflictException")
                assert refusal.message == (
                    f"Unable to delete version because the following aliases reference it: [{names}]"
                )
            assert await listed(plane) == ["$LATEST", "1", "2"]
            await plane.call("DeleteAlias", FunctionName="f", Name="b")
            await plane.call("DeleteFunction", FunctionName="f", Qualifier="1")
            assert await listed(plane) == ["$LATEST", "2"]
            await plane.call("DeleteFunction", FunctionName="f")  # with its alias

    run(main)


def test_who_publishes_at_the_same_time_gets_the_same_version(tmp_path: Path):
    async def main() -> None:
        async with control_plane(tmp_path) as plane:
            await deployed(plane)
            made = await asyncio.gather(*(plane.call("PublishVersion", FunctionName="f") for _ in range(20)))
            assert {(version["Version"], version["RevisionId"]) for version in made} == {("1", made[0]["RevisionId"])}
            assert await listed(plane) == ["$LATEST", "1"]

    run(main)


def test_no_alias_is_left_without_its_version_however_close_the_race(tmp_path: Path):
    async def main() -> None:
        async with control_plane(tmp_path) as plane:
            await deployed(plane)
            for _ in range(10):
                version = (await plane.call("PublishVersion", FunctionName="f"))["Version"]
                alias, deletion = await asyncio.gather(
                    plane.call("CreateAlias", FunctionName="f", Name="live", FunctionVersion=version),
                    plane.call("DeleteFunction", FunctionName="f", Qualifier=version),
                    return_exceptions=True,
                )
                assert isinstance(alias, ServiceError) != isinstance(deletion, ServiceError)
                assert (version in await listed(plane)) == isinstance(alias, dict)
                await plane.call("DeleteAlias", FunctionName="f", Name="live")
                await plane.call("DeleteFunction", FunctionName="f", Qualifier=version)

    run(main)


BLANK = FunctionVersion(
    id=function_id("f"),
    version="$LATEST",
    generation=7,
    revision="r",
    role="role",
    code=CodePackage("aa", 1),
    runtime="python3.12",
    handler="a.b",
    last_modified="yesterday",
    state="Active",
    last_update_status="Successful",
)
DIFFERENCES: dict[str, Any] = {
    "role": "another",
    "code": CodePackage("bb", 1),
    "runtime": "python3.13",
    "handler": "c.d",
    "description": "described",
    "timeout": 4,
    "memory_size": 256,
    "environment": {"A": "b"},
    "snap_start": "PublishedVersions",
    "other": {"VpcConfig": {}},
}


@settings(deadline=None)
@given(names=st.sets(st.sampled_from(sorted(DIFFERENCES))), generation=st.integers(8, 9))
def test_any_difference_in_code_or_configuration_is_one_and_nothing_else_is(names: set[str], generation: int):
    version = replace(versions.snapshot(BLANK), version="1", last_modified="today")
    latest = replace(BLANK, generation=generation, **{name: DIFFERENCES[name] for name in names})
    assert versions.same(version, latest) == (not names)
