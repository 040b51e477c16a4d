"""Layers: what recordings of AWS do not show of their versions, their policies and their functions."""

import asyncio
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lamplighter.api.http import Call, Caller
from lamplighter.control import configuration
from lamplighter.model.errors import (
    AccessDeniedException,
    InvalidParameterValueException,
    PolicyLengthExceededException,
    ResourceConflictException,
    ResourceNotFoundException,
    ServiceError,
)
from lamplighter.model.functions import CodePackage, FunctionVersion, LayerRef
from support.control import ACCOUNT, CALL, REGION, ControlPlane, control_plane, function_id, run, zipped

OTHER_ACCOUNT = "222222222222"
NEIGHBOUR = Call("r-2", Caller("AKIB", OTHER_ACCOUNT, f"arn:aws:iam::{OTHER_ACCOUNT}:root"), REGION, CALL.endpoint)
HERE = f"arn:aws:lambda:{REGION}:{ACCOUNT}:layer"


async def publish(plane: ControlPlane, name: str = "tools", content: str = "", **members: Any) -> dict[str, Any]:
    package = zipped({f"python/{name}.py": f"# {content}"})
    return await plane.call("PublishLayerVersion", LayerName=name, Content={"ZipFile": package}, **members)


async def versions(plane: ControlPlane, name: str = "tools", **members: Any) -> list[int]:
    answer = await plane.call("ListLayerVersions", LayerName=name, **members)
    return [version["Version"] for version in answer["LayerVersions"]]


async def refusal(kind: type[ServiceError], plane: ControlPlane, operation: str, **members: Any) -> str:
    with pytest.raises(kind) as refused:
        await plane.call(operation, **members)
    return refused.value.message or ""


def test_numbers_of_versions_are_never_given_again(tmp_path: Path):
    async def main() -> None:
        async with control_plane(tmp_path) as plane:
            for number in (1, 2, 3):
                assert (await publish(plane))["Version"] == number
            for number in (1, 3):
                await plane.call("DeleteLayerVersion", LayerName="tools", VersionNumber=number)
            await plane.call("DeleteLayerVersion", LayerName="tools", VersionNumber=3)
            assert await versions(plane) == [2]
            assert (await publish(plane))["Version"] == 4
            assert await versions(plane) == [4, 2]
        async with control_plane(tmp_path) as plane:
            assert (await publish(plane))["Version"] == 5

    run(main)


def test_versions_published_at_once_have_numbers_of_their_own(tmp_path: Path):
    async def main() -> None:
        async with control_plane(tmp_path) as plane:
            published = await asyncio.gather(*(publish(plane, content=str(number)) for number in range(20)))
            assert sorted(version["Version"] for version in published) == list(range(1, 21))
            assert await versions(plane) == list(range(20, 0, -1))

    run(main)


def test_the_same_package_may_be_code_and_layer_and_stays_until_neither_needs_it(tmp_path: Path):
    async def main() -> None:
        async with control_plane(tmp_path) as plane:
            package = zipped()  # once: a zip tells the time
            layer = await plane.call("PublishLayerVersion", LayerName="same", Content={"ZipFile": package})
            assert await plane.references.total_size(ACCOUNT, REGION) == len(package)
            await plane.create("f", Code={"ZipFile": package}, Layers=[layer["LayerVersionArn"]])
            await plane.settled("f")
            assert await plane.references.total_size(ACCOUNT, REGION) == 2 * len(package)
            await plane.call("DeleteLayerVersion", LayerName="same", VersionNumber=1)
            await plane.packages_left(1)
            await plane.call("DeleteFunction", FunctionName="f")
            await plane.packages_left(0)

    run(main)


