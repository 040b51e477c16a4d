"""Permissions and resource policies of functions by the rules that no recording shows (AWS: spec 1.10)."""

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from support.control import ControlPlane, control_plane, refused, run

ARN = "arn:aws:lambda:us-east-1:111111111111:function:f"
S3 = {"FunctionName": "f", "Action": "lambda:InvokeFunction", "Principal": "s3.amazonaws.com"}
DENY = {
    "Sid": "deny",
    "Effect": "Deny",
    "Principal": "*",
    "Action": ["lambda:InvokeFunction", "lambda:GetFunction"],
    "Resource": ARN,
    "Condition": {"StringNotEquals": {"aws:SourceAccount": ["111111111111"]}},
}
WRONG_REVISION = (
    "The Revision Id provided does not match the latest Revision Id. Call the {} API to retrieve the latest Revision Id"
)
NOT_THERE = "The resource you requested does not exist."


@asynccontextmanager
async def with_alias(path: Path) -> AsyncGenerator[ControlPlane]:
    """A function `f` with version 1 and the alias `live`."""
    async with control_plane(path) as plane:
        await plane.create("f")
        await plane.settled("f")
        await plane.call("PublishVersion", FunctionName="f")
        await plane.call("CreateAlias", FunctionName="f", Name="live", FunctionVersion="1")
        yield plane


