"""Provisioned concurrency of a running service: environments that are there before the first call, whatever happens."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lamplighter.model.clock import SystemClock
from support.functions import deploy_with
from support.service import Service

SOURCE = """
import os, time
born = time.time()
def handler(event, context):
    if event == "crash":
        os._exit(3)
    kind = os.environ["AWS_LAMBDA_INITIALIZATION_TYPE"]
    return [kind, context.function_version, born, os.environ["AWS_LAMBDA_LOG_STREAM_NAME"]]
"""
AHEAD = "provisioned-concurrency"


def call(client: Any, name: str, qualifier: str, event: object = None) -> Any:
    return json.load(client.invoke(FunctionName=name, Qualifier=qualifier, Payload=json.dumps(event))["Payload"])


def config(client: Any, name: str, qualifier: str, status: str = "READY") -> Any:
    """Once it is so far."""
    deadline = time.monotonic() + 30
    while True:
        found = client.get_provisioned_concurrency_config(FunctionName=name, Qualifier=qualifier)
        if found["Status"] == status:
            return found
        assert time.monotonic() < deadline, found
        time.sleep(0.05)


def publish(client: Any, name: str, description: str, **members: Any) -> str:
    client.update_function_configuration(FunctionName=name, Description=description, **members)
    client.get_waiter("function_updated_v2").wait(FunctionName=name)
    return client.publish_version(FunctionName=name)["Version"]


def put(client: Any, name: str, qualifier: str, wanted: int) -> Any:
    return client.put_provisioned_concurrency_config(
        FunctionName=name, Qualifier=qualifier, ProvisionedConcurrentExecutions=wanted
    )


def test_environments_stand_before_the_first_call_and_after_a_crash(client: Any, deploy: Callable[..., str]) -> None:
    name = deploy(SOURCE)
    version = publish(client, name, "one")
    assert put(client, name, version, 2)["Status"] == "IN_PROGRESS"
    ready = config(client, name, version)
    assert ready["AllocatedProvisionedConcurrentExecutions"] == ready["AvailableProvisionedConcurrentExecutions"] == 2
    asked = SystemClock().now()
    kind, ran, born, first = call(client, name, version)
    assert (kind, ran) == (AHEAD, version)
    assert born < asked
    assert call(client, name, "$LATEST")[0] == "on-demand"
    assert call(client, name, version, "crash")["errorType"] == "Runtime.ExitError"
    config(client, name, version)
    found = {call(client, name, version)[3] for _ in range(4)}
    assert first not in found
    assert call(client, name, version)[0] == AHEAD
    client.delete_provisioned_concurrency_config(FunctionName=name, Qualifier=version)
    assert call(client, name, version)[0] == "on-demand"


def test_it_moves_with_its_alias(client: Any, deploy: Callable[..., str]) -> None:
    name = deploy(SOURCE)
    one, two = publish(client, name, "one"), publish(client, name, "two")
    client.create_alias(FunctionName=name, Name="live", FunctionVersion=one)
    put(client, name, "live", 1)
    config(client, name, "live")
    assert call(client, name, "live")[:2] == [AHEAD, one]
    client.update_alias(FunctionName=name, Name="live", FunctionVersion=two)
    config(client, name, "live")
    assert call(client, name, "live")[:2] == [AHEAD, two]
    assert call(client, name, one)[0] == "on-demand"


def test_an_init_that_fails_is_told(client: Any, deploy: Callable[..., str]) -> None:
    name = deploy(SOURCE)
    bad = publish(client, name, "bad", Handler="nowhere.handler")
    put(client, name, bad, 1)
    failed = config(client, name, bad, "FAILED")
    assert failed["StatusReason"] == "FUNCTION_ERROR_INIT_FAILURE"
    assert failed["AllocatedProvisionedConcurrentExecutions"] == 0


def test_it_is_there_again_after_kill_9(data_dir: Path) -> None:
    service = Service(data_dir)
    with service:
        client = service.client()
        name = deploy_with(client, SOURCE)
        version = publish(client, name, "one")
        put(client, name, version, 2)
        config(client, name, version)
        client.close()
        service.kill()
    with Service(data_dir) as restarted:
        client = restarted.client()
        config(client, name, version)
        assert call(client, name, version)[0] == AHEAD
        client.close()
