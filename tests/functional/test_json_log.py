"""The log in JSON: the platform's events for every way to fail, and what levels leave of it (AWS: spec 3.6)."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from support.service import Service

SOURCE = """
import json, logging, os, time
if os.environ.get("INIT") == "exit":
    os._exit(3)
def handler(event, context):
    how = event.get("how")
    if how == "raise":
        raise KeyError("nope")
    if how == "exit":
        os._exit(7)
    if how == "sleep":
        time.sleep(60)
    log = logging.getLogger("mine")
    log.debug("by the logger")
    log.error("by the logger", extra={"customer": "ada"})
    print("unstructured")
    for level in ("trace", "debug", "info", "warn", "error", "fatal", "nonsense"):
        print(json.dumps({"level": level, "message": "printed"}))
"""
EXIT = "Runtime.ExitError"
Told = tuple[str, str | None, str | None]


def lines(service: Service, name: str) -> list[str]:
    logs = service.client("logs")
    found = logs.filter_log_events(logGroupName=f"/aws/lambda/{name}")["events"]
    logs.close()
    return [event["message"] for event in found]


def platform(found: list[str]) -> list[tuple[str, dict[str, Any]]]:
    events = [json.loads(line) for line in found if line.startswith('{"time"')]
    return [(event["type"].removeprefix("platform."), event["record"]) for event in events]


@pytest.mark.parametrize(
    ("how", "variables", "expected"),
    [
        ("raise", {}, [("runtimeDone", "error", None), ("report", "error", None)]),
        ("exit", {}, [("runtimeDone", "failure", EXIT), ("report", "error", EXIT)]),
        ("sleep", {}, [("runtimeDone", "timeout", None), ("report", "timeout", None)]),
        (
            *("", {"INIT": "exit"}),
            [
                *[("initRuntimeDone", "error", EXIT), ("initReport", "error", EXIT)] * 2,  # init, and again in invoke
                *[("runtimeDone", "failure", EXIT), ("report", "error", EXIT)],
            ],
        ),
    ],
)
def test_at_warn_the_platform_tells_of_what_failed_and_how(
    service: Service,
    client: Any,
    deploy: Callable[..., str],
    how: str,
    variables: dict[str, str],
    expected: list[Told],
) -> None:
    logging = {"LogFormat": "JSON", "SystemLogLevel": "WARN", "ApplicationLogLevel": "FATAL"}
    timeout = 1 if how == "sleep" else 30
    name = deploy(SOURCE, Timeout=timeout, LoggingConfig=logging, Environment={"Variables": variables})
    answer = client.invoke(LogType="Tail", FunctionName=name, Payload=json.dumps({"how": how}))
    assert answer["FunctionError"] == "Unhandled"
    told = platform(lines(service, name))
    assert [(kind, record["status"], record.get("errorType")) for kind, record in told] == expected
    (report,) = (record for kind, record in told if kind == "report")
    assert report["requestId"] == answer["ResponseMetadata"]["RequestId"]
    assert report["metrics"].keys() >= {"durationMs", "billedDurationMs", "memorySizeMB"}


@pytest.mark.parametrize(
    ("system", "application", "told", "printed"),
    [
        (
            *("DEBUG", "TRACE"),
            ["initStart", "initRuntimeDone", "initReport", "start", "runtimeDone", "report"],
            ["trace", "debug", "info", "warn", "error", "fatal", "nonsense"],
        ),
        ("INFO", "INFO", ["initStart", "start", "report"], ["info", "warn", "error", "fatal", "nonsense"]),
        ("WARN", "ERROR", [], ["error", "fatal"]),
    ],
)
def test_levels_choose_what_is_kept(
    service: Service,
    client: Any,
    deploy: Callable[..., str],
    system: str,
    application: str,
    told: list[str],
    printed: list[str],
) -> None:
    logging = {"LogFormat": "JSON", "SystemLogLevel": system, "ApplicationLogLevel": application}
    name = deploy(SOURCE, LoggingConfig=logging)
    answer = client.invoke(LogType="Tail", FunctionName=name, Payload=b"{}")
    found = lines(service, name)
    assert [kind for kind, _ in platform(found)] == told
    own = [json.loads(line) for line in found if line.startswith('{"') and not line.startswith('{"time"')]
    assert [line["level"] for line in own if line["message"] == "printed"] == printed
    assert ("unstructured\n" in found) is (application != "ERROR"), "what has no level counts as INFO"
    logged = {line["level"]: line for line in own if line["message"] == "by the logger"}
    assert logged.keys() == ({"DEBUG", "ERROR"} if application == "TRACE" else {"ERROR"})
    error = logged["ERROR"]
    assert (error["logger"], error["customer"]) == ("mine", "ada")
    assert error["requestId"] == answer["ResponseMetadata"]["RequestId"]