def test_a_list_of_versions_goes_on_where_it_stopped_whatever_happens_meanwhile(tmp_path: Path):
    async def main() -> None:
        async with control_plane(tmp_path) as plane:
            for _ in range(12):
                await publish(plane)
            first = await plane.call("ListLayerVersions", LayerName="tools", MaxItems=3)
            assert [version["Version"] for version in first["LayerVersions"]] == [12, 11, 10]
            await publish(plane)
            await plane.call("DeleteLayerVersion", LayerName="tools", VersionNumber=10)
            await plane.call("DeleteLayerVersion", LayerName="tools", VersionNumber=9)
            assert await versions(plane, Marker=first["NextMarker"], MaxItems=2) == [8, 7]
            rest = await plane.call("ListLayerVersions", LayerName="tools", MaxItems=50)
            assert len(rest["LayerVersions"]) == 11 and rest["NextMarker"] is None
            await refusal(
                InvalidParameterValueException, plane, "ListLayerVersions", LayerName="tools", Marker="nonsense"
            )

    run(main)


def test_lists_show_the_newest_version_that_is_compatible(tmp_path: Path):
    async def main() -> None:
        async with control_plane(tmp_path) as plane:
            old, new = ["python3.11"], ["python3.12", "python3.13"]
            await publish(plane, "a", CompatibleRuntimes=old, CompatibleArchitectures=["x86_64"])
            await publish(plane, "a", CompatibleRuntimes=new, CompatibleArchitectures=["arm64"])
            await publish(plane, "b", CompatibleRuntimes=new, CompatibleArchitectures=["x86_64", "arm64"])
            await publish(plane, "c")
            gone = await publish(plane, "d")
            await plane.call("DeleteLayerVersion", LayerName="d", VersionNumber=gone["Version"])

            async def listed(**members: Any) -> list[str]:
                answer = await plane.call("ListLayers", **members)
                found: list[str] = []
                for layer in answer["Layers"]:
                    latest = layer["LatestMatchingVersion"]
                    assert latest["LayerVersionArn"] == f"{layer['LayerArn']}:{latest['Version']}"
                    found.append(f"{layer['LayerName']}{latest['Version']}")
                return found

            assert await listed() == ["a2", "b1", "c1"]
            assert await listed(CompatibleRuntime="python3.11") == ["a1"]
            assert await listed(CompatibleRuntime="python3.12") == ["a2", "b1"]
            assert await listed(CompatibleArchitecture="x86_64") == ["a1", "b1"]
            assert await listed(CompatibleRuntime="python3.12", CompatibleArchitecture="x86_64") == ["b1"]
            assert await listed(CompatibleRuntime="ruby3.3") == []
            assert await versions(plane, "a", CompatibleArchitecture="arm64") == [2]

            names: list[str] = []
            marker = None
            while True:
                answer = await plane.call("ListLayers", MaxItems=1, Marker=marker)
                names += [layer["LayerName"] for layer in answer["Layers"]]
                marker = answer["NextMarker"]
                if marker is None:
                    break
            assert names == ["a", "b", "c"]

    run(main)


def test_many_layers_without_a_version_do_not_shorten_a_page(tmp_path: Path):
    async def main() -> None:
        async with control_plane(tmp_path) as plane:
            for number in range(60):
                await publish(plane, f"layer-{number:02}")
                if number % 2:
                    await plane.call("DeleteLayerVersion", LayerName=f"layer-{number:02}", VersionNumber=1)
            answer = await plane.call("ListLayers", MaxItems=29)
            assert [layer["LayerName"] for layer in answer["Layers"]] == [f"layer-{n:02}" for n in range(0, 58, 2)]
            last = await plane.call("ListLayers", Marker=answer["NextMarker"])
            assert [layer["LayerName"] for layer in last["Layers"]] == ["layer-58"]

    run(main)


