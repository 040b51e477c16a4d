"""Every way in which a function can fail, seen by its caller and in its log, through the whole service (AWS: spec 2.3,
3.6). What a time-out of init leads to takes ten seconds and is in `tests/contract/test_environment.py`."""

import base64
import json
import os
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

CRASHING = """
import http.client, os, signal, socket, threading, time
API = os.environ["AWS_LAMBDA_RUNTIME_API"]
def post(path, body):
    connection = http.client.HTTPConnection(API)
    connection.request("POST", "/2018-06-01/runtime/invocation/" + path, body)
    answer = connection.getresponse()
    return [answer.status, answer.read().decode()]
def handler(event, context):
    own = context.aws_request_id
    open("/tmp/mark", "a").write("x")
    match event["do"]:
        case "raise": raise KeyError("missing")
        case "exit": os._exit(event["code"])
        case "sys.exit": raise SystemExit(event["code"])
        case "kill": os.kill(os.getpid(), event["signal"])
        case "sleep": time.sleep(60)
        case "memory":
            hoard = [bytearray(8 << 20) for _ in range(100)]
        case "mark": return open("/tmp/mark").read()
        case "large": return "x" * 7_000_000
        case "set": return {1, 2}
        case "wrong id": return post("00000000-0000-0000-0000-000000000000/response", b"1")
        case "twice":
            post(own + "/response", b'"the first"')
            return "the second"
        case "close":
            host, _, port = API.partition(":")
            with socket.create_connection((host, int(port))) as half:
                half.sendall(f"POST /2018-06-01/runtime/invocation/{own}/response HTTP/1.1\\r\\n"
                             f"Host: {API}\\r\\nContent-Length: 100\\r\\n\\r\\n[1".encode())
                half.shutdown(socket.SHUT_WR)
                half.recv(1)  # until the other side has seen it
            if event["then"] == "exit":
                os._exit(4)
            return "whole"
    return "fine"
"""


@dataclass(frozen=True)
class Case:
    event: Any = field(default_factory=lambda: {"do": "nothing"})
    type: str | None = None  # of the error
    message: str | None = None  # RequestId stands for its value
    answer: Any = None  # instead of an error
    log: tuple[str, ...] = ()  # lines of the tail; N stands for a number
    status: str = ""  # the end of the REPORT
    source: str = CRASHING
    members: dict[str, Any] = field(default_factory=dict[str, Any])


def crash(event: Any, reason: str, **more: Any) -> Case:
    line = f"RequestId: ID Error: {reason}"
    return Case(event, "Runtime.ExitError", line, log=(line,), status="error\tError Type: Runtime.ExitError", **more)


def init(source: str, type: str, message: str, **members: Any) -> Case:
    """An error that the runtime finds in init: it is found again inside the invocation."""
    report = f"INIT_REPORT Init Duration: N ms\tPhase: invoke\tStatus: error\tError Type: {type}"
    return Case({}, type, message, log=(report,), status=f"error\tError Type: {type}", source=source, members=members)


CASES = {
    "an exception": Case({"do": "raise"}, "KeyError", "'missing'"),
    "exit 1": crash({"do": "exit", "code": 1}, "Runtime exited with error: exit status 1"),
    "exit 0": crash({"do": "exit", "code": 0}, "Runtime exited without providing a reason"),
    "sys.exit": crash({"do": "sys.exit", "code": 3}, "Runtime exited with error: exit status 3"),
    "SIGKILL": crash({"do": "kill", "signal": 9}, "Runtime exited with error: signal: killed"),
    "SIGSEGV": crash({"do": "kill", "signal": 11}, "Runtime exited with error: signal: segmentation fault"),
    "SIGABRT": crash({"do": "kill", "signal": 6}, "Runtime exited with error: signal: aborted"),
    "SIGTERM": crash({"do": "kill", "signal": 15}, "Runtime exited with error: signal: terminated"),
    "a time-out": Case(
        {"do": "sleep"},
        "Sandbox.Timedout",
        "RequestId: ID Error: Task timed out after 1.00 seconds",
        log=("TIME ID Task timed out after 1.00 seconds",),
        status="timeout",
        members={"Timeout": 1},
    ),
    "too large": Case(
        {"do": "large"},
        "Function.ResponseSizeTooLarge",
        "Response payload size exceeded maximum allowed payload size (6291556 bytes).",
        log=("RequestId: ID Error: Runtime exited with error: exit status 1",),  # what runtimes do when told so
        status="error\tError Type: Runtime.ExitError",
    ),
    "not JSON": Case(
        {"do": "set"},
        "Runtime.MarshalError",
        "Unable to marshal response: Object of type set is not JSON serializable",
    ),
    "a wrong request id": Case(
        {"do": "wrong id"}, answer=[400, '{"errorMessage":"Invalid request ID","errorType":"InvalidRequestID"}']
    ),
    "an answer after a broken one": Case({"do": "close", "then": "go on"}, answer="whole"),
    "an answer broken by the end": crash(
        {"do": "close", "then": "exit"}, "Runtime exited with error: exit status 4"
    ),
    "a package that is missing": init(
        "import nowhere_to_be_found",
        "Runtime.ImportModuleError",
        "Unable to import module 'app': No module named 'nowhere_to_be_found'",
    ),
    "a module that is missing": init(
        "", "Runtime.ImportModuleError", "Unable to import module 'lost': No module named 'lost'",
        Handler="lost.handler"
    ),
    "a handler that is missing": init(
        "", "Runtime.HandlerNotFound", "Handler 'handler' missing on module 'app'"
    ),
    "a handler without a module": init(
        "",
        "Runtime.MalformedHandlerName",
        "Bad handler 'handler': not enough values to unpack (expected 2, got 1)",
        Handler="handler",
    ),
    "a syntax error": init("def handler(:", "Runtime.UserCodeSyntaxError", "Syntax error in module 'app': ..."),
    "exit in init": crash({}, "Runtime exited with error: exit status 5", source="import os; os._exit(5)"),
}  # fmt: skip


