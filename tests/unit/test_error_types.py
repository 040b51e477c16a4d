"""The error types that runtimes post, as log and telemetry show them (AWS: spec 3.3), and the limits that are named."""

import json

import pytest

from lamplighter.worker import failures
from lamplighter.worker.stream import STREAM_LIMIT


@pytest.mark.parametrize(
    ("posted", "shown"),
    [
        ("Runtime.ImportModuleError", "Runtime.ImportModuleError"),
        ("Function.MyCustomErrorTypeHere", "Function.MyCustomErrorTypeHere"),
        ("", "Runtime.Unknown"),
        ("ValueError", "Runtime.Unknown"),
        ("My.Runtime.Error", "Runtime.Unknown"),
        ("Runtime.lower", "Runtime.Unknown"),
        ("Runtime.Error\tStatus: success", "Runtime.Unknown"),
        ("Function.Error\n", "Function.Unknown"),
        ("Function.1", "Function.Unknown"),
        ("Functional.Error", "Runtime.Unknown"),
    ],
)
def test_what_is_not_of_awss_form_is_unknown(posted: str, shown: str) -> None:
    assert failures.error_type(posted) == shown


def test_limits_of_answers_are_awss() -> None:
    assert (failures.RESPONSE_LIMIT, STREAM_LIMIT) == (6_291_556, 200 << 20)
    assert json.loads(failures.TOO_LARGE)["errorMessage"].endswith(" payload size (6291556 bytes).")
    assert json.loads(failures.STREAM_TOO_LARGE[1])["errorMessage"].endswith(" payload size (209715200 bytes).")
