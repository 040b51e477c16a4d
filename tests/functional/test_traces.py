"""Traces of the running service, as a collector sees them."""

import json
import platform
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from tests.support.control import zipped
from tests.support.functions import package
from tests.support.service import Service

from lamplighter.runtimes.catalogue import installed

SOURCE = """
import json, os, socket, time

def handler(event, context):
    header = os.environ["_X_AMZN_TRACE_ID"]
    members = dict(part.split("=", 1) for part in header.split(";"))
    host, port = os.environ["AWS_XRAY_DAEMON_ADDRESS"].split(":")
    now = time.time()
    document = {
        "id": "1234567890abcdef", "trace_id": members["Root"], "parent_id": members["Parent"], "type": "subsegment",
        "name": "work", "start_time": now, "end_time": now + 0.01,
    }
    daemon = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    daemon.sendto(b'{"format": "json", "version": 1}\\n' + json.dumps(document).encode(), (host, int(port)))
    return header
"""

RAISING = """
def handler(event, context):
    try:
        {}["key"]
    except KeyError as error:
        raise ValueError("grüße") from error
"""
# Posts an error whose cause is what its event says: none, one that is no JSON, or one of so many bytes.
TELLS = r"""#!/bin/bash
while true; do
  exec 3<>/dev/tcp/127.0.0.1/9001
  printf 'GET /2018-06-01/runtime/invocation/next HTTP/1.1\r\nHost: x\r\n\r\n' >&3
  while read -r line <&3 && line=${line%$'\r'} && [ -n "$line" ]; do
    case "$line" in
      [Ll]ambda-[Rr]untime-[Aa]ws-[Rr]equest-[Ii]d:*) id=${line#*: } ;;
      [Cc]ontent-[Ll]ength:*) length=${line#*: } ;;
    esac
  done
  read -r -N "$length" event <&3
  case "$event" in
    0) header='' ;;
    1) header='Lambda-Runtime-Function-XRay-Error-Cause: {"exceptions": [{"message": "' ;;
    *) header="Lambda-Runtime-Function-XRay-Error-Cause: {\"exceptions\": [{\"type\": \"T\", \"message\": \"" ;;
  esac
  printf 'POST /2018-06-01/runtime/invocation/%s/error HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n' "$id" >&3
  printf '%s' "$header" >&3
  if [ "$event" -gt 1 ]; then head -c $((event - 46)) /dev/zero | tr '\0' m >&3; printf '"}]}' >&3; fi
  if [ -n "$header" ]; then printf '\r\n' >&3; fi
  printf '\r\n{}' >&3
  while read -r line <&3 && line=${line%$'\r'} && [ -n "$line" ]; do :; done
  exec 3>&-
done
"""