def tail(response: Any) -> str:
    """With what differs from one call to the next replaced."""
    text = base64.b64decode(response["LogResult"]).decode()
    text = text.replace(response["ResponseMetadata"]["RequestId"], "ID")
    text = re.sub(r"\d{4}-\d\d-\d\dT[\d:.]+Z", "TIME", text)
    return re.sub(r"\d+\.\d\d ms", "N ms", text)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_a_failure_is_told_as_aws_tells_it(client: Any, deploy: Callable[..., str], case: Case) -> None:
    name = deploy(case.source, **case.members)
    response = client.invoke(FunctionName=name, Payload=json.dumps(case.event), LogType="Tail")
    payload = json.loads(response["Payload"].read())
    log = tail(response)
    assert (response["StatusCode"], response["ExecutedVersion"]) == (200, "$LATEST")
    if case.type is None:
        assert payload == case.answer
        assert "FunctionError" not in response
    else:
        assert response["FunctionError"] == "Unhandled"
        assert payload["errorType"] == case.type
        told = payload["errorMessage"].replace(response["ResponseMetadata"]["RequestId"], "ID")
        start = (case.message or "").removesuffix("...")
        assert told.startswith(start) if start != case.message else told == case.message
    lines = log.splitlines()
    for line in case.log:
        assert line in lines
    report = next(line for line in lines if line.startswith("REPORT"))
    assert re.search(r"\tStatus: (.*)$", report if case.status else report + "\tStatus: ")[1] == case.status  # pyright: ignore[reportOptionalSubscript]
    assert lines.index("END RequestId: ID") + 1 == lines.index(report)
    assert case.event == {} or "START RequestId: ID Version: $LATEST" in lines


def test_the_first_of_two_answers_counts_and_the_next_call_is_as_good_as_any(
    client: Any, deploy: Callable[..., str]
) -> None:
    name = deploy(CRASHING)
    for event, expected in (({"do": "twice"}, "the first"), ({"do": "nothing"}, "fine")):
        response = client.invoke(FunctionName=name, Payload=json.dumps(event))
        assert "FunctionError" not in response
        assert json.loads(response["Payload"].read()) == expected


@pytest.mark.skipif(os.geteuid() != 0, reason="a memory limit takes cgroups, which take root")
def test_out_of_memory_is_told_with_all_the_memory_there_was(client: Any, deploy: Callable[..., str]) -> None:
    name = deploy(CRASHING, MemorySize=128, Timeout=20)
    for event, failed in (({"do": "memory"}, True), ({"do": "nothing"}, False)):
        response = client.invoke(FunctionName=name, Payload=json.dumps(event), LogType="Tail")
        payload, log = json.loads(response["Payload"].read()), tail(response)
        assert (response.get("FunctionError") == "Unhandled") is failed
        if failed:
            assert payload["errorType"] == "Runtime.ExitError"
            assert payload["errorMessage"].endswith("Error: Runtime exited with error: signal: killed")
            assert "\tMemory Size: 128 MB\tMax Memory Used: 128 MB\t" in log
            assert log.rstrip().endswith("\tStatus: error\tError Type: Runtime.ExitError")
        else:
            assert payload == "fine"
            assert "Init Duration" not in log, "init ran in the call's own time"


def test_tmp_stays_with_the_environment_whatever_ends_its_sandbox_and_goes_with_it(
    client: Any, deploy: Callable[..., str]
) -> None:
    name = deploy(CRASHING, Timeout=1)

    def marks() -> str:
        return json.loads(client.invoke(FunctionName=name, Payload=b'{"do": "mark"}')["Payload"].read())

    assert marks() == "x"
    for event in ({"do": "exit", "code": 1}, {"do": "kill", "signal": 9}, {"do": "sleep"}):
        assert "FunctionError" in client.invoke(FunctionName=name, Payload=json.dumps(event))
    assert marks() == "x" * 5
    client.update_function_configuration(FunctionName=name, Timeout=2)
    client.get_waiter("function_updated_v2").wait(FunctionName=name)
    assert marks() == "x", "a new environment has a new /tmp"
