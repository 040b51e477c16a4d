"""Invoke through the whole service: boto3, signatures, real sandboxes, and what a caller is told when it goes wrong."""

import base64
import io
import json
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import files
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from lamplighter.runtimes import catalogue
from support.functions import PYTHON, ROLE, deploy_with
from support.service import Service

HANDLER = """
import os, signal, sys, time
COUNT = 0
def handler(event, context):
    global COUNT
    COUNT += 1
    do = event.get("do", "echo")
    if do == "sleep":
        time.sleep(event["seconds"])
    elif do == "raise":
        raise ValueError("boom")
    elif do == "exit":
        os._exit(event["code"])
    elif do == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    elif do == "large":
        return "x" * 7_000_000
    elif do == "print":
        print("a line of its own")
    return {"event": event, "count": COUNT, "boot": open("/proc/sys/kernel/random/uuid").read() if COUNT == 1 else "",
            "host": os.uname().nodename, "request": context.aws_request_id, "arn": context.invoked_function_arn,
            "left": context.get_remaining_time_in_millis()}
"""


def invoke(client: Any, name: str, event: Any = None, **more: Any) -> tuple[Any, Any]:
    """The response and the payload in it."""
    response = client.invoke(FunctionName=name, Payload=json.dumps(event or {}), **more)
    return response, json.loads(response["Payload"].read() or b"null")


def test_an_environment_is_warm_and_used_again(client: Any, deploy: Callable[..., str]) -> None:
    name = deploy(HANDLER)
    answers = [invoke(client, name, {"n": n})[1] for n in range(5)]
    assert [answer["count"] for answer in answers] == [1, 2, 3, 4, 5]
    assert len({answer["request"] for answer in answers}) == 5
    assert answers[0]["arn"].endswith(f":function:{name}")


def test_several_environments_run_side_by_side(client: Any, deploy: Callable[..., str]) -> None:
    name = deploy(HANDLER, Timeout=20)
    with ThreadPoolExecutor(5) as pool:
        answers = [
            answer for _, answer in pool.map(lambda _: invoke(client, name, {"do": "sleep", "seconds": 1.5}), range(5))
        ]
    assert len({answer["host"] for answer in answers}) == 5, "each had a sandbox of its own"
    assert [answer["count"] for answer in answers] == [1] * 5


def test_the_answer_has_what_aws_sends(client: Any, deploy: Callable[..., str]) -> None:
    name = deploy(HANDLER)
    response, _ = invoke(client, name, {"do": "print"}, LogType="Tail")
    headers = response["ResponseMetadata"]["HTTPHeaders"]
    assert (response["StatusCode"], response["ExecutedVersion"]) == (200, "$LATEST")
    assert "FunctionError" not in response
    assert headers["content-type"] == "application/json"
    lines = base64.b64decode(response["LogResult"]).decode().splitlines()
    request_id = response["ResponseMetadata"]["RequestId"]
    assert f"START RequestId: {request_id} Version: $LATEST" in lines
    assert "a line of its own" in lines
    assert any(line.startswith(f"REPORT RequestId: {request_id}\tDuration: ") for line in lines)


def test_a_dry_run_runs_nothing(client: Any, deploy: Callable[..., str]) -> None:
    name = deploy(HANDLER)
    response = client.invoke(FunctionName=name, InvocationType="DryRun")
    assert (response["StatusCode"], response["Payload"].read()) == (204, b"")
    assert invoke(client, name)[1]["count"] == 1


def test_an_exception_is_the_answer(client: Any, deploy: Callable[..., str]) -> None:
    response, payload = invoke(client, deploy(HANDLER), {"do": "raise"})
    assert (response["StatusCode"], response["FunctionError"]) == (200, "Unhandled")
    assert (payload["errorType"], payload["errorMessage"]) == ("ValueError", "boom")
    assert "/var/task/app.py" in payload["stackTrace"][0]


def test_a_function_has_three_seconds_unless_it_says_otherwise(client: Any, deploy: Callable[..., str]) -> None:
    name = deploy(HANDLER)
    response, payload = invoke(client, name, {"do": "sleep", "seconds": 30})
    request_id = response["ResponseMetadata"]["RequestId"]
    assert response["FunctionError"] == "Unhandled"
    assert payload == {
        "errorType": "Sandbox.Timedout",
        "errorMessage": f"RequestId: {request_id} Error: Task timed out after 3.00 seconds",
    }
    assert invoke(client, name)[1]["count"] == 1, "the next call has a new environment"


@pytest.mark.parametrize(
    "event, message",
    [
        ({"do": "exit", "code": 1}, "Runtime exited with error: exit status 1"),
        ({"do": "exit", "code": 0}, "Runtime exited without providing a reason"),
        ({"do": "kill"}, "Runtime exited with error: signal: killed"),
    ],
)
def test_a_crash_is_noticed_at_once(client: Any, deploy: Callable[..., str], event: Any, message: str) -> None:
    name = deploy(HANDLER, Timeout=60)
    invoke(client, name)
    began = time.monotonic()
    response, payload = invoke(client, name, event)
    assert time.monotonic() - began < 30, "not at its deadline"
    request_id = response["ResponseMetadata"]["RequestId"]
    assert response["FunctionError"] == "Unhandled"
    assert payload == {"errorType": "Runtime.ExitError", "errorMessage": f"RequestId: {request_id} Error: {message}"}
    assert invoke(client, name)[1]["count"] == 1