class Collector:
    """Takes what is posted to /v1/traces."""

    def __init__(self) -> None:
        self.spans: list[dict[str, Any]] = []
        self.news = threading.Condition()
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                assert self.path == "/v1/traces"
                with collector.news:
                    for group in body["resourceSpans"]:
                        collector.spans += group["scopeSpans"][0]["spans"]
                    collector.news.notify_all()
                self.send_response(200)
                self.send_header("Content-Length", "2")
                self.end_headers()
                self.wfile.write(b"{}")

            def log_message(self, format: str, *args: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"

    def of(self, trace: str, count: int) -> dict[str, dict[str, Any]]:
        """The spans of a trace by kind and name, once there are so many."""

        def found() -> list[dict[str, Any]]:
            return [span for span in self.spans if span["traceId"] == trace]

        with self.news:
            assert self.news.wait_for(lambda: len(found()) >= count, 30), self.spans
            return {f"{span['kind']} {span['name']}": span for span in found()}


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    made = Collector()
    thread = threading.Thread(target=made.server.serve_forever)
    thread.start()
    yield made
    made.server.shutdown()
    thread.join()
    made.server.server_close()


@pytest.fixture(scope="module")
def service(collector: Collector, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    data = tmp_path_factory.mktemp("traced") / "data"
    with Service(data, OTEL_EXPORTER_OTLP_ENDPOINT=collector.url) as running:
        made = running.client()
        for name, mode in (("active", "Active"), ("passive", "PassThrough")):
            made.create_function(
                FunctionName=name,
                Runtime="python3.11",
                Role="arn:aws:iam::000000000000:role/r",
                Handler="main.handler",
                Code={"ZipFile": zipped({"main.py": SOURCE})},
                TracingConfig={"Mode": mode},
            )
            made.get_waiter("function_active_v2").wait(FunctionName=name)
        made.close()
        yield running


@pytest.fixture
def client(service: Service) -> Iterator[Any]:
    made = service.client()
    yield made
    made.close()


def _invoke(client: Any, name: str, header: str | None = None) -> tuple[dict[str, str], str]:
    """The members of the header that the function saw, and the log's tail."""

    def add(request: Any, **_: object) -> None:
        if header is not None:
            request.headers["X-Amzn-Trace-Id"] = header

    client.meta.events.register("before-sign.lambda.Invoke", add, unique_id="trace")
    try:
        answer = client.invoke(FunctionName=name, LogType="Tail")
    finally:
        client.meta.events.unregister("before-sign.lambda.Invoke", unique_id="trace")
    seen = json.load(answer["Payload"])
    return dict(part.split("=", 1) for part in seen.split(";")), answer["LogResult"]


def test_a_traced_call_reaches_the_collector_with_what_the_function_adds(client: Any, collector: Collector) -> None:
    root = "1-5759e988-bd862e3fe1be46a994272793"
    seen, _ = _invoke(client, "active", f"Root={root};Parent=53995c3f42cd8ad8;Sampled=1")
    assert (seen["Root"], seen["Sampled"]) == (root, "1")
    assert seen["Parent"] != "53995c3f42cd8ad8"
    spans = collector.of("5759e988bd862e3fe1be46a994272793", 6)
    service, function = spans["2 active"], spans["1 active"]
    assert service["parentSpanId"] == "53995c3f42cd8ad8"
    assert (function["parentSpanId"], function["spanId"]) == (service["spanId"], seen["Parent"])
    assert {spans[f"1 {name}"]["parentSpanId"] for name in ("Initialization", "Invocation", "Overhead", "work")} == {
        seen["Parent"]
    }
    assert "status" not in function


def test_a_call_that_is_not_sampled_stays_here(client: Any, collector: Collector) -> None:
    root = "1-5759e988-000000000000000000000001"
    seen, _ = _invoke(client, "active", f"Root={root};Parent=53995c3f42cd8ad8;Sampled=0")
    assert (seen["Parent"], seen["Sampled"]) == ("53995c3f42cd8ad8", "0")
    seen, _ = _invoke(client, "passive")
    assert seen["Sampled"] == "0"
    seen, _ = _invoke(client, "passive", f"Root={root};Parent=53995c3f42cd8ad8;Sampled=1")
    assert (seen["Parent"], seen["Sampled"]) == ("53995c3f42cd8ad8", "1"), "it only hands on"


@pytest.mark.skipif(platform.machine() != "x86_64", reason="copies are made on x86_64 only")
def test_a_restored_environment_has_a_restore_in_place_of_an_init(client: Any, collector: Collector) -> None:
    """And what its copy of the function sends to the X-Ray daemon's address arrives as from any environment."""
    runtime = next((name for name in installed() if name in ("python3.12", "python3.13", "python3.14")), None)
    if runtime is None:
        pytest.skip("no Python 3.12 or later here, as SnapStart needs it")
    client.create_function(
        FunctionName="copied",
        Runtime=runtime,
        Role="arn:aws:iam::000000000000:role/r",
        Handler="main.handler",
        Code={"ZipFile": zipped({"main.py": SOURCE})},
        TracingConfig={"Mode": "Active"},
        SnapStart={"ApplyOn": "PublishedVersions"},
        Publish=True,
    )
    waiter = client.get_waiter("published_version_active")
    waiter.wait(FunctionName="copied", Qualifier="1", WaiterConfig={"Delay": 1, "MaxAttempts": 30})
    optimized = client.get_function_configuration(FunctionName="copied", Qualifier="1")["SnapStart"]
    assert optimized["OptimizationStatus"] == "On"
    for number, phases in ((3, ["Restore", "Invocation", "Overhead", "work"]), (4, ["Invocation", "Overhead", "work"])):
        trace = f"5759e98800000000000000000000000{number}"
        root = f"1-{trace[:8]}-{trace[8:]}"
        seen, _ = _invoke(client, "copied:1", f"Root={root};Parent=53995c3f42cd8ad8;Sampled=1")
        spans = collector.of(trace, 2 + len(phases))
        assert spans.keys() == {"2 copied", "1 copied", *(f"1 {phase}" for phase in phases)}
        assert {spans[f"1 {phase}"]["parentSpanId"] for phase in phases} == {seen["Parent"]}
        assert spans["1 copied"]["spanId"] == seen["Parent"]
        if "Restore" in phases:
            assert spans["1 copied"]["startTimeUnixNano"] == spans["1 Restore"]["startTimeUnixNano"]
            assert spans["1 Restore"]["endTimeUnixNano"] == spans["1 Invocation"]["startTimeUnixNano"]


def test_without_a_collector_the_daemons_address_takes_what_comes(tmp_path: Path) -> None:
    with socket.socket() as nobody:  # bound, so that nothing else is; not listening
        nobody.bind(("127.0.0.1", 0))
        with Service(tmp_path / "data", "--traces-endpoint", f"http://127.0.0.1:{nobody.getsockname()[1]}") as service:
            made = service.client()
            made.create_function(
                FunctionName="alone",
                Runtime="python3.11",
                Role="arn:aws:iam::000000000000:role/r",
                Handler="main.handler",
                Code={"ZipFile": zipped({"main.py": SOURCE})},
                TracingConfig={"Mode": "Active"},
            )
            made.get_waiter("function_active_v2").wait(FunctionName="alone")
            assert _invoke(made, "alone")[0]["Sampled"] == "1"
            made.close()


def test_the_trace_is_told_in_the_same_event_as_the_report(client: Any, service: Service) -> None:
    seen, _ = _invoke(client, "active", "Root=1-5759e988-000000000000000000000002;Parent=53995c3f42cd8ad8;Sampled=1")
    logs = service.client("logs")
    events = logs.filter_log_events(logGroupName="/aws/lambda/active", filterPattern='"XRAY TraceId"')["events"]
    (message,) = [event["message"] for event in events if "000000000000000000000002" in event["message"]]
    assert message.startswith("REPORT RequestId: ")
    assert message.endswith(f"\t\nXRAY TraceId: {seen['Root']}\tSegmentId: {seen['Parent']}\tSampled: true\t\n")


def test_an_error_is_told_with_what_its_function_says_it_came_from(client: Any, collector: Collector) -> None:
    client.create_function(**_function("raising", "python3.11", zipped({"main.py": RAISING})))
    client.get_waiter("function_active_v2").wait(FunctionName="raising")
    function = _traced(client, collector, "raising", "null", 5)
    (event,) = function["events"]
    told = {attribute["key"]: attribute["value"]["stringValue"] for attribute in event["attributes"]}
    assert (event["name"], event["timeUnixNano"]) == ("exception", function["endTimeUnixNano"])
    assert (told["exception.type"], told["exception.message"]) == ("ValueError", "grüße")
    assert "at handler (/var/task/main.py:6)" in told["exception.stacktrace"].splitlines()


def test_a_cause_that_is_none_or_too_large_costs_the_call_nothing(client: Any, collector: Collector) -> None:
    client.create_function(**_function("tells", "provided.al2023", package({"bootstrap": TELLS}, executable=True)))
    client.get_waiter("function_active_v2").wait(FunctionName="tells")
    assert "events" not in _traced(client, collector, "tells", "0", 5)
    assert "events" not in _traced(client, collector, "tells", "1", 4), "it is no JSON"
    assert "events" not in _traced(client, collector, "tells", str((1 << 20) + 1), 4)
    (event,) = _traced(client, collector, "tells", str(1 << 20), 4)["events"]
    assert event["attributes"] == [
        {"key": "exception.type", "value": {"stringValue": "T"}},
        {"key": "exception.message", "value": {"stringValue": "m" * 1000}},
    ]


def _function(name: str, runtime: str, code: bytes) -> dict[str, Any]:
    role, mode = "arn:aws:iam::000000000000:role/r", {"Mode": "Active"}
    made = {"FunctionName": name, "Runtime": runtime, "Role": role, "Code": {"ZipFile": code}, "TracingConfig": mode}
    return {**made, "Handler": "main.handler", "Timeout": 20, "MemorySize": 512}


def _traced(client: Any, collector: Collector, name: str, payload: str, count: int) -> dict[str, Any]:
    """The function's span of a call that fails. count: of all its spans."""
    trace = uuid4().hex
    header = f"Root=1-{trace[:8]}-{trace[8:]};Parent=53995c3f42cd8ad8;Sampled=1"

    def add(request: Any, **_: object) -> None:
        request.headers["X-Amzn-Trace-Id"] = header

    client.meta.events.register("before-sign.lambda.Invoke", add, unique_id="traced")
    try:
        assert client.invoke(FunctionName=name, Payload=payload)["FunctionError"] == "Unhandled"
    finally:
        client.meta.events.unregister("before-sign.lambda.Invoke", unique_id="traced")
    spans = collector.of(trace, count)
    assert spans[f"1 {name}"]["status"] == {"code": 2, "message": "the function returned an error"}
    return spans[f"1 {name}"]