def test_what_is_no_version_is_refused_before_anything_is_looked_for(tmp_path: Path):
    async def main() -> None:
        async with control_plane(tmp_path) as plane:
            for operation in ("GetLayerVersion", "DeleteLayerVersion", "GetLayerVersionPolicy"):
                for number in (0, -1):
                    which = {"LayerName": "nothing", "VersionNumber": number}
                    text = await refusal(InvalidParameterValueException, plane, operation, **which)
                    assert text == "Layer Version Cannot be less than 1"
            missing = "The resource you requested does not exist."
            which = {"LayerName": "nothing", "VersionNumber": 1}
            assert await refusal(ResourceNotFoundException, plane, "GetLayerVersion", **which) == missing
            for arn in (f"{HERE}:nothing:1", "arn:aws:lambda:eu-west-1:111111111111:layer:nothing:1"):
                assert await refusal(ResourceNotFoundException, plane, "GetLayerVersionByArn", Arn=arn) == missing
            elsewhere = "arn:aws:lambda:eu-west-1:111111111111:layer:tools"
            text = await refusal(
                ResourceNotFoundException, plane, "GetLayerVersion", LayerName=elsewhere, VersionNumber=1
            )
            assert text == f"Layers from 'eu-west-1' are not reachable in this region ('{REGION}')"
            assert await versions(plane, "nothing") == []

    run(main)


def test_a_package_of_a_layer_is_bounded_and_checked_like_that_of_a_function(tmp_path: Path):
    async def main() -> None:
        async with control_plane(tmp_path, code_storage=len(zipped()) + 10) as plane:
            for content, text in (
                ({"ZipFile": b"no zip"}, "Could not unzip uploaded file."),
                ({"ZipFile": b""}, "Uploaded file must be a non-empty zip"),
                ({}, "Please provide a source for layer content."),
                ({"S3Bucket": "bucket"}, "Please provide S3Key for layer content in S3."),
                ({"S3Bucket": "bucket", "S3Key": "key"}, "Error occurred while GetObject. S3 Error Code: Service"),
                ({"S3Bucket": "b-b", "S3Key": "k", "S3ObjectStorageMode": "REFERENCE"}, "Packages that stay in S3"),
                ({"S3Bucket": "bucket", "S3Key": "key", "ZipFile": zipped()}, "Please do not provide other"),
            ):
                refused = await refusal(
                    InvalidParameterValueException, plane, "PublishLayerVersion", LayerName="tools", Content=content
                )
                assert refused.startswith(text)
            await plane.call("PublishLayerVersion", LayerName="tools", Content={"ZipFile": zipped()})
            with pytest.raises(ServiceError, match=r"Code storage limit exceeded\."):
                await plane.call("PublishLayerVersion", LayerName="tools", Content={"ZipFile": zipped()})
            assert await versions(plane) == [1]

    run(main)


def test_a_function_keeps_what_it_uses_of_a_layer_that_is_deleted(tmp_path: Path):
    async def main() -> None:
        async with control_plane(tmp_path) as plane:
            arn = (await publish(plane))["LayerVersionArn"]
            await plane.create("f", Layers=[arn])
            before = await plane.settled("f")
            assert [layer["Arn"] for layer in before["Layers"]] == [arn]
            await plane.call("DeleteLayerVersion", LayerName="tools", VersionNumber=1)
            await plane.packages_left(2)
            assert await plane.settled("f") == before
            # It cannot be given to anybody again, not even to the function that has it.
            text = await refusal(
                InvalidParameterValueException,
                plane,
                "UpdateFunctionConfiguration",
                FunctionName="f",
                Layers=[arn],
            )
            assert text == f"Layer version {arn} does not exist."
            await plane.call("UpdateFunctionConfiguration", FunctionName="f", Timeout=9)
            assert "Layers" in await plane.settled("f")
            await plane.call("UpdateFunctionConfiguration", FunctionName="f", Layers=[])
            assert "Layers" not in await plane.settled("f")
            await plane.packages_left(1)

    run(main)


def test_a_layer_is_unpacked_before_the_function_is_active(tmp_path: Path):
    async def main() -> None:
        async with control_plane(tmp_path) as plane:
            layer = await publish(plane)
            await plane.create("f", Layers=[layer["LayerVersionArn"]])
            await plane.settled("f")
            function = await plane.stored.get(function_id("f"))
            assert function is not None
            for package in (function.code, function.layers[0].package):
                assert (plane.directory.code / package.digest).is_dir()

    run(main)


