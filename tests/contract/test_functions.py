"""The seven operations on functions as AWS answers them: rules, order, texts and shapes, on a real store."""

import asyncio
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lamplighter.control import markers, packages, settling, states
from lamplighter.control.code import Code
from lamplighter.control.preparing import Preparing
from lamplighter.model.errors import (
    CodeStorageExceededException,
    InvalidParameterValueException,
    PreconditionFailedException,
    ResourceConflictException,
    ResourceNotFoundException,
    ServiceError,
)
from lamplighter.model.functions import CodePackage, FunctionVersion
from lamplighter.worker.contract import WorkerError
from support.control import REGION, ROLE, ControlPlane, ManualClock, control_plane, function_id, run, zipped

ARN = f"arn:aws:lambda:{REGION}:111111111111:function"
LAYER = f"arn:aws:lambda:{REGION}:111111111111:layer"
OTHER_CODE = zipped({"handler.py": "def handler(event, context): return 2"})


async def refused(plane: ControlPlane, operation: str, **members: Any) -> ServiceError:
    with pytest.raises(ServiceError) as refusal:
        await plane.call(operation, **members)
    return refusal.value


async def refused_create(plane: ControlPlane, name: str = "f", **members: Any) -> str:
    with pytest.raises(InvalidParameterValueException) as refusal:
        await plane.create(name, **members)
    assert refusal.value.message is not None
    return refusal.value.message


def test_a_new_function_is_pending_with_aws_defaults_and_then_active(tmp_path: Path):
    async def main() -> None:
        async with control_plane(tmp_path, ManualClock()) as plane:
            made = await plane.create("f")
            assert made == {
                "FunctionName": "f",
                "FunctionArn": f"{ARN}:f",
                "Runtime": "python3.12",
                "Role": ROLE,
                "Handler": "handler.handler",
                "CodeSize": len(zipped()),
                "Description": "",
                "Timeout": 3,
                "MemorySize": 128,
                "LastModified": "2025-06-15T15:06:40.125+0000",
                "CodeSha256": made["CodeSha256"],
                "Version": "$LATEST",
                "TracingConfig": {"Mode": "PassThrough"},
                "RevisionId": made["RevisionId"],
                "State": "Pending",
                "StateReason": "The function is being created.",
                "StateReasonCode": "Creating",
                "PackageType": "Zip",
                "Architectures": ["x86_64"],
                "EphemeralStorage": {"Size": 512},
                "SnapStart": {"ApplyOn": "None", "OptimizationStatus": "Off"},
                "RuntimeVersionConfig": {"RuntimeVersionArn": f"arn:aws:lambda:{REGION}::runtime:x86_64-python3.12"},
                "LoggingConfig": {"LogFormat": "Text", "LogGroup": "/aws/lambda/f"},
            }
            ready = await plane.settled("f")
            assert ready["RevisionId"] != made["RevisionId"]
            assert ready == {
                **{name: value for name, value in made.items() if not name.startswith("State")},
                "FunctionArn": f"{ARN}:f:$LATEST",
                "RevisionId": ready["RevisionId"],
                "State": "Active",
                "LastUpdateStatus": "Successful",
            }

    run(main)


def test_the_package_is_unpacked_when_the_function_is_active(tmp_path: Path):
    async def main() -> None:
        async with control_plane(tmp_path) as plane:
            await plane.create("f")
            await plane.settled("f")
            function = await plane.stored.get(function_id("f"))
            assert function is not None
            assert (plane.directory.code / function.code.digest / "handler.py").exists()
            assert await plane.code.ensure(function.code.digest) == plane.directory.code / function.code.digest

    run(main)