def test_payloads_have_their_limits(client: Any, deploy: Callable[..., str]) -> None:
    name = deploy(HANDLER, Timeout=20)
    response, payload = invoke(client, name, {"do": "large"})
    assert (response["FunctionError"], payload["errorType"]) == ("Unhandled", "Function.ResponseSizeTooLarge")
    with pytest.raises(ClientError) as refused:
        client.invoke(FunctionName=name, Payload=b'"' + b"x" * 6_291_556 + b'"')
    assert refused.value.response["Error"] == {
        "Code": "RequestTooLargeException",
        "Message": "Request must be smaller than 6291556 bytes for the InvokeFunction operation",
    }
    large = "y" * 5_000_000
    assert invoke(client, name, {"text": large})[1]["event"]["text"] == large


def test_what_is_no_json_is_refused(client: Any, deploy: Callable[..., str]) -> None:
    name = deploy(HANDLER)
    with pytest.raises(ClientError, match="Could not parse request body into json: Could not parse payload into json"):
        client.invoke(FunctionName=name, Payload=b"not json")


def test_nothing_runs_for_a_function_that_is_not_there(client: Any) -> None:
    with pytest.raises(ClientError) as refused:
        client.invoke(FunctionName="nobody")
    error: Any = refused.value.response["Error"]
    assert (error["Code"], error["Message"].endswith(":function:nobody:$LATEST")) == ("ResourceNotFoundException", True)


def test_an_update_is_what_runs_next(client: Any, deploy: Callable[..., str]) -> None:
    name = deploy("def handler(event, context):\n    return 'before'\n")
    assert invoke(client, name)[1] == "before"
    code = io.BytesIO()
    with zipfile.ZipFile(code, "w") as archive:
        archive.writestr("app.py", "import os\ndef handler(event, context):\n    return os.environ['SAY']\n")
    waiter = client.get_waiter("function_updated_v2")
    client.update_function_configuration(FunctionName=name, Environment={"Variables": {"SAY": "after"}})
    waiter.wait(FunctionName=name)
    client.update_function_code(FunctionName=name, ZipFile=code.getvalue())
    waiter.wait(FunctionName=name)
    assert invoke(client, name)[1] == "after"


def test_the_aws_cli_deploys_invokes_and_reads_the_log(service: Service, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "code.zip", "w") as archive:
        archive.writestr("app.py", HANDLER)
    environment = service.environment()

    def aws(*arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "awscli", "lambda", *arguments],
            env=environment | {"AWS_PAGER": ""},
            cwd=tmp_path,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        return done.stdout

    create = ("create-function", "--function-name", "by-cli", "--runtime", PYTHON, "--handler", "app.handler")
    aws(*create, "--role", ROLE, "--zip-file", "fileb://code.zip")
    aws("wait", "function-active-v2", "--function-name", "by-cli")
    (tmp_path / "event.json").write_text('{"n": 1}')
    told = json.loads(
        aws("invoke", "--function-name", "by-cli", "--payload", "fileb://event.json", "--log-type", "Tail", "out.json")
    )
    assert json.loads((tmp_path / "out.json").read_text())["event"] == {"n": 1}
    assert b"REPORT RequestId" in base64.b64decode(told["LogResult"])
    aws("delete-function", "--function-name", "by-cli")


def test_awss_own_runtime_client_runs_in_the_same_sandbox(client: Any) -> None:
    """The function's module replaces its process by awslambdaric, which speaks to the same Runtime API."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for package in ("awslambdaric", "simplejson", "snapshot-restore-py"):
            for file in files(package) or []:
                if not str(file).startswith(("..", "__pycache__")):
                    archive.write(file.locate(), str(file))
        archive.writestr("real.py", HANDLER)
        archive.writestr(
            "app.py",
            "import os, sys\nos.execv(sys.executable, [sys.executable, '-m', 'awslambdaric', 'real.handler'])\n",
        )
    name = deploy_with(client, "", Code={"ZipFile": packed.getvalue()}, Timeout=20, MemorySize=512)
    answers = [invoke(client, name, {"n": n})[1] for n in range(3)]
    assert [answer["count"] for answer in answers] == [1, 2, 3]
    response, payload = invoke(client, name, {"do": "raise"})
    assert (response["FunctionError"], payload["errorType"]) == ("Unhandled", "ValueError")
    client.delete_function(FunctionName=name)


@pytest.mark.parametrize("runtime", sorted(name for name in catalogue.installed() if name.startswith("python")))
def test_the_runtime_named_is_the_one_that_runs(client: Any, deploy: Callable[..., str], runtime: str) -> None:
    name = deploy("import sys\ndef handler(event, context):\n    return sys.version.split()[0]\n", Runtime=runtime)
    assert invoke(client, name)[1].startswith(runtime.removeprefix("python") + ".")
