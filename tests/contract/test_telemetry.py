"""Telemetry from an environment to who subscribed inside it, over real sockets."""

import asyncio
import json
import socket
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from lamplighter.model.clock import SystemClock
from lamplighter.worker.telemetry_api import Refused, TelemetryApi
from lamplighter.worker.worker import Worker
from support.environments import invocation, version
from support.sandbox_server import story, until
from support.sandboxes import PlainSandboxes


async def connect(port: int) -> socket.socket:
    made = socket.socket()
    made.setblocking(False)
    try:
        await asyncio.get_running_loop().sock_connect(made, ("127.0.0.1", port))
    except BaseException:
        made.close()
        raise
    return made


class Destination:
    """Takes what is delivered; `answers`: statuses to give, then 200."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        self.answers: list[int] = []
        self.port = 0

    async def http(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        body = await reader.readexactly(length)
        status = self.answers.pop(0) if self.answers else 200
        if status == 200:
            self.bodies.append(body)
        writer.write(b"HTTP/1.1 %d Some\r\nContent-Length: 0\r\n\r\n" % status)
        writer.close()

    async def tcp(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            self.bodies.append(line)
        writer.close()

    @property
    def events(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        for body in self.bodies:
            told = json.loads(body)
            found += told if isinstance(told, list) else [told]
        return found


@asynccontextmanager
async def telemetry(protocol: str = "HTTP", api: str = "telemetry", **more: Any) -> AsyncGenerator[Any]:
    destination = Destination()
    server = await asyncio.start_server(destination.http if protocol == "HTTP" else destination.tcp, "127.0.0.1", 0)
    port = destination.port = server.sockets[0].getsockname()[1]
    where = {"URI": f"http://sandbox.localdomain:{port}"} if protocol == "HTTP" else {"port": port}
    asked = {
        "schemaVersion": "2022-12-13" if api == "telemetry" else "2021-03-18",
        "types": ["platform", "function", "extension"],
        "destination": {"protocol": protocol, **where},
        "buffering": {"timeoutMs": 25},
    } | more
    made = TelemetryApi(connect, SystemClock(), json=False)
    try:
        made.subscribe("watcher", "telemetry" if api == "telemetry" else "logs", json.dumps(asked).encode())
        yield made, destination
    finally:
        await made.close()
        server.close()


@pytest.mark.parametrize("protocol", ["HTTP", "TCP"])
@story
async def test_events_arrive_in_order_with_their_times(protocol: str) -> None:
    async with telemetry(protocol) as (made, destination):
        made.tap("function").record(1.5, b"one\n")
        made.tap("extension").record(2.0, b"two\n")
        made.platform(2.5, "platform.start", {"requestId": "x"})
        await until(lambda: len(destination.events) == 3, "all are there")
    assert destination.events == [
        {"time": "1970-01-01T00:00:01.500Z", "type": "function", "record": "one"},
        {"time": "1970-01-01T00:00:02.000Z", "type": "extension", "record": "two"},
        {"time": "1970-01-01T00:00:02.500Z", "type": "platform.start", "record": {"requestId": "x"}},
    ]


@story
async def test_only_what_was_subscribed_to_is_sent() -> None:
    async with telemetry(types=["extension"]) as (made, destination):
        made.tap("function").record(1.0, b"no\n")
        made.platform(1.0, "platform.start", {})
        made.tap("extension").record(1.0, b"yes\n")
        await made.finish(5)
    assert [event["record"] for event in destination.events] == ["yes"]


@story
async def test_what_a_destination_refuses_is_sent_again() -> None:
    async with telemetry() as (made, destination):
        destination.answers = [500, 503]
        made.tap("function").record(1.0, b"stubborn\n")
        await until(lambda: destination.bodies, "it was taken")
    assert [event["record"] for event in destination.events] == ["stubborn"]


@story
async def test_who_does_not_keep_up_loses_the_oldest_and_is_told_how_many() -> None:
    async with telemetry(buffering={"timeoutMs": 30_000}) as (made, destination):
        line = b"x" * 1000 + b"\n"
        for _ in range(1000):
            made.tap("function").record(1.0, line)
        await made.finish(5)
    told = destination.events
    lost = [event["record"] for event in told if event["type"] == "platform.logsDropped"]
    kept = [event for event in told if event["type"] == "function"]
    assert sum(record["droppedRecords"] for record in lost) + len(kept) == 1000
    assert max(map(len, destination.bodies)) < 300_000


@story
async def test_a_flood_of_short_lines_costs_no_more_than_could_be_kept() -> None:
    async with telemetry(buffering={"timeoutMs": 30_000, "maxBytes": 262_144}) as (made, destination):
        made.tap("function").lines(1.0, b"old\n" * 60_000 + b"new\n" * 1000)
        await made.finish(5)
    lost, *kept = destination.events
    assert lost["type"] == "platform.logsDropped"
    assert lost["record"]["droppedRecords"] + len(kept) == 61_000
    assert [event["record"] for event in kept[-1000:]] == ["new"] * 1000


@story
async def test_the_logs_api_has_events_of_its_own_shape() -> None:
    async with telemetry(api="logs") as (made, destination):
        made.platform(1.0, "platform.initStart", {"phase": "init"})
        made.platform(1.0, "platform.start", {"requestId": "r", "version": "1", "tracing": {}})
        made.platform(1.0, "platform.report", {"requestId": "r", "metrics": {"durationMs": 1}, "status": "success"})
        await made.finish(5)
    assert [(event["type"], event["record"]) for event in destination.events] == [
        ("platform.start", {"requestId": "r", "version": "1"}),
        ("platform.end", {"requestId": "r"}),
        ("platform.report", {"requestId": "r", "metrics": {"durationMs": 1}}),
    ]


@story
async def test_neither_the_other_api_nor_a_late_subscription_is_taken() -> None:
    async with telemetry() as (made, _):
        with pytest.raises(Refused) as refused:
            made.subscribe("other", "logs", b"{}")
        assert refused.value.status == 403
        made.open = False
        with pytest.raises(Refused) as refused:
            made.subscribe("other", "telemetry", b"{}")
        assert (refused.value.status, refused.value.error_type) == (403, "Telemetry.SubscriptionClosed")


SUBSCRIBER = """
import http.server, json, os, threading, time, urllib.error, urllib.request
events = []
class Take(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        events.extend(json.loads(self.rfile.read(int(self.headers["content-length"]))))
        self.send_response(200)
        self.end_headers()
    def log_message(self, *_):
        pass
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Take)
threading.Thread(target=server.serve_forever, daemon=True).start()
def subscribe():
    asked = {"schemaVersion": "2025-01-29", "types": ["platform", "function"], "buffering": {"timeoutMs": 25},
             "destination": {"protocol": "HTTP", "URI": f"http://sandbox.localdomain:{server.server_port}"}}
    url = f"http://{os.environ['AWS_LAMBDA_RUNTIME_API']}/2022-07-01/telemetry"
    head = {"Lambda-Extension-Identifier": identifier}
    with urllib.request.urlopen(urllib.request.Request(url, json.dumps(asked).encode(), head, method="PUT")) as reply:
        return reply.status, reply.read().decode()