@pytest.mark.parametrize(
    "members, text",
    [
        ({"Runtime": None}, "Runtime and Handler are mandatory parameters"),
        ({"Handler": None}, "Runtime and Handler are mandatory parameters"),
        ({"Runtime": "nonsense"}, "Value nonsense at 'runtime' failed to satisfy constraint: Member must satisfy enum"),
        ({"Runtime": "java8"}, "The runtime parameter of java8 is no longer supported for creating or updating"),
        ({"Runtime": "python3.9"}, "install python3.9"),
        ({"Code": {}}, "Please provide a source for function code."),
        ({"Code": {"ZipFile": b"no zip"}}, "Could not unzip uploaded file. Please check your file, then try to upload"),
        ({"Code": {"ZipFile": b""}}, "Uploaded file must be a non-empty zip"),
        ({"Code": {"ZipFile": zipped(), "S3Bucket": "b"}}, "Please do not provide other FunctionCode parameters when"),
        ({"Code": {"S3Bucket": "b", "S3Key": "k"}}, "Error occurred while GetObject. S3 Error Code: "),
        ({"Code": {"ImageUri": "x"}}, "Please don't provide ImageUri when creating a function with packageType Zip."),
        ({"PackageType": "Image"}, "Please don't provide Handler or Runtime or Layer"),
        ({"PackageType": "Image", "Runtime": None, "Handler": None}, "Please provide ImageUri when creating"),
        (
            {"PackageType": "Image", "Runtime": None, "Handler": None, "Code": {"ImageUri": "1.dkr.ecr/x:1"}},
            "Source image 1.dkr.ecr/x:1 does not exist. Provide a valid source image.",
        ),
        ({"MemorySize": 10241}, "'MemorySize' value failed to satisfy constraint: Member must have value less than"),
        ({"Timeout": 901}, "'Timeout' value failed to satisfy constraint: Member must have value less than or equal"),
        ({"EphemeralStorage": {"Size": 10241}}, "'EphemeralStorage' value failed to satisfy constraint"),
        ({"Environment": {"Variables": {"A": "x" * 4089}}}, 'exceeded the 4KB limit. String measured: {"A":"xx'),
        (
            {"Environment": {"Variables": {"AWS_REGION": "x", "OK": "y"}}},
            "Reserved keys used in this request: AWS_REGION",
        ),
        ({"Layers": [f"{LAYER}:l:1"]}, f"Layer version {LAYER}:l:1 does not exist."),
        ({"Layers": [f"{LAYER}:l{i}:1" for i in range(6)]}, "Cannot reference more than 5 layers."),
        (
            {"Layers": [f"{LAYER}:l:1", f"{LAYER}:l:2"]},
            "Two different versions of the same layer are not allowed to be referenced in the same function. "
            f"{LAYER}:l:1 and {LAYER}:l:2 are versions of the same layer.",
        ),
        (
            {"Layers": [f"{LAYER}:l:1".replace(REGION, "eu-west-1")]},
            f"Layers are not in the same region as the function. Layers are expected to be in region {REGION}.",
        ),
        (
            {"VpcConfig": {"SubnetIds": ["subnet-1"], "SecurityGroupIds": ["sg-1"]}},
            "Error occurred while DescribeSubnets. EC2 Error Code: InvalidSubnetID.NotFound.",
        ),
        (
            {"FileSystemConfigs": [{"Arn": "arn:x", "LocalMountPath": "/mnt/x"}]},
            "must be configured to execute in a VPC",
        ),
        ({"ImageConfig": {"Command": ["x"]}}, "Please don't provide ImageConfig"),
        (
            {"SnapStart": {"ApplyOn": "PublishedVersions"}, "Runtime": "python3.11"},
            "python3.11 is not supported for SnapSt",
        ),
        ({"LoggingConfig": {"SystemLogLevel": "DEBUG"}}, "can only be set when LogFormat is JSON"),
        ({"DeadLetterConfig": {"TargetArn": "arn:aws:s3:::b"}}, "must be the ARN of an SQS queue or of an SNS topic"),
        ({"DurableConfig": {"ExecutionTimeout": 5}}, "Durable functions (DurableConfig) are not available"),
        ({"PublishTo": "LATEST_PUBLISHED"}, "PublishTo LATEST_PUBLISHED is only supported"),
        ({"Tags": {str(i): "" for i in range(51)}}, "Number of tags exceeds resource tag limit."),
        ({"Tags": {"aws:x": ""}}, "reserved"),
    ],
)
def test_what_cannot_be_created_is_refused_in_aws_words_and_leaves_nothing(
    tmp_path: Path, members: dict[str, Any], text: str
):
    async def main() -> None:
        async with control_plane(
            tmp_path, available=lambda name: {"python3.9": "install python3.9"}.get(name)
        ) as plane:
            assert text in await refused_create(plane, **members)
            assert (await plane.call("ListFunctions"))["Functions"] == []
            assert await plane.blobs.digests() == frozenset()

    run(main)


