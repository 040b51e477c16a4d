"""A runtime that this host doesn't have: refused with the command that installs it, by boto3 from a running service."""

import json
import os
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest
from botocore.exceptions import ClientError

from lamplighter.runtimes import catalogue
from support.functions import PYTHON, ROLE, deploy_with, package
from support.service import Service

COMMANDS = {  # AWS offers all of these; which of them are not here depends on the host
    "python": r"`uv python install 3\.\d+`",
    "nodejs": r"`lamplighter runtimes install nodejs\d+\.x`",
    "java": r"apt install openjdk-\d+-jre-headless\b",
    "ruby": r"apt install ruby\b",
}
MISSING = sorted(
    name
    for name, runtime in catalogue.RUNTIMES.items()
    if runtime.state == "supported"
    and name.startswith(tuple(COMMANDS))
    and name not in catalogue.installed()
    and "does not run here: the oldest" not in catalogue.remedy(name)  # Java 8, which nothing installs
)
# Without what the person who runs these tests has installed for themselves.
ALONE = {"PATH": "/usr/bin:/bin", "HOME": "/nonexistent", "PYENV_ROOT": "", "NVM_DIR": "", "JAVA_HOME": ""}
ANSWERING = {
    "python": ("app.handler", {"app.py": "def handler(event, context): return 'here'"}),
    "nodejs": ("index.handler", {"index.js": "exports.handler = async () => 'here'"}),
}
LEAVING = [
    name
    for name in catalogue.installed()
    if name.startswith(tuple(ANSWERING)) and name not in catalogue.installed(environ=ALONE)
]


def refusal(call: Callable[..., Any], **members: Any) -> tuple[int, str, str]:
    with pytest.raises(ClientError) as refused:
        call(**members)
    answer = cast("dict[str, Any]", refused.value.response)
    return answer["ResponseMetadata"]["HTTPStatusCode"], answer["Error"]["Code"], answer["Error"]["Message"]


def command_of(runtime: str) -> str:
    return next(command for language, command in COMMANDS.items() if runtime.startswith(language))


@pytest.mark.parametrize("runtime", MISSING)
def test_it_is_refused_with_the_command_that_installs_it(client: Any, deploy: Callable[..., str], runtime: str) -> None:
    code = {"ZipFile": package({"app.py": ""})}
    name = f"missing-{runtime.replace('.', '-')}"
    members = {"FunctionName": name, "Runtime": runtime, "Role": ROLE, "Handler": "app.handler", "Code": code}
    told = refusal(client.create_function, **members)
    assert told[:2] == (400, "InvalidParameterValueException")
    assert re.search(command_of(runtime), told[2]), told[2]
    assert told[2].endswith("start Lamplighter again.")
    assert refusal(client.get_function, FunctionName=name)[1] == "ResourceNotFoundException"
    there = deploy("def handler(event, context): return 'as before'")
    assert refusal(client.update_function_configuration, FunctionName=there, Runtime=runtime) == told
    assert client.get_function_configuration(FunctionName=there)["Runtime"] == PYTHON
    assert json.load(client.invoke(FunctionName=there)["Payload"]) == "as before"


@pytest.mark.skipif(
    not any(name.startswith(tuple(ANSWERING)) for name in LEAVING), reason="all runtimes are the host's"
)
def test_one_that_left_after_the_function_was_created_is_told_to_callers_until_it_is_back(data_dir: Path) -> None:
    runtime = LEAVING[-1]
    handler, files = next(what for language, what in ANSWERING.items() if runtime.startswith(language))
    with Service(data_dir) as service:
        client = service.client()
        name = deploy_with(client, "", Runtime=runtime, Handler=handler, Code={"ZipFile": package(files)})
        other = deploy_with(client, "def handler(event, context): return 'other'", Runtime="provided.al2023")
        version = client.publish_version(FunctionName=name)["Version"]
    with Service(data_dir, **ALONE) as service:
        client = service.client()
        told = refusal(client.invoke, FunctionName=name)
        assert told[:2] == (502, "InvalidRuntimeException")
        assert re.search(command_of(runtime), told[2]), told[2]
        assert refusal(client.invoke_with_response_stream, FunctionName=f"{name}:{version}") == told
        assert client.invoke(FunctionName=name, InvocationType="DryRun")["StatusCode"] == 204
        event = client.invoke(FunctionName=name, InvocationType="Event")
        assert event["StatusCode"] == 202
        client.update_function_configuration(FunctionName=name, Timeout=9)  # what it has may be changed, and shown
        client.get_waiter("function_updated_v2").wait(FunctionName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 30})
        assert client.get_function_configuration(FunctionName=name)["Runtime"] == runtime
        assert json.load(client.invoke(FunctionName=other)["Payload"])["errorType"] == "Runtime.InvalidEntrypoint"
    with Service(data_dir) as service:
        client = service.client()
        assert json.load(client.invoke(FunctionName=name)["Payload"]) == "here"
        wait_for_log(service, name, event["ResponseMetadata"]["RequestId"])


def test_one_that_leaves_while_the_service_runs_goes_on_until_the_next_start(data_dir: Path, tmp_path: Path) -> None:
    found = next((path for name, path in interpreters().items() if name.startswith("nodejs")), None)
    if found is None:
        pytest.skip("there is no Node.js here")
    tmp_path.chmod(0o755)
    own = tmp_path / "bin" / "node"
    own.parent.mkdir()
    own.write_bytes(found.read_bytes())
    own.chmod(0o755)
    with Service(data_dir, PATH=f"{own.parent}:{os.environ['PATH']}") as service:
        client = service.client()
        runtime = next(name for name, path in interpreters(str(own.parent)).items() if path == own)
        handler, files = ANSWERING["nodejs"]
        name = deploy_with(client, "", Runtime=runtime, Handler=handler, Code={"ZipFile": package(files)})
        assert json.load(client.invoke(FunctionName=name)["Payload"]) == "here"
        own.unlink()
        client.update_function_configuration(FunctionName=name, MemorySize=256)  # so that it takes a new environment
        client.get_waiter("function_updated_v2").wait(FunctionName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 30})
        assert json.load(client.invoke(FunctionName=name)["Payload"]) == "here"


def interpreters(path: str = "") -> dict[str, Path]:
    environ = {**os.environ, "PATH": f"{path}:{os.environ['PATH']}"}
    return {
        name: found.interpreter for name, found in catalogue.installed(environ=environ).items() if found.interpreter
    }


def wait_for_log(service: Service, name: str, request_id: str) -> None:
    logs, deadline = service.client("logs"), time.monotonic() + 60
    group = f"/aws/lambda/{name}"
    while not logs.filter_log_events(logGroupName=group, filterPattern=f'"END RequestId: {request_id}"')["events"]:
        assert time.monotonic() < deadline, "the event that waited was not run"
        time.sleep(0.1)