def test_a_layer_that_is_deleted_while_a_function_takes_it_is_there_or_refused(tmp_path: Path):
    async def main() -> None:
        async with control_plane(tmp_path) as plane:
            for number in range(1, 31):
                arn = (await publish(plane, content=str(number)))["LayerVersionArn"]
                created, deleted = await asyncio.gather(
                    plane.create(f"f{number}", Layers=[arn]),
                    plane.call("DeleteLayerVersion", LayerName="tools", VersionNumber=number),
                    return_exceptions=True,
                )
                assert not isinstance(deleted, BaseException)
                if isinstance(created, BaseException):
                    assert str(created) == f"Layer version {arn} does not exist."
                else:
                    assert (await plane.settled(f"f{number}"))["State"] == "Active"

    run(main)


def test_refusals_of_layers_that_a_function_cannot_have(tmp_path: Path):
    async def main() -> None:
        async with control_plane(tmp_path) as plane:
            ours = [(await publish(plane))["LayerVersionArn"] for _ in range(2)]
            elsewhere = f"arn:aws:lambda:eu-west-1:{ACCOUNT}:layer:tools:1"
            theirs = f"arn:aws:lambda:{REGION}:{OTHER_ACCOUNT}:layer:tools:1"
            same = "Two different versions of the same layer are not allowed to be referenced in the same function. "
            await plane.create("f")
            await plane.settled("f")
            for layers, text in (
                ([f"{HERE}:tools:9"], f"Layer version {HERE}:tools:9 does not exist."),
                ([f"{HERE}:nothing:1"], f"Layer version {HERE}:nothing:1 does not exist."),
                (
                    ["arn:aws:lambda:::awslayer:AmazonLinux1803"],
                    "Layer version arn:aws:lambda:::awslayer:AmazonLinux1803 does not exist.",
                ),
                (
                    [elsewhere],
                    f"Layers are not in the same region as the function. Layers are expected to be in region {REGION}.",
                ),
                (ours, f"{same}{ours[0]} and {ours[1]} are versions of the same layer."),
                (ours[:1] * 2, f"{same}{ours[0]} and {ours[0]} are versions of the same layer."),
                ([f"{HERE}:l{n}:1" for n in range(6)], "Cannot reference more than 5 layers."),
                (
                    [theirs],
                    f"User: arn:aws:iam::{ACCOUNT}:root is not authorized to perform: lambda:GetLayerVersion on "
                    f"resource: {theirs} because no resource-based policy allows the lambda:GetLayerVersion action",
                ),
            ):
                with pytest.raises(ServiceError) as created:
                    await plane.create("g", Layers=layers)
                with pytest.raises(ServiceError) as updated:
                    await plane.call("UpdateFunctionConfiguration", FunctionName="f", Layers=layers)
                assert created.value.message == updated.value.message == text
                assert created.value.status == (403 if layers == [theirs] else 400)

    run(main)


def test_code_and_layers_share_one_limit():
    def function(code: int, *layers: int) -> FunctionVersion:
        refs = tuple(LayerRef(f"arn:{size}", CodePackage("bb", 1, size)) for size in layers)
        package = CodePackage("aa", 1, code)
        return FunctionVersion(function_id("f"), "$LATEST", 1, "r", "role", package, "p", "h", "now", layers=refs)

    most = configuration.LARGEST_UNZIPPED
    configuration.check_unzipped(function(most))
    configuration.check_unzipped(function(1, most - 2, 1))
    with pytest.raises(InvalidParameterValueException, match=f"The actual size is {most + 1} bytes\\."):
        configuration.check_unzipped(function(1, most - 1, 1))
    with pytest.raises(InvalidParameterValueException, match="Layers consume more than the available size of 2621440"):
        configuration.check_unzipped(function(1, most, 1))