def policy(*statements: dict[str, Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": statements})


async def put(plane: ControlPlane, *statements: dict[str, Any], **members: Any) -> dict[str, Any]:
    given = {"ResourceArn": ARN, "Policy": policy(*statements), **members}
    return await plane.call("PutResourcePolicy", **given)


async def statements(plane: ControlPlane, **members: Any) -> list[dict[str, Any]]:
    answer = await plane.call("GetPolicy", **{"FunctionName": "f", **members})
    return json.loads(answer["Policy"])["Statement"]


def test_both_ways_to_change_a_policy_are_about_one_document(tmp_path: Path):
    async def main() -> None:
        async with with_alias(tmp_path) as plane:
            made = await put(plane, DENY)
            assert json.loads(made["Policy"])["Statement"] == [DENY]
            assert await plane.call("GetResourcePolicy", ResourceArn=ARN) == made
            assert await plane.call("GetPolicy", FunctionName="f") == made
            added = await plane.call("AddPermission", **S3, StatementId="s3", RevisionId=made["RevisionId"])
            assert await statements(plane) == [DENY, json.loads(added["Statement"])]
            await plane.call("RemovePermission", FunctionName="f", StatementId="deny")
            assert await statements(plane) == [json.loads(added["Statement"])]
            await put(plane, DENY)  # over what was added
            assert await statements(plane) == [DENY]
            await plane.call("DeleteResourcePolicy", ResourceArn=ARN)
            refusal = await refused(statements(plane))
            assert (refusal.status, refusal.message) == (404, NOT_THERE)

    run(main)


def test_each_qualifier_has_a_policy_of_its_own_that_goes_with_it(tmp_path: Path):
    async def main() -> None:
        async with with_alias(tmp_path) as plane:
            for arn in (ARN, f"{ARN}:1", f"{ARN}:live"):
                await put(plane, DENY | {"Resource": arn}, ResourceArn=arn)
            assert [(await statements(plane, **each))[0]["Resource"] for each in ({}, {"Qualifier": "1"})] == [
                ARN,
                f"{ARN}:1",
            ]
            await plane.call("DeleteAlias", FunctionName="f", Name="live")
            await plane.call("CreateAlias", FunctionName="f", Name="live", FunctionVersion="1")
            assert (await refused(statements(plane, Qualifier="live"))).status == 404
            await plane.call("DeleteFunction", FunctionName="f")
            await plane.create("f")
            assert (await refused(statements(plane))).status == 404

    run(main)


def test_a_revision_guards_every_change_of_a_policy(tmp_path: Path):
    async def main() -> None:
        async with with_alias(tmp_path) as plane:
            stale = {"RevisionId": "00000000-0000-4000-8000-000000000000"}
            for call, there in ((put(plane, DENY, **stale), "GetResourcePolicy"),):
                refusal = await refused(call)  # even when there is no policy
                assert (refusal.status, refusal.message) == (412, WRONG_REVISION.format(there))
            made = await put(plane, DENY)
            for call, there in (
                (put(plane, DENY, **stale), "GetResourcePolicy"),
                (plane.call("DeleteResourcePolicy", ResourceArn=ARN, **stale), "GetResourcePolicy"),
                (plane.call("AddPermission", **S3, StatementId="s3", **stale), "GetPolicy"),
                (plane.call("RemovePermission", FunctionName="f", StatementId="deny", **stale), "GetPolicy"),
            ):
                refusal = await refused(call)
                assert (refusal.status, refusal.message) == (412, WRONG_REVISION.format(there))
            assert await plane.call("GetPolicy", FunctionName="f") == made
            again = await put(plane, DENY, RevisionId=made["RevisionId"])
            assert again["RevisionId"] != made["RevisionId"]

    run(main)


def test_many_who_add_permissions_at_once_all_find_theirs(tmp_path: Path):
    async def main() -> None:
        async with with_alias(tmp_path) as plane:
            adds = (plane.call("AddPermission", **S3, StatementId=f"s{number}") for number in range(40))
            await asyncio.gather(*adds)
            assert {each["Sid"] for each in await statements(plane)} == {f"s{number}" for number in range(40)}

    run(main)


def test_a_policy_has_twenty_kilobytes_at_most(tmp_path: Path):
    async def main() -> None:
        async with with_alias(tmp_path) as plane:
            number = 0
            while True:
                number += 1
                source = {"StatementId": f"s{number}", "SourceArn": "arn:aws:s3:::" + "b" * 1_000}
                try:
                    await plane.call("AddPermission", **S3, **source)
                except Exception as error:
                    refusal = error
                    break
            assert type(refusal).__name__ == "PolicyLengthExceededException"
            assert 15 < number < 21
            kept = await plane.call("GetPolicy", FunctionName="f")
            assert len(kept["Policy"]) <= 20_480
            # Counted in bytes, which the service model does not do.
            wide = DENY | {"Sid": "é" * 10_200}
            assert (await refused(put(plane, wide))).code == "PolicyLengthExceededException"
            assert await plane.call("GetPolicy", FunctionName="f") == kept

    run(main)


@pytest.mark.parametrize(
    ("member", "action", "only"),
    [
        ({"FunctionUrlAuthType": "NONE"}, "lambda:InvokeFunction", "lambda:InvokeFunctionUrl"),
        ({"FunctionUrlAuthType": "AWS_IAM"}, "lambda:*", "lambda:InvokeFunctionUrl"),
        ({"InvokedViaFunctionUrl": True}, "lambda:InvokeFunctionUrl", "lambda:InvokeFunction"),
    ],
)
def test_conditions_about_urls_go_with_their_action(tmp_path: Path, member: dict[str, Any], action: str, only: str):
    async def main() -> None:
        async with with_alias(tmp_path) as plane:
            given = {"FunctionName": "f", "StatementId": "s", "Principal": "*"}
            refusal = await refused(plane.call("AddPermission", **given, Action=action, **member))
            name = next(iter(member))
            assert refusal.message == f"{name} is only supported for {only} action"
            added = await plane.call("AddPermission", **given, Action=only, **member)
            operator = "Bool" if name == "InvokedViaFunctionUrl" else "StringEquals"
            value = "true" if member[name] is True else member[name]
            assert json.loads(added["Statement"])["Condition"] == {operator: {f"lambda:{name}": value}}

    run(main)


@pytest.mark.parametrize(
    ("principal", "stands"),
    [
        ("222222222222", {"AWS": "arn:aws:iam::222222222222:root"}),
        ("arn:aws:iam::222222222222:role/a/b", {"AWS": "arn:aws:iam::222222222222:role/a/b"}),
        ("arn:aws:sts::222222222222:assumed-role/r/s", {"AWS": "arn:aws:sts::222222222222:assumed-role/r/s"}),
        ("logs.us-east-1.amazonaws.com", {"Service": "logs.us-east-1.amazonaws.com"}),
        ("alexa-appkit.amazon.com", {"Service": "alexa-appkit.amazon.com"}),
        ("*", "*"),
    ],
)
def test_a_principal_stands_in_its_statement_as_what_it_is(tmp_path: Path, principal: str, stands: object):
    async def main() -> None:
        async with with_alias(tmp_path) as plane:
            added = await plane.call("AddPermission", **S3 | {"Principal": principal}, StatementId="s")
            assert json.loads(added["Statement"])["Principal"] == stands

    run(main)


def test_nothing_is_put_on_what_does_not_exist(tmp_path: Path):
    async def main() -> None:
        async with with_alias(tmp_path) as plane:
            for arn, message in (
                (f"{ARN}:2", f"Function not found: {ARN}:2"),
                (f"{ARN}:nobody", f"Cannot find alias arn: {ARN}:nobody"),
                (f"{ARN}-not", f"Function not found: {ARN}-not"),
                (f"{ARN}:a$LATEST", NOT_THERE),
                ("arn:aws:lambda:us-east-1:111111111111:runtime/mine", NOT_THERE),
            ):
                refusal = await refused(put(plane, DENY | {"Resource": arn}, ResourceArn=arn))
                assert (refusal.status, refusal.message) == (404, message)
                for operation in ("GetResourcePolicy", "DeleteResourcePolicy"):
                    refusal = await refused(plane.call(operation, ResourceArn=arn))
                    assert (refusal.status, refusal.message) == (404, NOT_THERE)
            refusal = await refused(put(plane, DENY, ResourceArn=f"{ARN}:$LATEST"))
            assert refusal.message == "We currently do not support adding policies for $LATEST."

    run(main)
