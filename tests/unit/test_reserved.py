"""Reserved concurrency by the rules that no recording shows: who keeps how much, and what is too much."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lamplighter.api.errors import refusal
from lamplighter.control.concurrency import Pool
from lamplighter.model.errors import ServiceError
from support.control import ACCOUNT, REGION, ControlPlane, control_plane, run

ARN = "arn:aws:lambda:us-east-1:111111111111:function"
TOO_MUCH = (
    "Specified ReservedConcurrentExecutions for function decreases account's "
    "UnreservedConcurrentExecution below its minimum value of [{}]."
)


async def refused(plane: ControlPlane, operation: str, **members: Any) -> ServiceError:
    with pytest.raises(ServiceError) as caught:
        await plane.call(operation, **members)
    return caught.value


async def reserve(plane: ControlPlane, name: str, wanted: int) -> None:
    await plane.call("PutFunctionConcurrency", FunctionName=name, ReservedConcurrentExecutions=wanted)


async def unreserved(plane: ControlPlane) -> int:
    return (await plane.call("GetAccountSettings"))["AccountLimit"]["UnreservedConcurrentExecutions"]


async def provisioned(plane: ControlPlane, name: str, wanted: int, **members: Any) -> None:
    """A function with as much for its version 1."""
    await plane.create(name, **members)
    await plane.settled(name)
    await plane.call("PublishVersion", FunctionName=name)
    await plane.call(
        "PutProvisionedConcurrencyConfig", FunctionName=name, Qualifier="1", ProvisionedConcurrentExecutions=wanted
    )


def test_what_others_have_is_counted_and_what_the_function_had_is_its_own(tmp_path: Path):
    async def main() -> None:
        async with control_plane(tmp_path) as plane:
            for name in ("f", "g"):
                await plane.create(name)
            await reserve(plane, "f", 600)
            assert await unreserved(plane) == 400
            error = await refused(plane, "PutFunctionConcurrency", FunctionName="g", ReservedConcurrentExecutions=301)
            assert error.message == TOO_MUCH.format(100)
            await reserve(plane, "g", 300)
            await reserve(plane, "f", 600)  # nothing more
            await reserve(plane, "f", 500)
            await reserve(plane, "g", 400)
            await plane.call("DeleteFunction", FunctionName="f")
            assert await unreserved(plane) == 600

    run(main)


def test_a_small_account_keeps_all_for_everybody(tmp_path: Path):
    async def main() -> None:
        async with control_plane(tmp_path, concurrency=10) as plane:
            await plane.create("f")
            await reserve(plane, "f", 0)
            error = await refused(plane, "PutFunctionConcurrency", FunctionName="f", ReservedConcurrentExecutions=1)
            assert error.message == TOO_MUCH.format(10)

    run(main)


def test_a_limit_that_was_lowered_refuses_more_but_nothing_that_is_there(tmp_path: Path):
    async def main() -> None:
        async with control_plane(tmp_path) as plane:
            await plane.create("f")
            await reserve(plane, "f", 900)
        async with control_plane(tmp_path, concurrency=500) as plane:
            assert await unreserved(plane) == 0
            await refused(plane, "PutFunctionConcurrency", FunctionName="f", ReservedConcurrentExecutions=901)
            await reserve(plane, "f", 800)
            assert await plane.call("GetFunctionConcurrency", FunctionName="f") == {"ReservedConcurrentExecutions": 800}

    run(main)


def test_what_is_provisioned_cannot_be_reserved_away(tmp_path: Path):
    async def main() -> None:
        async with control_plane(tmp_path) as plane:
            await provisioned(plane, "f", 2)
            error = await refused(plane, "PutFunctionConcurrency", FunctionName="f", ReservedConcurrentExecutions=1)
            assert error.code == "InvalidParameterValueException"
            assert error.message == (
                " ReservedConcurrentExecutions  1 should not be lower than function's total "
                "provisioned concurrency [2]."
            )
            assert await unreserved(plane) == 998
            await reserve(plane, "f", 900)  # the two are among them
            assert await unreserved(plane) == 100
            await plane.call("DeleteFunctionConcurrency", FunctionName="f")
            assert await unreserved(plane) == 998

    run(main)


def test_a_function_shows_what_it_reserved_even_if_that_is_nothing(tmp_path: Path):
    async def main() -> None:
        async with control_plane(tmp_path) as plane:
            await plane.create("f")
            assert "Concurrency" not in await plane.call("GetFunction", FunctionName="f")
            await reserve(plane, "f", 0)
            shown = await plane.call("GetFunction", FunctionName="f")
            assert shown["Concurrency"] == {"ReservedConcurrentExecutions": 0}
            await plane.call("DeleteFunctionConcurrency", FunctionName="f")
            assert "Concurrency" not in await plane.call("GetFunction", FunctionName="f")

    run(main)


@pytest.mark.parametrize("operation", ["PutFunctionConcurrency", "GetFunctionConcurrency", "DeleteFunctionConcurrency"])
def test_it_is_of_functions_as_a_whole_and_of_those_that_exist(operation: str, tmp_path: Path):
    async def main() -> None:
        async with control_plane(tmp_path) as plane:
            error = await refused(plane, operation, FunctionName="f", ReservedConcurrentExecutions=1)
            assert (error.status, error.message) == (404, f"Function not found: {ARN}:f")
            error = await refused(plane, operation, FunctionName="f:1", ReservedConcurrentExecutions=1)
            assert error.code == "InvalidParameterValueException"
            assert error.message and error.message.startswith("This operation is permitted on Lambda functions only.")

    run(main)


def test_a_refusal_by_the_accounts_limit_does_not_say_whose_fault_it_is(tmp_path: Path):
    async def main() -> None:
        async with control_plane(tmp_path) as plane:
            await plane.create("f")
            error = await refused(plane, "PutFunctionConcurrency", FunctionName="f", ReservedConcurrentExecutions=901)
            response = refusal(error, "r-1")
            assert response.status == 400
            assert ("x-amzn-ErrorType", "InvalidParameterValueException") in response.headers
            assert response.body == b'{"message":"' + TOO_MUCH.format(100).encode() + b'"}'

    run(main)


def test_of_two_that_would_only_just_fit_one_does(tmp_path: Path):
    async def main() -> None:
        async with control_plane(tmp_path) as plane:
            names = [f"f{number}" for number in range(8)]
            for name in names:
                await plane.create(name)
            calls = (reserve(plane, name, 300) for name in names)
            outcomes = await asyncio.gather(*calls, return_exceptions=True)
            assert sum(outcome is None for outcome in outcomes) == 3
            assert await unreserved(plane) == 100

    run(main)


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["PutFunctionConcurrency", "DeleteFunctionConcurrency", "Put", "Delete"]),
        st.sampled_from(["f", "g"]),
        st.integers(1, 30),
    ),
    max_size=12,
)


@settings(max_examples=15, deadline=None)
@given(steps=STEPS)
def test_the_least_unreserved_is_never_taken_and_reservations_hold_what_is_provisioned(
    steps: list[tuple[str, str, int]], tmp_path_factory: pytest.TempPathFactory
):
    limit = 130

    async def main() -> None:
        async with control_plane(tmp_path_factory.mktemp("story"), concurrency=limit) as plane:
            for name in ("f", "g"):
                await provisioned(plane, name, 1)
            for operation, name, wanted in steps:
                config = {"FunctionName": name, "Qualifier": "1"}
                try:
                    match operation:
                        case "Put":
                            await plane.call(
                                "PutProvisionedConcurrencyConfig", **config, ProvisionedConcurrentExecutions=wanted
                            )
                        case "Delete":
                            await plane.call("DeleteProvisionedConcurrencyConfig", **config)
                        case _:
                            await plane.call(operation, FunctionName=name, ReservedConcurrentExecutions=wanted)
                except ServiceError as error:
                    assert error.status == 400
                await _holds(plane, limit)

    run(main)


async def _holds(plane: ControlPlane, limit: int) -> None:
    pool = Pool(plane.records.view(ACCOUNT, REGION), limit)
    kept = 0
    for name in ("f", "g"):
        reserved = (await plane.call("GetFunctionConcurrency", FunctionName=name)).get("ReservedConcurrentExecutions")
        configs = await plane.call("ListProvisionedConcurrencyConfigs", FunctionName=name)
        total = sum(
            config["RequestedProvisionedConcurrentExecutions"] for config in configs["ProvisionedConcurrencyConfigs"]
        )
        assert reserved is None or reserved >= total
        kept += total if reserved is None else reserved
    assert pool.unreserved == limit - kept >= 100