def test_sizes_have_their_own_refusals(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    async def main() -> None:
        async with control_plane(tmp_path, code_storage=2 * len(zipped())) as plane:
            await plane.create("one")
            await plane.create("two")
            with pytest.raises(CodeStorageExceededException):
                await plane.create("three")
            monkeypatch.setattr(packages, "LARGEST_ZIP", 10)
            refusal = await refused(
                plane,
                "CreateFunction",
                FunctionName="x",
                Runtime="python3.12",
                Role=ROLE,
                Handler="a.b",
                Code={"ZipFile": zipped()},
            )
            assert (refusal.status, refusal.code) == (413, "RequestEntityTooLargeException")

    run(main)


def test_the_environment_limit_is_exact(tmp_path: Path):
    async def main() -> None:
        async with control_plane(tmp_path) as plane:
            await plane.create("f", Environment={"Variables": {"AB": "x" * (4096 - 9)}})

    run(main)


def test_a_name_that_is_taken_or_too_long_is_refused(tmp_path: Path):
    async def main() -> None:
        async with control_plane(tmp_path) as plane:
            await plane.create("f")
            with pytest.raises(ResourceConflictException, match="Function already exist: f"):
                await plane.create("f")
            tries = await asyncio.gather(*(plane.create("g") for _ in range(20)), return_exceptions=True)
            assert sum(isinstance(answer, dict) for answer in tries) == 1
            assert sum(isinstance(answer, ResourceConflictException) for answer in tries) == 19
            assert await refused_create(plane, "a" * 65) == (
                f"1 validation error detected: Value '{'a' * 65}' at 'functionName' failed to satisfy constraint: "
                "Member must have length less than or equal to 64"
            )

    run(main)


def test_an_update_is_in_progress_first_and_refuses_others_meanwhile(tmp_path: Path):
    async def main() -> None:
        async with control_plane(tmp_path, update=0.3) as plane:
            await plane.create("f")
            before = await plane.settled("f")
            updating = await plane.call("UpdateFunctionCode", FunctionName="f", ZipFile=OTHER_CODE)
            assert updating["State"] == "Active"
            assert updating["LastUpdateStatus"] == "InProgress"
            assert updating["LastUpdateStatusReason"] == "The function is being created."
            assert updating["LastUpdateStatusReasonCode"] == "Creating"
            assert updating["CodeSha256"] != before["CodeSha256"]
            for operation, members in (
                ("UpdateFunctionCode", {"ZipFile": OTHER_CODE}),
                ("UpdateFunctionConfiguration", {"Timeout": 9}),
            ):
                refusal = await refused(plane, operation, FunctionName="f", **members)
                assert (refusal.code, refusal.message) == (
                    "ResourceConflictException",
                    f"The operation cannot be performed at this time. An update is in progress for resource: {ARN}:f",
                )
            serving = await plane.stored.serving(function_id("f"))
            assert serving is not None and serving.revision == before["RevisionId"]
            ready = await plane.settled("f")
            assert ready["LastUpdateStatus"] == "Successful"
            assert "LastUpdateStatusReason" not in ready
            assert len({before["RevisionId"], updating["RevisionId"], ready["RevisionId"]}) == 3
            assert await plane.stored.serving(function_id("f")) == await plane.stored.get(function_id("f"))
            await plane.packages_left(1)

    run(main)


def test_a_function_that_is_being_created_cannot_be_updated_but_deleted(tmp_path: Path):
    async def main() -> None:
        async with control_plane(tmp_path, creation=30) as plane:
            await plane.create("f")
            refusal = await refused(plane, "UpdateFunctionConfiguration", FunctionName="f", Timeout=9)
            assert refusal.message == (
                "The operation cannot be performed at this time. "
                "The function is currently in the following state: Pending"
            )
            assert await plane.call("DeleteFunction", FunctionName="f") == {"StatusCode": 204}
            assert (await plane.call("ListFunctions"))["Functions"] == []

    run(main)


def test_every_accepted_change_is_a_generation_and_none_comes_twice(tmp_path: Path):
    async def main() -> None:
        clock = ManualClock()
        async with control_plane(tmp_path, clock) as plane:
            seen: list[int] = []
            for _ in range(2):
                clock.time += 60
                await plane.create("f")
                for timeout in (5, 5):
                    await plane.settled("f")
                    await plane.call("UpdateFunctionConfiguration", FunctionName="f", Timeout=timeout)
                    function = await plane.stored.get(function_id("f"))
                    assert function is not None
                    seen.append(function.generation)
                await plane.call("DeleteFunction", FunctionName="f")
            assert seen == sorted(set(seen))

    run(main)


def test_concurrent_updates_lose_nothing(tmp_path: Path):
    """One wins, the others get AWS's conflict."""

    async def main() -> None:
        async with control_plane(tmp_path, update=0.05) as plane:
            await plane.create("f")
            await plane.settled("f")
            updates = [plane.call("UpdateFunctionConfiguration", FunctionName="f", Timeout=i) for i in range(1, 20)]
            answers = await asyncio.gather(*updates, return_exceptions=True)
            won = [answer for answer in answers if isinstance(answer, dict)]
            assert len(won) == 1
            assert all(isinstance(a, ResourceConflictException) for a in answers if not isinstance(a, dict))
            assert (await plane.settled("f"))["Timeout"] == won[0]["Timeout"]

    run(main)


def test_an_update_keeps_what_it_does_not_mention_and_clears_what_it_empties(tmp_path: Path):
    async def main() -> None:
        async with control_plane(tmp_path) as plane:
            queue = f"arn:aws:sqs:{REGION}:111111111111:q"
            key = f"arn:aws:kms:{REGION}:111111111111:key/1"
            await plane.create(
                "f",
                Description="d",
                Environment={"Variables": {"AB": "1"}},
                DeadLetterConfig={"TargetArn": queue},
                KMSKeyArn=key,
                TracingConfig={"Mode": "Active"},
            )
            await plane.settled("f")
            await plane.call("UpdateFunctionConfiguration", FunctionName="f", MemorySize=256, Runtime="python3.13")
            kept = await plane.settled("f")
            assert kept["MemorySize"] == 256
            assert kept["Runtime"] == "python3.13"
            assert kept["RuntimeVersionConfig"]["RuntimeVersionArn"].endswith("python3.13")
            assert kept["Description"] == "d"
            assert kept["Environment"] == {"Variables": {"AB": "1"}}
            assert kept["DeadLetterConfig"] == {"TargetArn": queue}
            assert kept["KMSKeyArn"] == key
            assert kept["TracingConfig"] == {"Mode": "Active"}
            await plane.call(
                "UpdateFunctionConfiguration",
                FunctionName="f",
                Description="",
                Environment={},
                DeadLetterConfig={"TargetArn": ""},
                KMSKeyArn="",
                VpcConfig={"SubnetIds": [], "SecurityGroupIds": []},
                Layers=[],
            )
            cleared = await plane.settled("f")
            assert cleared["Description"] == ""
            assert cleared["Environment"] == {"Variables": {}}
            assert cleared["VpcConfig"] == {
                "SubnetIds": [],
                "SecurityGroupIds": [],
                "VpcId": "",
                "Ipv6AllowedForDualStack": False,
            }
            assert not {"DeadLetterConfig", "KMSKeyArn", "Layers"} & cleared.keys()

    run(main)


def test_log_levels_come_with_json_and_go_with_it(tmp_path: Path):
    async def main() -> None:
        async with control_plane(tmp_path) as plane:
            await plane.create("f", LoggingConfig={"LogFormat": "JSON", "SystemLogLevel": "WARN"})
            steps: list[tuple[dict[str, str], dict[str, str]]] = [
                ({}, {"LogFormat": "JSON", "ApplicationLogLevel": "INFO", "SystemLogLevel": "WARN"}),
                ({"LogFormat": "Text"}, {"LogFormat": "Text"}),
                ({"LogGroup": "cool_lambda"}, {"LogFormat": "Text", "LogGroup": "cool_lambda"}),
                (
                    {"LogFormat": "JSON", "ApplicationLogLevel": "DEBUG"},
                    {
                        "LogFormat": "JSON",
                        "ApplicationLogLevel": "DEBUG",
                        "SystemLogLevel": "INFO",
                        "LogGroup": "cool_lambda",
                    },
                ),
            ]
            for change, expected in steps:
                await plane.settled("f")
                await plane.call("UpdateFunctionConfiguration", FunctionName="f", LoggingConfig=change)
                assert (await plane.settled("f"))["LoggingConfig"] == {"LogGroup": "/aws/lambda/f"} | expected

    run(main)


def test_a_revision_id_guards_updates(tmp_path: Path):
    async def main() -> None:
        async with control_plane(tmp_path) as plane:
            await plane.create("f")
            current = await plane.settled("f")
            for operation, members in (
                ("UpdateFunctionCode", {"ZipFile": OTHER_CODE}),
                ("UpdateFunctionConfiguration", {"Timeout": 9}),
            ):
                refusal = await refused(plane, operation, FunctionName="f", RevisionId="other", **members)
                assert isinstance(refusal, PreconditionFailedException)
                assert refusal.message == (
                    "The Revision Id provided does not match the latest Revision Id. "
                    "Call the GetFunction/GetAlias API to retrieve the latest Revision Id"
                )
            assert len(await plane.blobs.digests()) == 1
            await plane.call(
                "UpdateFunctionConfiguration", FunctionName="f", Timeout=9, RevisionId=current["RevisionId"]
            )

    run(main)


def test_a_dry_run_tells_and_changes_nothing(tmp_path: Path):
    async def main() -> None:
        async with control_plane(tmp_path) as plane:
            await plane.create("f")
            before = await plane.settled("f")
            told = await plane.call("UpdateFunctionCode", FunctionName="f", ZipFile=OTHER_CODE, DryRun=True)
            assert told["CodeSize"] == len(OTHER_CODE)
            assert told["RevisionId"] == before["RevisionId"]
            assert await plane.settled("f") == before
            assert len(await plane.blobs.digests()) == 1
            refusal = await refused(plane, "UpdateFunctionCode", FunctionName="f", ZipFile=b"x", DryRun=True)
            assert refusal.message == packages.UNREADABLE

    run(main)


def test_the_key_of_a_package_goes_with_the_package(tmp_path: Path):
    async def main() -> None:
        async with control_plane(tmp_path) as plane:
            key = f"arn:aws:kms:{REGION}:111111111111:key/1"
            await plane.create("f", Code={"ZipFile": zipped(), "SourceKMSKeyArn": key})
            await plane.settled("f")
            assert (await plane.call("GetFunction", FunctionName="f"))["Code"]["SourceKMSKeyArn"] == key
            await plane.call("UpdateFunctionCode", FunctionName="f", ZipFile=OTHER_CODE)
            await plane.settled("f")
            assert "SourceKMSKeyArn" not in (await plane.call("GetFunction", FunctionName="f"))["Code"]

    run(main)


def test_a_function_shows_its_code_and_tags_only_unqualified(tmp_path: Path):
    async def main() -> None:
        async with control_plane(tmp_path) as plane:
            await plane.create("f", Tags={"team": "lamp"})
            await plane.settled("f")
            answer = await plane.call("GetFunction", FunctionName="f")
            assert answer.keys() == {"Configuration", "Code", "Tags"}
            assert answer["Tags"] == {"team": "lamp"}
            assert answer["Configuration"]["FunctionArn"] == f"{ARN}:f"
            assert answer["Code"]["RepositoryType"] == "S3"
            assert answer["Code"]["Location"].startswith("http://127.0.0.1:4566/_lamplighter/packages/")
            qualified = await plane.call("GetFunction", FunctionName=f"{ARN}:f:$LATEST")
            assert qualified.keys() == {"Configuration", "Code"}
            assert qualified["Configuration"]["FunctionArn"] == f"{ARN}:f:$LATEST"

    run(main)


@pytest.mark.parametrize(
    "members, arn",
    [
        ({"FunctionName": "nope"}, f"{ARN}:nope"),
        ({"FunctionName": "nope", "Qualifier": "$LATEST"}, f"{ARN}:nope:$LATEST"),
        ({"FunctionName": "f", "Qualifier": "42"}, f"{ARN}:f:42"),
        ({"FunctionName": "f:alias"}, f"{ARN}:f:alias"),
        ({"FunctionName": "f", "Qualifier": "$LATEST.PUBLISHED"}, f"{ARN}:f:$LATEST.PUBLISHED"),
    ],
)
def test_what_is_not_there_is_named_as_it_was_asked_for(tmp_path: Path, members: dict[str, Any], arn: str):
    async def main() -> None:
        async with control_plane(tmp_path) as plane:
            await plane.create("f")
            for operation in ("GetFunction", "GetFunctionConfiguration"):
                refusal = await refused(plane, operation, **members)
                assert isinstance(refusal, ResourceNotFoundException)
                assert refusal.message == f"Function not found: {arn}"

    run(main)


def test_deletion_takes_the_package_along_unless_another_function_has_it(tmp_path: Path):
    async def main() -> None:
        async with control_plane(tmp_path) as plane:
            await plane.create("f")
            await plane.create("g")
            await plane.settled("f")
            await plane.settled("g")
            await plane.call("DeleteFunction", FunctionName="f")
            assert len(await plane.blobs.digests()) == 1
            await plane.call("DeleteFunction", FunctionName="g")
            assert await plane.blobs.digests() == frozenset()
            refusal = await refused(plane, "DeleteFunction", FunctionName="g")
            assert refusal.message == f"Function not found: {ARN}:g"
            refusal = await refused(plane, "DeleteFunction", FunctionName="g", Qualifier="$LATEST")
            assert refusal.message == "$LATEST version cannot be deleted without deleting the function."
            refusal = await refused(plane, "DeleteFunction", FunctionName="g:alias")
            assert refusal.message == "Deletion of aliases is not currently supported."

    run(main)


def test_unpacked_code_outlives_its_function_as_long_as_an_invocation_may_run(tmp_path: Path):
    async def main() -> None:
        clock = ManualClock()
        async with control_plane(tmp_path, clock) as plane:
            await plane.create("f")
            await plane.settled("f")
            (digest,) = await plane.blobs.digests()
            await plane.call("DeleteFunction", FunctionName="f")
            clock.time += 900
            await plane.code.sweep()
            assert (plane.directory.code / digest).exists()
            clock.time += 101
            await plane.code.sweep()
            assert not (plane.directory.code / digest).exists()

    run(main)


def test_the_same_code_uploaded_again_while_it_is_deleted_is_never_lost(tmp_path: Path):
    async def main() -> None:
        async with control_plane(tmp_path) as plane:

            async def come_and_go(name: str) -> None:
                for _ in range(15):
                    await plane.create(name)
                    function = await plane.stored.get(function_id(name))
                    assert function is not None
                    await plane.blobs.read(function.code.digest)
                    await plane.call("DeleteFunction", FunctionName=name)

            await asyncio.gather(*(come_and_go(f"f{i}") for i in range(4)))
            assert await plane.blobs.digests() == frozenset()

    run(main)


def test_publishing_with_a_change_makes_a_version_that_becomes_active_too(tmp_path: Path):
    async def main() -> None:
        async with control_plane(tmp_path) as plane:
            made = await plane.create("f", Publish=True)
            assert (made["Version"], made["State"], made["FunctionArn"]) == ("1", "Pending", f"{ARN}:f")
            version = await plane.settled("f", "1")
            assert (version["State"], version["FunctionArn"]) == ("Active", f"{ARN}:f:1")
            latest = await plane.settled("f")
            assert latest["RevisionId"] != version["RevisionId"]
            same = await plane.call("UpdateFunctionCode", FunctionName="f", ZipFile=zipped(), Publish=True)
            assert same["Version"] == "1"
            await plane.settled("f")
            other = await plane.call("UpdateFunctionCode", FunctionName="f", ZipFile=OTHER_CODE, Publish=True)
            assert (other["Version"], other["State"]) == ("2", "Pending")
            await plane.settled("f")
            await plane.settled("f", "2")
            await plane.packages_left(2)
            listed = (await plane.call("ListFunctions", FunctionVersion="ALL"))["Functions"]
            assert [item["FunctionArn"] for item in listed] == [f"{ARN}:f:{v}" for v in ("$LATEST", "1", "2")]
            await plane.call("DeleteFunction", FunctionName="f", Qualifier="1")
            assert len(await plane.blobs.digests()) == 1
            await plane.call("DeleteFunction", FunctionName="f")
            assert await plane.blobs.digests() == frozenset()

    run(main)


def test_a_list_leaves_out_states_and_comes_in_pages_of_fifty_at_most(tmp_path: Path):
    async def main() -> None:
        names = [f"f{i:03}" for i in range(60)]
        async with control_plane(tmp_path) as plane:
            await asyncio.gather(*(plane.create(name) for name in reversed(names)))
            first = await plane.call("ListFunctions", MaxItems=10_000)
            assert [item["FunctionName"] for item in first["Functions"]] == names[:50]
            assert not {"State", "StateReason", "StateReasonCode", "LastUpdateStatus", "RuntimeVersionConfig"} & {
                member for item in first["Functions"] for member in item
            }
            rest = await plane.call("ListFunctions", Marker=first["NextMarker"])
            assert [item["FunctionName"] for item in rest["Functions"]] == names[50:]
            assert "NextMarker" not in rest
            refusal = await refused(plane, "ListFunctions", Marker="nonsense")
            assert isinstance(refusal, InvalidParameterValueException)
        async with control_plane(tmp_path) as plane:  # restarted
            await plane.call("DeleteFunction", FunctionName="f049")
            again = await plane.call("ListFunctions", Marker=first["NextMarker"], MaxItems=3)
            assert [item["FunctionName"] for item in again["Functions"]] == names[50:53]

    run(main)


@given(key=st.lists(st.text(st.characters(codec="utf-8")), max_size=3), junk=st.text(st.characters(codec="utf-8")))
@settings(max_examples=200, deadline=None)
def test_markers_come_back_and_nothing_else_is_one(key: list[str], junk: str):
    assert markers.read("ListFunctions", markers.make("ListFunctions", *key), len(key)) == tuple(key)
    for marker, operation in ((junk, "ListFunctions"), (markers.make("ListLayers", *key), "ListFunctions")):
        with pytest.raises(InvalidParameterValueException):
            markers.read(operation, marker, len(key))


def test_what_a_stop_interrupted_is_finished_after_the_next_start(tmp_path: Path):
    async def main() -> None:
        async with control_plane(tmp_path, creation=60) as plane:
            await plane.create("f", Publish=True)
        async with control_plane(tmp_path, update=60) as plane:
            assert (await plane.settled("f"))["State"] == "Active"
            assert (await plane.settled("f", "1"))["State"] == "Active"
            await plane.call("UpdateFunctionCode", FunctionName="f", ZipFile=OTHER_CODE)
        async with control_plane(tmp_path) as plane:
            assert (await plane.settled("f"))["LastUpdateStatus"] == "Successful"
            assert await plane.stored.unsettled() == []

    run(main)


def test_code_is_unpacked_again_when_the_cache_is_gone(tmp_path: Path):
    async def main() -> None:
        async with control_plane(tmp_path) as plane:
            await plane.create("f")
            await plane.settled("f")
            (digest,) = await plane.blobs.digests()
        (tmp_path / "code" / ".boot").write_text("another boot")
        (tmp_path / "code" / digest / "handler.py").write_text("")  # as after a power failure
        async with control_plane(tmp_path) as plane:
            assert not (plane.directory.code / digest).exists()
            paths = await asyncio.gather(*(plane.code.ensure(digest) for _ in range(5)))
            assert len(set(paths)) == 1
            assert (paths[0] / "handler.py").stat().st_size > 0

    run(main)


class NoEnvironments:
    """Workers that only tell whether the code was there when an environment was asked for."""

    def __init__(self, place: Path) -> None:
        self.place = place

    async def start(self, function: FunctionVersion, initialization: str = "on-demand") -> Any:
        return (self.place / function.code.digest / "handler.py").exists()

    async def close(self) -> None: ...


def test_no_environment_is_started_before_its_code_is_unpacked(tmp_path: Path):
    async def main() -> None:
        async with control_plane(tmp_path) as plane:
            await plane.create("f")
            await plane.settled("f")
            function = await plane.stored.serving(function_id("f"))
            assert function is not None
            fresh = Code(plane.blobs, plane.references, plane.directory.path / "other", ManualClock())
            (plane.directory.path / "other").mkdir()
            workers = Preparing(NoEnvironments(plane.directory.path / "other"), fresh, lambda function: None)
            assert await workers.start(function) is True
            lost = replace(function, code=CodePackage("0" * 64, 1))
            with pytest.raises(WorkerError, match="cannot be unpacked"):
                await workers.start(lost)

    run(main)


def test_a_package_that_is_lost_makes_the_update_fail_and_the_old_code_stay(tmp_path: Path):
    async def main() -> None:
        async with control_plane(tmp_path, update=60) as plane:
            await plane.create("f")
            before = await plane.settled("f")
            await plane.call("UpdateFunctionCode", FunctionName="f", ZipFile=OTHER_CODE)
            updated = await plane.stored.get(function_id("f"))
            assert updated is not None
        lost = tmp_path / "blobs" / updated.code.digest[:2] / updated.code.digest
        lost.write_bytes(b"damaged")
        (tmp_path / "code" / ".boot").unlink()
        async with control_plane(tmp_path) as plane:
            failed = await plane.settled("f")
            assert (failed["State"], failed["LastUpdateStatus"]) == ("Active", "Failed")
            assert failed["LastUpdateStatusReasonCode"] == "InvalidZipFileException"
            serving = await plane.stored.serving(function_id("f"))
            assert serving is not None and serving.revision == before["RevisionId"]
            await plane.call("UpdateFunctionCode", FunctionName="f", ZipFile=OTHER_CODE)
            assert (await plane.settled("f"))["LastUpdateStatus"] == "Successful"

    run(main)


def test_unpacking_is_tried_again_when_the_disk_was_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    async def main() -> None:
        failures = [OSError(28, "No space left on device")] * 2
        unpack = packages.unpack

        def sometimes(source: Any, into: Path) -> None:
            if failures:
                raise failures.pop()
            unpack(source, into)

        monkeypatch.setattr(packages, "unpack", sometimes)
        monkeypatch.setattr(settling, "RETRIES", (0.0, 0.0, 0.0))
        async with control_plane(tmp_path) as plane:
            await plane.create("f")
            assert (await plane.settled("f"))["State"] == "Active"
            assert not list(plane.directory.code.glob(".unfinished-*"))

    run(main)


@given(events=st.lists(st.sampled_from(states.Event), max_size=8))
def test_every_way_through_the_states_is_one_that_aws_shows(events: list[states.Event]):
    blank = FunctionVersion(function_id("f"), "$LATEST", 1, "r", ROLE, CodePackage("a" * 64, 1), "p", "h", "now")
    function = states.created(blank)
    for event in events:
        if (phase := (function.state, function.last_update_status), event) not in states.NEXT:
            assert event is not states.Event.UPDATED or phase[1] == "InProgress" or phase[0] == "Pending"
            continue
        function = states.after(function, event, "why", "InternalError")
        in_progress = function.last_update_status == "InProgress"
        assert (function.last_update_reason == states.CREATING) == in_progress
        assert (function.state_reason is None) == (function.state == "Active")
        if function.last_update_status == "Successful":
            assert function.state == "Active" and function.last_update_reason is None


def test_revisions_are_uuids_and_dates_look_as_on_the_wire(tmp_path: Path):
    async def main() -> None:
        async with control_plane(tmp_path) as plane:
            made = await plane.create("f")
            assert re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", made["RevisionId"])
            assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+0000", made["LastModified"])

    run(main)
