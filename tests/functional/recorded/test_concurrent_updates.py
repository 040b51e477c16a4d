"""Updates of a function that is being updated."""

import itertools
import time
from collections.abc import Callable

from functional.recorded.support import (
    USUAL,
    Answer,
    Client,
    CreateFunction,
    Recording,
    active,
    package,
    replays,
)

DEADLINE = 30.0  # seconds


def conflict(client: Client, update: Callable[[], Answer]) -> Answer:
    """The refusal of an update that follows another at once. One of a pair may come late, so pairs are tried until one
    does not."""
    until = time.monotonic() + DEADLINE
    while time.monotonic() < until:
        try:
            update()
        except client.exceptions.ResourceConflictException as refused:
            return refused.response
    raise AssertionError(f"no update was refused in {DEADLINE} s")


@replays("TestLambdaFunction::test_lambda_concurrent_code_updates")
def test_a_code_update_during_an_update_is_a_conflict(
    aws: Recording, client: Client, function: CreateFunction, name: str
) -> None:
    aws.check("create-function-response", function(name, Runtime="python3.12", Handler="handler.handler"))
    active(client, name)
    contents = itertools.count()
    refused = conflict(
        client, lambda: client.update_function_code(FunctionName=name, ZipFile=package(f"# {next(contents)}"))
    )
    aws.check("update-during-in-progress-update-exc", refused)


@replays("TestLambdaFunction::test_lambda_concurrent_config_updates")
def test_a_configuration_update_during_an_update_is_a_conflict(
    aws: Recording, client: Client, function: CreateFunction, name: str
) -> None:
    aws.check("create-function-response", function(name, **USUAL))
    active(client, name)
    values = itertools.count()
    refused = conflict(
        client,
        lambda: client.update_function_configuration(
            FunctionName=name, Environment={"Variables": {"VALUE": str(next(values))}}
        ),
    )
    aws.check("update-during-in-progress-update-exc", refused)