def test_the_limit_of_code_and_layers_holds_whichever_comes_last(tmp_path: Path):
    async def main() -> None:
        large = zipped({"zeros": bytes(configuration.LARGEST_UNZIPPED // 2 + 1)})
        async with control_plane(tmp_path) as plane:
            published = await plane.call("PublishLayerVersion", LayerName="big", Content={"ZipFile": large})
            arn = published["LayerVersionArn"]
            await plane.create("code", Code={"ZipFile": large})
            await plane.create("layer", Layers=[arn])
            await plane.settled("code")
            await plane.settled("layer")
            for refused in (
                plane.create("f", Layers=[arn], Code={"ZipFile": large}),
                plane.call("UpdateFunctionConfiguration", FunctionName="code", Layers=[arn]),
                plane.call("UpdateFunctionCode", FunctionName="layer", ZipFile=large),
                plane.call("UpdateFunctionCode", FunctionName="layer", ZipFile=large, DryRun=True),
            ):
                with pytest.raises(InvalidParameterValueException, match="combined with layers exceeds the maximum"):
                    await refused

    run(main)


def test_a_policy_lets_other_accounts_use_a_version(tmp_path: Path):
    async def main() -> None:
        async with control_plane(tmp_path) as plane:
            arn = (await publish(plane))["LayerVersionArn"]
            ours = {"LayerName": "tools", "VersionNumber": 1}
            theirs = {"LayerName": f"{HERE}:tools", "VersionNumber": 1}
            permission = {"StatementId": "s", "Action": "lambda:GetLayerVersion"}

            async def may_they() -> bool:
                try:
                    seen = await plane.operations["GetLayerVersion"](NEIGHBOUR, dict(theirs))
                except AccessDeniedException as refused:
                    assert refused.message == (
                        f"User: arn:aws:iam::{OTHER_ACCOUNT}:root is not authorized to perform: "
                        f"lambda:GetLayerVersion on resource: {arn} "
                        "because no resource-based policy allows the lambda:GetLayerVersion action"
                    )
                    return False
                by_arn = await plane.operations["GetLayerVersionByArn"](NEIGHBOUR, {"Arn": arn})
                assert seen["LayerVersionArn"] == by_arn["LayerVersionArn"] == arn
                return True

            assert not await may_they()
            for principal, organization, allowed in (
                (OTHER_ACCOUNT, None, True),
                (f"arn:aws:iam::{OTHER_ACCOUNT}:root", None, True),
                ("*", None, True),
                ("333333333333", None, False),
                ("*", "o-abcdefghij", False),
            ):
                await plane.call(
                    "AddLayerVersionPermission",
                    **ours,
                    **permission,
                    Principal=principal,
                    OrganizationId=organization,
                )
                assert await may_they() is allowed, principal
                await plane.call("RemoveLayerVersionPermission", **ours, StatementId="s")
            # Nobody but the owner changes anything, whatever the policy says.
            await plane.call("AddLayerVersionPermission", **ours, **permission, Principal="*")
            for operation, more in (
                ("DeleteLayerVersion", {}),
                ("GetLayerVersionPolicy", {}),
                ("AddLayerVersionPermission", {**permission, "Principal": "*"}),
                ("RemoveLayerVersionPermission", {"StatementId": "s"}),
            ):
                with pytest.raises(AccessDeniedException):
                    await plane.operations[operation](NEIGHBOUR, {**theirs, **more})
            with pytest.raises(AccessDeniedException):
                await plane.operations["PublishLayerVersion"](
                    NEIGHBOUR, {"LayerName": theirs["LayerName"], "Content": {"ZipFile": zipped()}}
                )
            created = await plane.operations["CreateFunction"](
                NEIGHBOUR,
                {
                    "FunctionName": "f",
                    "Runtime": "python3.12",
                    "Role": f"arn:aws:iam::{OTHER_ACCOUNT}:role/r",
                    "Handler": "handler.handler",
                    "Code": {"ZipFile": zipped()},
                    "Layers": [arn],
                },
            )
            assert created["Layers"][0]["Arn"] == arn

    run(main)


def test_a_policy_is_built_statement_by_statement_and_goes_with_its_version(tmp_path: Path):
    async def main() -> None:
        async with control_plane(tmp_path) as plane:
            await publish(plane)
            await publish(plane)
            which = {"LayerName": "tools", "VersionNumber": 1}
            add = {**which, "Action": "lambda:GetLayerVersion", "Principal": "*"}
            first = await plane.call("AddLayerVersionPermission", **add, StatementId="s1")
            second = await plane.call(
                "AddLayerVersionPermission",
                **add | {"Principal": OTHER_ACCOUNT},
                StatementId="s2",
                RevisionId=first["RevisionId"],
            )
            assert first["RevisionId"] != second["RevisionId"]
            policy = await plane.call("GetLayerVersionPolicy", **which)
            assert policy["RevisionId"] == second["RevisionId"]
            assert json.loads(policy["Policy"]) == {
                "Version": "2012-10-17",
                "Id": "default",
                "Statement": [json.loads(first["Statement"]), json.loads(second["Statement"])],
            }
            assert json.loads(second["Statement"])["Principal"] == {"AWS": f"arn:aws:iam::{OTHER_ACCOUNT}:root"}
            await refusal(ResourceConflictException, plane, "AddLayerVersionPermission", **add, StatementId="s1")
            assert (await plane.call("GetLayerVersionPolicy", **which))["RevisionId"] == second["RevisionId"]
            with pytest.raises(PolicyLengthExceededException):
                for number in range(1000):
                    await plane.call("AddLayerVersionPermission", **add, StatementId=f"more-{number}")
            missing = "No policy is associated with the given resource."
            assert missing == await refusal(
                ResourceNotFoundException, plane, "GetLayerVersionPolicy", LayerName="tools", VersionNumber=2
            )
            await plane.call("DeleteLayerVersion", **which)
            assert plane.records.view(ACCOUNT, REGION).get("layer_policy", "tools", "1") is None

    run(main)


@settings(max_examples=15, deadline=None)
@given(
    steps=st.lists(
        st.one_of(
            st.tuples(st.just("publish"), st.sampled_from("ab")),
            st.tuples(st.just("delete"), st.sampled_from("ab"), st.integers(1, 6)),
        ),
        max_size=15,
    )
)
def test_layers_are_what_was_published_without_what_was_deleted(tmp_path_factory: pytest.TempPathFactory, steps):
    async def main() -> None:
        last = {"a": 0, "b": 0}
        there: dict[str, set[int]] = {"a": set(), "b": set()}
        async with control_plane(tmp_path_factory.mktemp("plane")) as plane:
            for step in steps:
                name = step[1]
                if step[0] == "publish":
                    last[name] += 1
                    there[name].add(last[name])
                    assert (await publish(plane, name, str(last[name])))["Version"] == last[name]
                else:
                    there[name].discard(step[2])
                    await plane.call("DeleteLayerVersion", LayerName=name, VersionNumber=step[2])
            for name, numbers in there.items():
                assert await versions(plane, name) == sorted(numbers, reverse=True)
            listed = await plane.call("ListLayers")
            assert {layer["LayerName"]: layer["LatestMatchingVersion"]["Version"] for layer in listed["Layers"]} == {
                name: max(numbers) for name, numbers in there.items() if numbers
            }
            await plane.packages_left(sum(map(len, there.values())))

    run(main)


def test_a_version_looks_the_same_wherever_it_is_shown(tmp_path: Path):
    async def main() -> None:
        async with control_plane(tmp_path) as plane:
            published = await publish(plane, LicenseInfo="MIT", CompatibleRuntimes=["python3.12"])
            shown = await plane.call("GetLayerVersion", LayerName="tools", VersionNumber=1)
            by_arn = await plane.call("GetLayerVersionByArn", Arn=published["LayerVersionArn"])
            assert published == shown == by_arn
            (listed,) = (await plane.call("ListLayerVersions", LayerName=f"{HERE}:tools"))["LayerVersions"]
            assert listed == {name: value for name, value in shown.items() if name not in ("Content", "LayerArn")}
            assert listed["Description"] == "" and listed["CompatibleArchitectures"] is None
            elsewhere = await plane.operations["ListLayers"](replace(CALL, region="eu-west-1"), {})
            assert elsewhere["Layers"] == []

    run(main)
