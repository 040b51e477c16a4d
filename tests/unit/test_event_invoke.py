"""Configurations of asynchronous invocation: AWS: spec 1.11, 5 and the recorded texts."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from support.control import ControlPlane, ManualClock, control_plane, refused, run

HERE = "us-east-1:111111111111"
ARN = f"arn:aws:lambda:{HERE}:function"
QUEUE = f"arn:aws:sqs:{HERE}:q"
TOPIC = f"arn:aws:sns:{HERE}:t"
BUCKET = "arn:aws:s3:::b"
NOW = 1_750_000_000.125


@asynccontextmanager
async def two_functions(path: Path) -> AsyncGenerator[ControlPlane]:
    """`f` and `g`, each with version 1 and the alias `live`."""
    async with control_plane(path, ManualClock(NOW)) as plane:
        for name in ("f", "g"):
            await plane.create(name)
            await plane.settled(name)
            await plane.call("PublishVersion", FunctionName=name)
            await plane.call("CreateAlias", FunctionName=name, Name="live", FunctionVersion="1")
        yield plane


def destinations(**sides: str | None) -> dict[str, Any]:
    return {side: {} if arn is None else {"Destination": arn} for side, arn in sides.items()}


async def put(plane: ControlPlane, **members: Any) -> dict[str, Any]:
    return present(await plane.call("PutFunctionEventInvokeConfig", **{"FunctionName": "f", **members}))


async def update(plane: ControlPlane, **members: Any) -> dict[str, Any]:
    return present(await plane.call("UpdateFunctionEventInvokeConfig", **{"FunctionName": "f", **members}))


async def get(plane: ControlPlane, **members: Any) -> dict[str, Any]:
    return present(await plane.call("GetFunctionEventInvokeConfig", **{"FunctionName": "f", **members}))


def present(answer: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in answer.items() if value is not None}


def test_a_configuration_shows_what_was_given_and_both_sides(tmp_path: Path):
    async def main() -> None:
        async with two_functions(tmp_path) as plane:
            answer = await put(plane, MaximumRetryAttempts=0)
            assert answer == {
                "FunctionArn": f"{ARN}:f:$LATEST",
                "LastModified": NOW,
                "MaximumRetryAttempts": 0,
                "DestinationConfig": {"OnSuccess": {}, "OnFailure": {}},
            }
            assert await get(plane) == await get(plane, Qualifier="$LATEST") == answer
            both = destinations(OnSuccess=QUEUE, OnFailure=BUCKET)
            answer = await put(plane, DestinationConfig=both)  # replaces all
            assert answer == {"FunctionArn": f"{ARN}:f:$LATEST", "LastModified": NOW, "DestinationConfig": both}

    run(main)


def test_an_update_merges_and_an_empty_side_is_cleared(tmp_path: Path):
    async def main() -> None:
        async with two_functions(tmp_path) as plane:
            both = destinations(OnSuccess=QUEUE, OnFailure=TOPIC)
            await put(plane, MaximumRetryAttempts=1, DestinationConfig=both)
            answer = await update(plane, MaximumEventAgeInSeconds=60)
            assert (answer["MaximumRetryAttempts"], answer["MaximumEventAgeInSeconds"]) == (1, 60)
            assert answer["DestinationConfig"] == both
            answer = await update(plane, DestinationConfig=destinations(OnSuccess=None))
            assert answer["DestinationConfig"] == destinations(OnSuccess=None, OnFailure=TOPIC)
            answer = await update(plane, DestinationConfig=destinations(OnFailure=""), MaximumRetryAttempts=0)
            assert answer["DestinationConfig"] == {"OnSuccess": {}, "OnFailure": {}}
            assert (answer["MaximumRetryAttempts"], answer["MaximumEventAgeInSeconds"]) == (0, 60)
            assert await get(plane) == answer

    run(main)


def test_something_has_to_be_said(tmp_path: Path):
    async def main() -> None:
        async with two_functions(tmp_path) as plane:
            await put(plane, MaximumRetryAttempts=1)
            for call in (put(plane), update(plane), put(plane, FunctionName="nobody")):
                refusal = await refused(call)
                assert (refusal.code, refusal.message) == (
                    "InvalidParameterValueException",
                    "You must specify at least one of error handling or destination setting.",
                )

    run(main)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ({"FunctionName": "f"}, "f:$LATEST"),
        ({"FunctionName": "f", "Qualifier": "1"}, "f:1"),
        ({"FunctionName": "f:live"}, "f:live"),
        ({"FunctionName": "f", "Qualifier": "nobody"}, "f:nobody"),
        ({"FunctionName": "nobody"}, "nobody:$LATEST"),
    ],
)
def test_a_configuration_that_is_not_there_is_missed_by_its_whole_name(tmp_path: Path, name: dict[str, str], said: str):
    async def main() -> None:
        async with two_functions(tmp_path) as plane:
            for call in (
                get(plane, **name),
                update(plane, **name, MaximumRetryAttempts=1),
                plane.call("DeleteFunctionEventInvokeConfig", **name),
            ):
                refusal = await refused(call)
                assert (refusal.status, refusal.message) == (
                    404,
                    f"The function {ARN}:{said} doesn't have an EventInvokeConfig",
                )

    run(main)


def test_a_configuration_is_not_put_on_what_does_not_exist(tmp_path: Path):
    async def main() -> None:
        async with two_functions(tmp_path) as plane:
            for name in ("nobody", "f:2", "f:nobody"):
                refusal = await refused(put(plane, FunctionName=name, MaximumRetryAttempts=1))
                assert (refusal.status, refusal.message) == (404, "The function doesn't exist.")

    run(main)


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        (destinations(OnSuccess=f"{ARN}:f"), "You can't specify the function as a destination for itself."),
        (destinations(OnFailure=f"{ARN}:f:live"), "You can't specify the function as a destination for itself."),
        (destinations(OnFailure=f"{ARN}:nobody"), f"The destination ARN {ARN}:nobody is invalid."),
        (destinations(OnFailure=f"{ARN}:g:2"), f"The destination ARN {ARN}:g:2 is invalid."),
        (
            destinations(OnFailure="arn:aws:lambda:eu-west-1:111111111111:function:g"),
            "The destination ARN arn:aws:lambda:eu-west-1:111111111111:function:g is invalid.",
        ),
        (
            destinations(OnSuccess=f"arn:aws:iam:{HERE}:function:f"),
            f"The provided destination config DestinationConfig(onSuccess=OnSuccess(destination=arn:aws:iam:{HERE}:"
            "function:f), onFailure=null) is invalid.",
        ),
        (
            destinations(OnSuccess=BUCKET, OnFailure=QUEUE),
            f"The provided destination config DestinationConfig(onSuccess=OnSuccess(destination={BUCKET}), "
            f"onFailure=OnFailure(destination={QUEUE})) is invalid.",
        ),
        (
            destinations(OnSuccess=None, OnFailure=f"{QUEUE}.fifo"),
            "The provided destination config DestinationConfig(onSuccess=OnSuccess(destination=null), "
            f"onFailure=OnFailure(destination={QUEUE}.fifo)) is invalid.",
        ),
    ],
)
def test_records_cannot_go_just_anywhere(tmp_path: Path, wanted: dict[str, Any], message: str):
    async def main() -> None:
        async with two_functions(tmp_path) as plane:
            refusal = await refused(put(plane, DestinationConfig=wanted))
            assert (refusal.code, refusal.message) == ("InvalidParameterValueException", message)
            assert (await refused(get(plane))).status == 404
            await put(plane, MaximumRetryAttempts=1)
            assert (await refused(update(plane, DestinationConfig=wanted))).message == message

    run(main)


@pytest.mark.parametrize(
    "arn",
    [
        QUEUE,
        TOPIC,
        f"arn:aws:events:{HERE}:event-bus/default",
        f"{ARN}:g",
        f"{ARN}:g:1",
        f"{ARN}:g:live",
        f"{ARN}:g:$LATEST",
        "arn:aws:lambda:us-east-1:222222222222:function:theirs",
    ],
)
def test_records_can_go_to_queues_topics_buses_and_functions(tmp_path: Path, arn: str):
    async def main() -> None:
        async with two_functions(tmp_path) as plane:
            both = destinations(OnSuccess=arn, OnFailure=arn)
            assert (await put(plane, DestinationConfig=both))["DestinationConfig"] == both

    run(main)


def test_configurations_are_listed_in_pages_and_go_with_what_they_are_for(tmp_path: Path):
    async def main() -> None:
        async with two_functions(tmp_path) as plane:
            for qualifier in ("1", "live", "$LATEST"):
                await put(plane, Qualifier=qualifier, MaximumRetryAttempts=1)
            await put(plane, FunctionName="g", MaximumRetryAttempts=1)
            first = present(await plane.call("ListFunctionEventInvokeConfigs", FunctionName="f", MaxItems=2))
            assert [config["FunctionArn"] for config in first["FunctionEventInvokeConfigs"]] == [
                f"{ARN}:f:$LATEST",
                f"{ARN}:f:live",
            ]
            marker = {"Marker": first["NextMarker"]}
            rest = present(await plane.call("ListFunctionEventInvokeConfigs", FunctionName="f", **marker))
            (last,) = rest.pop("FunctionEventInvokeConfigs")
            assert (present(last), rest) == (await get(plane, Qualifier="1"), {})

            await plane.call("DeleteAlias", FunctionName="f", Name="live")
            assert (await refused(get(plane, Qualifier="live"))).status == 404
            await plane.call("DeleteFunctionEventInvokeConfig", FunctionName="f", Qualifier="1")
            left = await plane.call("ListFunctionEventInvokeConfigs", FunctionName="f")
            assert len(left["FunctionEventInvokeConfigs"]) == 1
            refusal = await refused(plane.call("ListFunctionEventInvokeConfigs", FunctionName="nobody"))
            assert (refusal.status, refusal.message) == (404, "The function doesn't exist.")

    run(main)
