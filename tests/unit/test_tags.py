"""Tags by the rules that no recording shows: conflicts, resources that are no functions, what is refused."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from support.control import ControlPlane, control_plane, refused, run

HERE = "arn:aws:lambda:us-east-1:111111111111"
ARN = f"{HERE}:function"


async def tags(plane: ControlPlane, arn: str) -> dict[str, str]:
    return (await plane.call("ListTags", Resource=arn))["Tags"]


async def deployed(plane: ControlPlane, **members: Any) -> dict[str, Any]:
    await plane.create("f", **members)
    return await plane.settled("f")


def test_tags_and_nothing_but_the_revision_of_a_function_change(tmp_path: Path):
    async def main() -> None:
        async with control_plane(tmp_path) as plane:
            await deployed(plane, Tags={"a": "1"})
            await plane.call("PublishVersion", FunctionName="f")
            before = await plane.call("GetFunctionConfiguration", FunctionName="f")
            version = await plane.call("GetFunctionConfiguration", FunctionName="f:1")
            await plane.call("TagResource", Resource=f"{ARN}:f", Tags={"b": "2", "a": ""})
            assert await tags(plane, f"{ARN}:f") == {"a": "", "b": "2"}
            after = await plane.call("GetFunctionConfiguration", FunctionName="f")
            assert after == before | {"RevisionId": after["RevisionId"]}
            assert after["RevisionId"] != before["RevisionId"]
            await plane.call("UntagResource", Resource=f"{ARN}:f", TagKeys=["nothing"])
            again = await plane.call("GetFunctionConfiguration", FunctionName="f")
            assert again["RevisionId"] != after["RevisionId"]
            assert await plane.call("GetFunctionConfiguration", FunctionName="f:1") == version
            assert (await plane.call("GetFunction", FunctionName="f"))["Tags"] == {"a": "", "b": "2"}
            assert "Tags" not in await plane.call("GetFunction", FunctionName="f:1")

    run(main)


def test_a_revision_that_was_read_before_tagging_is_no_longer_good(tmp_path: Path):
    async def main() -> None:
        async with control_plane(tmp_path) as plane:
            before = await deployed(plane)
            await plane.call("TagResource", Resource=f"{ARN}:f", Tags={"a": "1"})
            stale = plane.call("PublishVersion", FunctionName="f", RevisionId=before["RevisionId"])
            assert (await refused(stale)).status == 412

    run(main)


@pytest.mark.parametrize("operation", [{"Tags": {"a": "1"}}, {"TagKeys": ["a"]}], ids=["tag", "untag"])
def test_tags_wait_for_an_update_to_end(tmp_path: Path, operation: dict[str, Any]):
    async def main() -> None:
        call = "TagResource" if "Tags" in operation else "UntagResource"
        async with control_plane(tmp_path, update=30.0) as plane:
            await deployed(plane)
            await plane.call("UpdateFunctionConfiguration", FunctionName="f", Timeout=9)
            refusal = await refused(plane.call(call, Resource=f"{ARN}:f", **operation))
            assert (refusal.status, refusal.message) == (
                409,
                f"The operation cannot be performed at this time. An update is in progress for resource: {ARN}:f",
            )
            assert await tags(plane, f"{ARN}:f") == {}

    run(main)


@pytest.mark.parametrize(
    ("arn", "status", "message"),
    [
        (f"{ARN}:nobody", 404, f"Function not found: {ARN}:nobody"),
        (
            f"{ARN}:nobody:1",
            400,
            "Tags on function aliases and versions are not supported. Please specify a function ARN.",
        ),
        (
            f"{ARN}:nobody:$LATEST",
            400,
            "Tags on function aliases and versions are not supported. Please specify a function ARN.",
        ),
        (
            f"{HERE}:code-signing-config:csc-0123456789abcdef0",
            404,
            f"The Lambda code signing configuration {HERE}:code-signing-config:csc-0123456789abcdef0 can not be found.",
        ),
        (
            f"{HERE}:event-source-mapping:123e4567-e89b-42d3-a456-426614174000",
            404,
            f"Event source mapping not found: {HERE}:event-source-mapping:123e4567-e89b-42d3-a456-426614174000",
        ),
        (f"{HERE}:capacity-provider:cp", 404, f"Capacity provider not found: {HERE}:capacity-provider:cp"),
        (f"{HERE}:network-connector:nc", 404, f"Network connector not found: {HERE}:network-connector:nc"),
        (f"{HERE}:layer:l", 400, f"Tags are not supported on this resource: {HERE}:layer:l."),
        (
            "arn:aws:lambda:eu-west-1:111111111111:function:f",
            404,
            "Functions from 'eu-west-1' are not reachable in this region ('us-east-1')",
        ),
        (
            "arn:aws:lambda:eu-west-1:111111111111:capacity-provider:cp",
            404,
            "Capacity provider not found: arn:aws:lambda:eu-west-1:111111111111:capacity-provider:cp",
        ),
        ("arn:aws:lambda:us-east-1:222222222222:function:f", 403, None),
        ("arn:aws:lambda:us-east-1:222222222222:capacity-provider:cp", 403, None),
    ],
)
def test_what_cannot_have_tags_says_why(tmp_path: Path, arn: str, status: int, message: str | None):
    async def main() -> None:
        async with control_plane(tmp_path) as plane:
            for refusal in (
                await refused(plane.call("ListTags", Resource=arn)),
                await refused(plane.call("TagResource", Resource=arn, Tags={"a": "1"})),
                await refused(plane.call("UntagResource", Resource=arn, TagKeys=["a"])),
            ):
                assert (refusal.status, refusal.message) == (status, message)

    run(main)


def test_a_code_signing_config_has_the_tags_it_was_made_with_and_takes_others(tmp_path: Path):
    async def main() -> None:
        async with control_plane(tmp_path) as plane:
            profile = f"arn:aws:signer:us-east-1:{HERE[-12:]}:/signing-profiles/p/v"
            publishers = {"SigningProfileVersionArns": [profile]}
            made = await plane.call("CreateCodeSigningConfig", AllowedPublishers=publishers, Tags={"a": "1"})
            arn = made["CodeSigningConfig"]["CodeSigningConfigArn"]
            assert await tags(plane, arn) == {"a": "1"}
            await plane.call("TagResource", Resource=arn, Tags={"b": "2"})
            await plane.call("UntagResource", Resource=arn, TagKeys=["a"])
            assert await tags(plane, arn) == {"b": "2"}
            shown = await plane.call("GetCodeSigningConfig", CodeSigningConfigArn=arn)
            assert shown["CodeSigningConfig"] == made["CodeSigningConfig"]
            await plane.call("DeleteCodeSigningConfig", CodeSigningConfigArn=arn)
            assert (await refused(plane.call("ListTags", Resource=arn))).status == 404

    run(main)


def test_reserved_keys_and_too_many_tags_are_refused_and_none_is_added(tmp_path: Path):
    async def main() -> None:
        async with control_plane(tmp_path) as plane:
            await deployed(plane, Tags={str(number): "" for number in range(49)})
            for wanted in ({"aws:x": "1"}, {"AWS:x": "1"}, {"x": "", "y": ""}):
                refusal = await refused(plane.call("TagResource", Resource=f"{ARN}:f", Tags=wanted))
                assert refusal.code == "InvalidParameterValueException"
            assert len(await tags(plane, f"{ARN}:f")) == 49
            await plane.call("TagResource", Resource=f"{ARN}:f", Tags={"x": "", "0": "again"})
            assert len(await tags(plane, f"{ARN}:f")) == 50

    run(main)


def test_nobody_s_tags_are_lost_when_many_tag_at_once(tmp_path: Path):
    async def main() -> None:
        async with control_plane(tmp_path) as plane:
            await deployed(plane)
            await asyncio.gather(
                *(plane.call("TagResource", Resource=f"{ARN}:f", Tags={str(number): ""}) for number in range(50))
            )
            assert set(await tags(plane, f"{ARN}:f")) == {str(number) for number in range(50)}

    run(main)


def test_a_function_made_again_has_none_of_the_old_tags(tmp_path: Path):
    async def main() -> None:
        async with control_plane(tmp_path) as plane:
            await deployed(plane, Tags={"a": "1"})
            await plane.call("DeleteFunction", FunctionName="f")
            await deployed(plane)
            assert await tags(plane, f"{ARN}:f") == {}

    run(main)