def call(path, body, **head):
    url = f"http://{os.environ['AWS_LAMBDA_RUNTIME_API']}/2020-01-01/extension/{path}"
    head = {name.replace("_", "-"): value for name, value in head.items()}
    return urllib.request.urlopen(urllib.request.Request(url, body, head))
def follow():
    while True:
        call("event/next", None, lambda_extension_identifier=identifier).read()
reply = call("register", b'{"events": ["INVOKE"]}', lambda_extension_name="watcher")
identifier = reply.headers["Lambda-Extension-Identifier"]
subscribed = subscribe()
threading.Thread(target=follow, daemon=True).start()
def talk(event, context):
    print("said", event)
def collected(event, context):
    while not any(told["type"] == "platform.report" for told in events):
        time.sleep(0.01)
    try:
        late = subscribe()
    except urllib.error.HTTPError as error:
        late = json.load(error)["errorType"]
    return [subscribed, events, late]
def handler(event, context):
    return talk(event, context) if event == 1 else collected(event, context)
"""


@story
async def test_an_environment_tells_its_subscriber_of_everything(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(SUBSCRIBER)
    worker = Worker(PlainSandboxes(tmp_path), SystemClock())
    environment = await worker.start(version(handler="app.handler", timeout=30))
    try:
        await environment.run(invocation(b"1"))
        await until(lambda: not environment.busy, "the phase is over")
        outcome = await environment.run(invocation(b"2"))
    finally:
        await environment.end()
    subscribed, events, late = json.loads(outcome.payload)
    assert subscribed == [200, '"OK"']
    assert late == "Telemetry.SubscriptionClosed"
    assert [event["type"] for event in events][:9] == [
        "platform.initStart",
        "platform.telemetrySubscription",
        "platform.extension",
        "platform.initRuntimeDone",
        "platform.initReport",
        "platform.start",
        "function",
        "platform.runtimeDone",
        "platform.report",
    ]
    assert events[1]["record"] == {"name": "watcher", "state": "Subscribed", "types": ["platform", "function"]}
    assert events[2]["record"] == {"name": "watcher", "state": "Ready", "events": ["INVOKE"]}
    assert events[6]["record"] == "said 1"
