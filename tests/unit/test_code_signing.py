"""Code signing configurations, and what they let a function be given."""

import re
from pathlib import Path
from typing import Any

import pytest

from lamplighter.model.errors import (
    CodeSigningConfigNotFoundException,
    CodeVerificationFailedException,
    InvalidParameterValueException,
    ResourceConflictException,
    ResourceNotFoundException,
)
from support.control import ACCOUNT, REGION, ControlPlane, control_plane, function_id, run, zipped

PROFILE = f"arn:aws:signer:{REGION}:{ACCOUNT}:/signing-profiles/profile/abcdefghij"
MISSING = f"arn:aws:lambda:{REGION}:{ACCOUNT}:code-signing-config:csc-{'0' * 17}"


async def configure(plane: ControlPlane, policy: str | None = None, **members: Any) -> dict[str, Any]:
    policies = None if policy is None else {"UntrustedArtifactOnDeployment": policy}
    answer = await plane.call(
        "CreateCodeSigningConfig",
        AllowedPublishers={"SigningProfileVersionArns": [PROFILE]},
        CodeSigningPolicies=policies,
        **members,
    )
    return answer["CodeSigningConfig"]


def test_a_configuration_warns_unless_it_says_otherwise_and_can_be_changed(tmp_path: Path):
    async def main() -> None:
        async with control_plane(tmp_path) as plane:
            config = await configure(plane)
            arn = config["CodeSigningConfigArn"]
            assert re.fullmatch(rf"arn:aws:lambda:{REGION}:{ACCOUNT}:code-signing-config:csc-[0-9a-f]{{17}}", arn)
            assert arn.endswith(config["CodeSigningConfigId"])
            assert config["CodeSigningPolicies"] == {"UntrustedArtifactOnDeployment": "Warn"}
            assert list(config["AllowedPublishers"]["SigningProfileVersionArns"]) == [PROFILE]
            changed = await plane.call("UpdateCodeSigningConfig", CodeSigningConfigArn=arn, Description="mine")
            shown = await plane.call("GetCodeSigningConfig", CodeSigningConfigArn=arn)
            assert shown == changed
            differing = {name for name, value in shown["CodeSigningConfig"].items() if value != config[name]}
            assert differing <= {"Description", "LastModified"}
            stricter = await plane.call(
                "UpdateCodeSigningConfig",
                CodeSigningConfigArn=arn,
                AllowedPublishers={"SigningProfileVersionArns": [PROFILE + "2"]},
                CodeSigningPolicies={"UntrustedArtifactOnDeployment": "Enforce"},
            )
            assert stricter["CodeSigningConfig"]["CodeSigningPolicies"] == {"UntrustedArtifactOnDeployment": "Enforce"}
            assert stricter["CodeSigningConfig"]["Description"] == "mine"

    run(main)


def test_a_configuration_that_does_not_exist_is_not_found(tmp_path: Path):
    async def main() -> None:
        async with control_plane(tmp_path) as plane:
            config = await configure(plane)
            elsewhere = config["CodeSigningConfigArn"].replace(REGION, "eu-west-1")
            for arn in (MISSING, elsewhere):
                for operation in (
                    "GetCodeSigningConfig",
                    "UpdateCodeSigningConfig",
                    "DeleteCodeSigningConfig",
                    "ListFunctionsByCodeSigningConfig",
                ):
                    with pytest.raises(ResourceNotFoundException) as refused:
                        await plane.call(operation, CodeSigningConfigArn=arn)
                    assert refused.value.message == f"The Lambda code signing configuration {arn} can not be found."
            await plane.create("f")
            text = (
                "The code signing configuration cannot be found. "
                f"Check that the provided configuration is not deleted: {MISSING}."
            )
            with pytest.raises(CodeSigningConfigNotFoundException) as refused:
                await plane.call("PutFunctionCodeSigningConfig", FunctionName="f", CodeSigningConfigArn=MISSING)
            assert refused.value.message == text
            with pytest.raises(CodeSigningConfigNotFoundException) as refused:
                await plane.create("g", CodeSigningConfigArn=MISSING)
            assert refused.value.message == text
            assert await plane.stored.get(function_id("g")) is None

    run(main)


def test_a_function_that_does_not_exist_has_no_configuration(tmp_path: Path):
    async def main() -> None:
        async with control_plane(tmp_path) as plane:
            arn = (await configure(plane))["CodeSigningConfigArn"]
            for operation, members in (
                ("PutFunctionCodeSigningConfig", {"CodeSigningConfigArn": arn}),
                ("GetFunctionCodeSigningConfig", {}),
                ("DeleteFunctionCodeSigningConfig", {}),
            ):
                with pytest.raises(ResourceNotFoundException) as refused:
                    await plane.call(operation, FunctionName="nothing", **members)
                assert refused.value.message == f"Function not found: {function_id('nothing').arn}"
                with pytest.raises(InvalidParameterValueException, match="Aliases and versions do not support"):
                    await plane.call(operation, FunctionName="nothing:1", **members)

    run(main)


