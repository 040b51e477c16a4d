"""Aliases by the rules that no recording shows: what they may point to, what changes them, how they are followed."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lamplighter.model.aliases import Alias, from_document, to_document
from lamplighter.model.errors import ServiceError
from support.control import ROLE, ControlPlane, control_plane, function_id, run

ARN = "arn:aws:lambda:us-east-1:111111111111:function"
QUEUE = "arn:aws:sqs:us-east-1:111111111111:q"


async def refused(call: Coroutine[Any, Any, Any]) -> ServiceError:
    with pytest.raises(ServiceError) as caught:
        await call
    return caught.value


@asynccontextmanager
async def two_versions(path: Path, **difference: Any) -> AsyncIterator[ControlPlane]:
    """A function `f` with the versions 1 and 2."""
    async with control_plane(path) as plane:
        await plane.create("f")
        await plane.settled("f")
        await plane.call("PublishVersion", FunctionName="f")
        await plane.call("UpdateFunctionConfiguration", FunctionName="f", **(difference or {"Timeout": 9}))
        await plane.settled("f")
        await plane.call("PublishVersion", FunctionName="f")
        yield plane


def weights(**by_version: float) -> dict[str, Any]:
    """weights(v2=0.5)"""
    return {"AdditionalVersionWeights": {version[1:]: weight for version, weight in by_version.items()}}


@pytest.mark.parametrize(
    ("asked", "code", "message"),
    [
        (
            {"FunctionVersion": "1", "RoutingConfig": weights(v1=0.5, v2=0.5)},
            "InvalidParameterValueException",
            "Number of items in AdditionalVersionWeights cannot be greater than 1",
        ),
        (
            {"FunctionVersion": "1", "RoutingConfig": weights(v1=0.5)},
            "InvalidParameterValueException",
            "Invalid function version 1. Function version 1 is already included in routing configuration.",
        ),
        (
            {"FunctionVersion": "$LATEST", "RoutingConfig": weights(v1=0.5)},
            "InvalidParameterValueException",
            "$LATEST is not supported for an alias pointing to more than 1 version",
        ),
        ({"FunctionVersion": "10"}, "ResourceNotFoundException", f"Function not found: {ARN}:f:10"),
        (
            {"FunctionVersion": "1", "RoutingConfig": weights(v10=0.5)},
            "ResourceNotFoundException",
            f"Function not found: {ARN}:f:10",
        ),
        (
            {"FunctionVersion": "$LATEST.PUBLISHED"},
            "ResourceNotFoundException",
            f"Function not found: {ARN}:f:$LATEST.PUBLISHED",
        ),
        (
            {"FunctionName": "nobody", "FunctionVersion": "1"},
            "ResourceNotFoundException",
            f"Function not found: {ARN}:nobody:1",
        ),
    ],
)
def test_an_alias_cannot_point_just_anywhere(tmp_path: Path, asked: dict[str, Any], code: str, message: str):
    async def main() -> None:
        async with two_versions(tmp_path) as plane:
            refusal = await refused(plane.call("CreateAlias", **({"FunctionName": "f", "Name": "a"} | asked)))
            assert (refusal.code, refusal.message) == (code, message)
            assert (await plane.call("ListAliases", FunctionName="f"))["Aliases"] == []
            if "FunctionName" not in asked:  # nor can one be moved there
                await plane.call("CreateAlias", FunctionName="f", Name="a", FunctionVersion="2")
                before = await plane.call("GetAlias", FunctionName="f", Name="a")
                refusal = await refused(plane.call("UpdateAlias", FunctionName="f", Name="a", **asked))
                assert (refusal.code, refusal.message) == (code, message)
                assert await plane.call("GetAlias", FunctionName="f", Name="a") == before

    run(main)


@pytest.mark.parametrize(
    ("difference", "what"),
    [({"Role": ROLE + "2"}, "execution role"), ({"DeadLetterConfig": {"TargetArn": QUEUE}}, "dead letter config")],
)
def test_the_versions_of_one_alias_share_role_and_dead_letter_target(tmp_path: Path, difference: Any, what: str):
    async def main() -> None:
        async with two_versions(tmp_path, **difference) as plane:
            weighted = {"FunctionVersion": "1", "RoutingConfig": weights(v2=0.5)}
            refusal = await refused(plane.call("CreateAlias", FunctionName="f", Name="a", **weighted))
            assert refusal.code == "InvalidParameterValueException"
            assert refusal.message == f"Specified versions must be associated with the same {what}"

    run(main)


def test_an_update_changes_what_it_names_and_always_the_revision(tmp_path: Path):
    async def main() -> None:
        async with two_versions(tmp_path) as plane:
            name = {"FunctionName": "f", "Name": "a"}
            routing = weights(v2=0.25)
            made = await plane.call("CreateAlias", **name, FunctionVersion="1", RoutingConfig=routing, Description="d")
            described = await plane.call("UpdateAlias", **name, Description="other")
            assert described == made | {"Description": "other", "RevisionId": described["RevisionId"]}
            assert described["RevisionId"] != made["RevisionId"]
            refusal = await refused(plane.call("UpdateAlias", **name, FunctionVersion="2"))
            assert refusal.message.startswith("Invalid function version 2.")  # it has the weights of before
            moved = await plane.call("UpdateAlias", **name, FunctionVersion="2", RoutingConfig={}, Description="")
            assert (moved["FunctionVersion"], moved["Description"]) == ("2", "")
            assert "RoutingConfig" not in moved
            same = await plane.call("UpdateAlias", **name)
            assert same == moved | {"RevisionId": same["RevisionId"]}
            assert same["RevisionId"] != moved["RevisionId"]

    run(main)


def test_a_revision_id_guards_the_update_of_an_alias(tmp_path: Path):
    async def main() -> None:
        async with two_versions(tmp_path) as plane:
            name = {"FunctionName": "f", "Name": "a"}
            made = await plane.call("CreateAlias", **name, FunctionVersion="1")
            revision = made["RevisionId"]
            moves = (
                plane.call("UpdateAlias", **name, FunctionVersion=version, RevisionId=revision)
                for version in ("1", "2", "1", "2")
            )
            answers = await asyncio.gather(*moves, return_exceptions=True)
            accepted = [answer for answer in answers if isinstance(answer, dict)]
            refusals = [answer for answer in answers if isinstance(answer, ServiceError)]
            assert (len(accepted), len(refusals)) == (1, 3)
            assert await plane.call("GetAlias", **name) == accepted[0]
            for refusal in refusals:
                assert (refusal.status, refusal.message) == (
                    412,
                    "The Revision Id provided does not match the latest Revision Id. "
                    "Call the GetFunction/GetAlias API to retrieve the latest Revision Id",
                )

    run(main)


def test_what_is_not_there_is_said_in_each_operation_s_own_words(tmp_path: Path):
    async def main() -> None:
        async with two_versions(tmp_path) as plane:
            name = {"FunctionName": "f", "Name": "a"}
            refusal = await refused(plane.call("GetAlias", **name))
            assert (refusal.status, refusal.message) == (404, f"Cannot find alias arn: {ARN}:f:a")
            refusal = await refused(plane.call("UpdateAlias", **name))
            assert (refusal.status, refusal.message) == (404, f"Alias not found: {ARN}:f:a")
            refusal = await refused(plane.call("ListAliases", FunctionName="nobody"))
            assert (refusal.status, refusal.message) == (404, f"Function not found: {ARN}:nobody")
            await plane.call("DeleteAlias", **name)
            await plane.call("DeleteAlias", FunctionName="nobody", Name="a")
            await plane.call("CreateAlias", **name, FunctionVersion="1")
            refusal = await refused(plane.call("CreateAlias", **name, FunctionVersion="2"))
            assert (refusal.status, refusal.message) == (409, f"Alias already exists: {ARN}:f:a")
            refusal = await refused(plane.call("GetAlias", FunctionName="f:1", Name="a"))
            assert refusal.code == "InvalidParameterValueException"

    run(main)


def test_an_alias_may_follow_latest_and_goes_with_the_function(tmp_path: Path):
    async def main() -> None:
        async with two_versions(tmp_path) as plane:
            name = {"FunctionName": "f", "Name": "dev"}
            await plane.call("CreateAlias", **name, FunctionVersion="$LATEST")
            shown = await plane.call("GetFunctionConfiguration", FunctionName="f:dev")
            assert (shown["Version"], shown["FunctionArn"]) == ("$LATEST", f"{ARN}:f:dev")
            await plane.call("DeleteFunction", FunctionName="f")
            await plane.create("f")
            refusal = await refused(plane.call("GetAlias", **name))
            assert refusal.status == 404
            refusal = await refused(plane.call("GetFunction", FunctionName="f", Qualifier="dev"))
            assert refusal.message == f"Function not found: {ARN}:f:dev"

    run(main)


def test_aliases_are_listed_by_name_in_pages(tmp_path: Path):
    async def main() -> None:
        async with two_versions(tmp_path) as plane:
            for number in range(60):
                version = "1" if number % 3 else "2"
                await plane.call("CreateAlias", FunctionName="f", Name=f"a{number:02d}", FunctionVersion=version)
            everything = {"FunctionName": "f", "MaxItems": 10_000}
            first = await plane.call("ListAliases", **everything)
            assert [alias["Name"] for alias in first["Aliases"]] == [f"a{number:02d}" for number in range(50)]
            await plane.call("DeleteAlias", FunctionName="f", Name="a49")  # the last one given
            rest = await plane.call("ListAliases", **everything, Marker=first["NextMarker"])
            assert [alias["Name"] for alias in rest["Aliases"]] == [f"a{number:02d}" for number in range(50, 60)]
            assert "NextMarker" not in rest

            seen: list[str] = []
            marker: dict[str, str] = {}
            while True:
                page = await plane.call("ListAliases", FunctionName="f", FunctionVersion="2", MaxItems=7, **marker)
                seen += [alias["Name"] for alias in page["Aliases"]]
                if "NextMarker" not in page:
                    break
                marker = {"Marker": page["NextMarker"]}
            assert seen == [f"a{number:02d}" for number in range(0, 60, 3)]
            assert (await plane.call("ListAliases", FunctionName="f", FunctionVersion="7"))["Aliases"] == []
            refusal = await refused(plane.call("ListAliases", FunctionName="f", Marker="x"))
            assert refusal.code == "InvalidParameterValueException"

    run(main)


share = st.floats(0, 1)


@given(share, st.floats(0, 1, exclude_max=True))
def test_a_weight_is_the_share_of_chances_that_go_to_its_version(weight: float, chance: float):
    alias = Alias(function_id("f"), "a", "1", "r", weights={"2": weight})
    assert alias.pick(chance) == ("2" if chance < weight else "1")
    assert Alias(function_id("f"), "a", "1", "r").pick(chance) == "1"


@given(st.text(), st.text(), st.dictionaries(st.from_regex(r"[0-9]+", fullmatch=True), share, max_size=1))
def test_an_alias_comes_back_from_its_record_as_it_was(version: str, description: str, weights: dict[str, float]):
    alias = Alias(function_id("f"), "a", version, "r", description, weights)
    assert from_document(alias.function, alias.name, to_document(alias)) == alias
