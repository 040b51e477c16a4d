"""Reservations reach the limits that invocations meet: from the store at the start, and with every change."""

from pathlib import Path
from typing import Any

import pytest

from lamplighter.invoke.limits import Limits
from lamplighter.invoke.reservations import follow_reservations
from lamplighter.model.errors import TooManyRequestsException
from support.control import ACCOUNT, REGION, ControlPlane, control_plane, function_id, run


def followed(plane: ControlPlane) -> Limits:
    limits = Limits(1000)
    follow_reservations(limits, plane.records, plane.database, ACCOUNT, REGION)
    return limits


async def reserve(plane: ControlPlane, name: str, wanted: int) -> None:
    await plane.call("PutFunctionConcurrency", FunctionName=name, ReservedConcurrentExecutions=wanted)


def reason(limits: Limits, name: str) -> Any:
    with pytest.raises(TooManyRequestsException) as refused:
        limits.share(function_id(name)).admit()
    return refused.value.extra["Reason"]


def test_limits_follow_every_change_at_once(tmp_path: Path):
    async def main() -> None:
        async with control_plane(tmp_path) as plane:
            limits = followed(plane)
            await plane.create("f")
            await reserve(plane, "f", 0)
            assert reason(limits, "f") == "ReservedFunctionConcurrentInvocationLimitExceeded"
            await reserve(plane, "f", 1)
            limits.share(function_id("f")).admit()
            assert reason(limits, "f") == "ReservedFunctionConcurrentInvocationLimitExceeded"
            await plane.call("DeleteFunctionConcurrency", FunctionName="f")
            limits.share(function_id("f")).admit()

    run(main)


def test_a_reservation_goes_with_its_function(tmp_path: Path):
    async def main() -> None:
        async with control_plane(tmp_path) as plane:
            limits = followed(plane)
            await plane.create("f")
            await reserve(plane, "f", 0)
            await plane.call("DeleteFunction", FunctionName="f")
            await plane.create("f")
            limits.share(function_id("f")).admit()

    run(main)


def test_what_was_reserved_before_the_start_holds(tmp_path: Path):
    async def main() -> None:
        async with control_plane(tmp_path) as plane:
            await plane.create("f")
            await plane.create("g")
            await reserve(plane, "f", 0)
        async with control_plane(tmp_path) as plane:
            limits = followed(plane)
            assert reason(limits, "f") == "ReservedFunctionConcurrentInvocationLimitExceeded"
            limits.share(function_id("g")).admit()
            await plane.call("DeleteFunctionConcurrency", FunctionName="f")
            limits.share(function_id("f")).admit()

    run(main)
