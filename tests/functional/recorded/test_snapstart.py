"""SnapStart of functions in the runtimes that have it."""

from typing import Any

from functional.recorded.support import Client, CreateFunction, Recording, RefusedCreation, active, keys, replays


def inputs(aws: Recording) -> dict[str, Any]:
    runtime = aws.key.partition("[")[2].removesuffix("]")
    handler = "echo.Handler" if runtime.startswith("java") else "handler.handler"
    return {"Runtime": runtime, "Handler": handler, "MemorySize": 1024, "Timeout": 5}


@replays(*keys("TestLambdaSnapStart::test_snapstart_lifecycle["))
def test_a_function_without_snapshots_is_published(
    aws: Recording, client: Client, function: CreateFunction, name: str
) -> None:
    aws.check("create_function_response", function(name, **inputs(aws), SnapStart={"ApplyOn": "None"}))
    active(client, name)
    aws.check("get_function_response_latest", client.get_function(FunctionName=name))
    client.publish_version(FunctionName=name, Description="version1")
    active(client, f"{name}:1")
    aws.check("get_function_response_version_1", client.get_function(FunctionName=name, Qualifier="1"))


@replays(*keys("TestLambdaSnapStart::test_snapstart_update_function_configuration["))
def test_snapshots_are_switched_on(aws: Recording, client: Client, function: CreateFunction, name: str) -> None:
    aws.check("create_function_response", function(name, **inputs(aws)))
    active(client, name)
    changed = client.update_function_configuration(FunctionName=name, SnapStart={"ApplyOn": "PublishedVersions"})
    aws.check("update_function_response", changed)


@replays("TestLambdaSnapStart::test_snapstart_exceptions")
def test_an_unknown_way_to_apply_is_refused(aws: Recording, refused_creation: RefusedCreation) -> None:
    refused = refused_creation(Runtime="java11", Handler="echo.Handler", SnapStart={"ApplyOn": "invalidOption"})
    aws.check("create_function_invalid_snapstart_apply", refused)
