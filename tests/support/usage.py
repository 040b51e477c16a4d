"""Values of what ran, for tests of metering and the bill."""

from typing import Any

from lamplighter.model.functions import CodePackage, FunctionId, FunctionVersion
from lamplighter.model.usage import Ran

NOON = 1_700_049_600.0  # 2023-11-15 12:00 UTC


def version(name: str = "f", **members: Any) -> FunctionVersion:
    known: dict[str, Any] = {
        "version": "1",
        "generation": 1,
        "revision": "r",
        "role": "arn:aws:iam::000000000000:role/any",
        "code": CodePackage("0" * 64, 1),
        "runtime": "python3.12",
        "handler": "app.handler",
        "last_modified": "2026-01-02T03:04:05.678+0000",
    }
    return FunctionVersion(FunctionId("000000000000", "us-east-1", name), **(known | members))


def ran(function: FunctionVersion, **members: Any) -> Ran:
    known: dict[str, Any] = {
        "request_id": "r-1",
        "invoked_arn": function.arn,
        "tenant": None,
        "source": "sync",
        "payload": 2,
        "initialization": "on-demand",
        "began": NOON,
        "duration": 1.5,
        "init": None,
        "extensions": 0.0,
        "memory_peak": None,
        "status": "success",
        "error_type": None,
        "streamed": 0,
    }
    return Ran(function, **(known | members))
