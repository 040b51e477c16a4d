"""Invocations obey what is reserved, and the account's limit."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from support.functions import deploy_with
from support.service import Service

ECHO = "def handler(event, context):\n    return event\n"


def throttle(client: Any, name: str) -> tuple[int, str]:
    with pytest.raises(ClientError) as refused:
        client.invoke(FunctionName=name)
    response: Any = refused.value.response  # botocore has no types
    assert response["Error"]["Code"] == "TooManyRequestsException"
    return response["ResponseMetadata"]["HTTPStatusCode"], response["Reason"]


def test_a_function_that_reserves_nothing_is_switched_off(client: Any, deploy: Callable[..., str]) -> None:
    name = deploy(ECHO)
    assert client.invoke(FunctionName=name)["StatusCode"] == 200
    client.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=0)
    assert throttle(client, name) == (429, "ReservedFunctionConcurrentInvocationLimitExceeded")
    client.delete_function_concurrency(FunctionName=name)
    assert client.invoke(FunctionName=name)["StatusCode"] == 200


def test_a_reservation_holds_after_a_crash_and_the_limit_is_the_operators(data_dir: Path) -> None:
    service = Service(data_dir, "--account-concurrency", "150")
    with service:
        client = service.client()
        name = deploy_with(client, ECHO)
        limit = client.get_account_settings()["AccountLimit"]
        assert (limit["ConcurrentExecutions"], limit["UnreservedConcurrentExecutions"]) == (150, 150)
        with pytest.raises(ClientError, match=r"below its minimum value of \[100\]"):
            client.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=51)
        client.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=0)
        client.close()
        service.kill()
    with Service(data_dir) as restarted:
        client = restarted.client()
        assert throttle(client, name) == (429, "ReservedFunctionConcurrentInvocationLimitExceeded")
        client.close()