def test_a_function_takes_and_drops_a_configuration(tmp_path: Path):
    async def main() -> None:
        async with control_plane(tmp_path) as plane:
            arn = (await configure(plane))["CodeSigningConfigArn"]
            await plane.create("f")
            for name in ("g", "h"):
                await plane.create(name, CodeSigningConfigArn=arn)
            got = await plane.call("GetFunctionCodeSigningConfig", FunctionName="f")
            assert got["CodeSigningConfigArn"] is None
            put = await plane.call("PutFunctionCodeSigningConfig", FunctionName="f", CodeSigningConfigArn=arn)
            assert put == await plane.call("GetFunctionCodeSigningConfig", FunctionName="f")
            assert put == {"CodeSigningConfigArn": arn, "FunctionName": "f"}

            first = await plane.call("ListFunctionsByCodeSigningConfig", CodeSigningConfigArn=arn, MaxItems=2)
            assert first["FunctionArns"] == [function_id("f").arn, function_id("g").arn]
            rest = await plane.call(
                "ListFunctionsByCodeSigningConfig", CodeSigningConfigArn=arn, Marker=first["NextMarker"]
            )
            assert rest == {"FunctionArns": [function_id("h").arn], "NextMarker": None}

            await plane.call("DeleteFunctionCodeSigningConfig", FunctionName="f")
            await plane.call("DeleteFunctionCodeSigningConfig", FunctionName="f")
            await plane.call("DeleteFunctionCodeSigningConfig", FunctionName="g")
            with pytest.raises(ResourceConflictException):
                await plane.call("DeleteCodeSigningConfig", CodeSigningConfigArn=arn)
            await plane.call("DeleteFunction", FunctionName="h")
            await plane.call("DeleteCodeSigningConfig", CodeSigningConfigArn=arn)
            with pytest.raises(ResourceNotFoundException):
                await plane.call("GetCodeSigningConfig", CodeSigningConfigArn=arn)

    run(main)


def test_configurations_are_listed_page_by_page(tmp_path: Path):
    async def main() -> None:
        async with control_plane(tmp_path) as plane:
            made = {(await configure(plane))["CodeSigningConfigArn"] for _ in range(5)}
            listed: list[str] = []
            marker = None
            while True:
                answer = await plane.call("ListCodeSigningConfigs", MaxItems=2, Marker=marker)
                assert len(answer["CodeSigningConfigs"]) <= 2
                listed += [config["CodeSigningConfigArn"] for config in answer["CodeSigningConfigs"]]
                marker = answer["NextMarker"]
                if marker is None:
                    break
            assert len(listed) == 5 and set(listed) == made

    run(main)


def test_unsigned_code_and_layers_are_refused_where_signatures_are_enforced(tmp_path: Path):
    async def main() -> None:
        async with control_plane(tmp_path) as plane:
            strict = (await configure(plane, "Enforce"))["CodeSigningConfigArn"]
            lenient = (await configure(plane, "Warn"))["CodeSigningConfigArn"]
            layer = await plane.call("PublishLayerVersion", LayerName="l", Content={"ZipFile": zipped({"a": "b"})})
            text = (
                "Lambda cannot deploy the function. The function or layer might be signed using a signature that the "
                f"client is not configured to accept. Check the provided signature for {function_id('f').arn}."
            )
            with pytest.raises(CodeVerificationFailedException) as refused:
                await plane.create("f", CodeSigningConfigArn=strict)
            assert refused.value.message == text
            assert await plane.stored.get(function_id("f")) is None

            await plane.create("f", CodeSigningConfigArn=lenient)
            before = await plane.settled("f")
            # What a function has already is not looked at.
            await plane.call("PutFunctionCodeSigningConfig", FunctionName="f", CodeSigningConfigArn=strict)
            for operation, members in (
                ("UpdateFunctionCode", {"ZipFile": zipped({"new": "code"})}),
                ("UpdateFunctionCode", {"ZipFile": zipped({"new": "code"}), "DryRun": True}),
                ("UpdateFunctionConfiguration", {"Layers": [layer["LayerVersionArn"]]}),
            ):
                with pytest.raises(CodeVerificationFailedException) as refused:
                    await plane.call(operation, FunctionName="f", **members)
                assert refused.value.message == text
            assert await plane.settled("f") == before
            await plane.call("UpdateFunctionConfiguration", FunctionName="f", Timeout=9, Layers=[])
            assert (await plane.settled("f"))["Timeout"] == 9

            await plane.call(
                "UpdateCodeSigningConfig",
                CodeSigningConfigArn=strict,
                CodeSigningPolicies={"UntrustedArtifactOnDeployment": "Warn"},
            )
            await plane.call("UpdateFunctionCode", FunctionName="f", ZipFile=zipped({"new": "code"}))
            assert (await plane.settled("f"))["CodeSha256"] != before["CodeSha256"]

    run(main)
