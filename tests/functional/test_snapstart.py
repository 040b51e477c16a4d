"""SnapStart as its users meet it: publish, wait, call (AWS: spec 8)."""

import base64
import json
import math
import platform
import re
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from lamplighter.cli.owner import Owner, elsewhere
from lamplighter.runtimes.catalogue import installed
from support.functions import deploy_with
from support.service import Service

pytestmark = pytest.mark.skipif(platform.machine() != "x86_64", reason="copies are made on x86_64 only")

_HANDLER = """
import os, random, time, uuid
import snapshot_restore_py

marker, order = uuid.uuid4().hex, []
print("initialised", marker)
snapshot_restore_py.register_before_snapshot(order.append, "before, first")
snapshot_restore_py.register_before_snapshot(order.append, "before, second")
snapshot_restore_py.register_after_restore(order.append, "after, first")
snapshot_restore_py.register_after_restore(order.append, "after, second")
own = open(__file__)
own.read(7)
open("/tmp/made", "w").close()
os.environ["OF_THE_INIT"] = "1"

def handler(event, context):
    time.sleep(event.get("seconds", 0))
    return {
        "marker": marker, "order": order, "random": random.random(), "position": own.tell(), "tmp": os.listdir("/tmp"),
        "kind": os.environ["AWS_LAMBDA_INITIALIZATION_TYPE"], "key": os.environ["AWS_ACCESS_KEY_ID"],
        "stream": context.log_stream_name, "init": os.environ["OF_THE_INIT"],
    }
"""


@pytest.fixture(scope="module")
def runtime() -> str:
    here = installed()
    for name in ("python3.12", "python3.13", "python3.14"):
        if name in here:
            return name
    pytest.skip("no Python 3.12 or later here, as SnapStart needs it")


def publish(client: Any, name: str) -> dict[str, Any]:
    """The version's configuration once it is Pending no more."""
    version = client.publish_version(FunctionName=name)
    assert (version["State"], version["StateReasonCode"]) == ("Pending", "Creating")
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        found = client.get_function_configuration(FunctionName=name, Qualifier=version["Version"])
        if found["State"] != "Pending":
            return found
        time.sleep(0.05)
    raise AssertionError("still Pending")


def call(client: Any, name: str, event: dict[str, Any] | None = None) -> tuple[Any, str]:
    """The answer of version 1, and the end of its log."""
    answered = client.invoke(FunctionName=name, Qualifier="1", LogType="Tail", Payload=json.dumps(event or {}).encode())
    return json.loads(answered["Payload"].read()), base64.b64decode(answered["LogResult"]).decode()


def logged(service: Service, name: str, ends_with: str, without: str = "-") -> list[str]:
    """The lines of the stream of a function's log whose last line begins like this, once it is there."""
    logs, group = service.client("logs"), f"/aws/lambda/{name}"
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        pages = logs.get_paginator("filter_log_events").paginate(logGroupName=group)
        streams: dict[str, list[str]] = {}
        for event in (event for page in pages for event in page["events"]):
            streams.setdefault(event["logStreamName"], []).append(event["message"].rstrip("\n"))
        for lines in streams.values():
            if lines[-1].startswith(ends_with) and without not in lines:
                return lines
        time.sleep(0.1)
    raise AssertionError(f"no {ends_with}")


def shaped(lines: list[str], *patterns: str) -> bool:
    return len(lines) == len(patterns) and all(map(re.fullmatch, patterns, lines))


@pytest.fixture
def snapped(deploy: Callable[..., str], runtime: str) -> Callable[[str], str]:
    """A function with SnapStart, of this source."""
    return lambda source: deploy(
        source, Runtime=runtime, SnapStart={"ApplyOn": "PublishedVersions"}, Timeout=20, MemorySize=256
    )


def test_a_version_is_initialized_once_and_copied(service: Service, client: Any, snapped: Callable[[str], str]) -> None:
    name = snapped(_HANDLER)
    published = publish(client, name)
    assert published["State"] == "Active"
    assert published["SnapStart"] == {"ApplyOn": "PublishedVersions", "OptimizationStatus": "On"}
    first, log = call(client, name)
    assert first["order"] == ["before, second", "before, first", "after, first", "after, second"]
    assert (first["kind"], first["position"], first["tmp"], first["init"]) == ("snap-start", 7, ["made"], "1")
    report = re.search(
        r"\tDuration: ([\d.]+) ms\tBilled Duration: (\d+) ms\t.*\tRestore Duration: [\d.]+ ms\t"
        r"Billed Restore Duration: (\d+) ms",
        log,
    )
    assert report is not None
    assert int(report[2]) in (math.ceil(float(report[1])) + int(report[3]) + more for more in (0, 1))  # 1: rounded away
    assert "Init Duration" not in log
    again, log = call(client, name)
    assert again["stream"] == first["stream"]
    assert "Restore" not in log
    with ThreadPoolExecutor(4) as callers:
        calls = [callers.submit(call, client, name, {"seconds": 2}) for _ in range(4)]
    answers = [made.result()[0] for made in calls]
    assert {answer["marker"] for answer in answers} == {first["marker"]}
    there = elsewhere({}, service.environment())
    assert there is not None
    metered = Owner(there).page(f"/_lamplighter/usage?month={datetime.now(UTC):%Y-%m}")
    (row,) = (row for row in metered["rows"] if row[2] == name)
    used = dict(zip(metered["names"], row, strict=True))
    assert used["requests"] == 6
    assert used["restored_memory"] == 256 * used["restores"] and used["restores"] >= 4  # the first and three more
    assert used["cached"] == 3 * 3600 * 1000 and used["cached_memory"] == 256 * used["cached"]
    assert used["unnamed"] > 0  # the init at publication
    for different in ("random", "key", "stream"):
        assert len({answer[different] for answer in answers}) == 4, different


def test_twenty_first_calls_at_once_have_a_copy_each(
    service: Service, client: Any, snapped: Callable[[str], str]
) -> None:
    name = snapped(_HANDLER)
    publish(client, name)
    with closing(service.client(max_pool_connections=20)) as many, ThreadPoolExecutor(20) as callers:
        answers = [answer for answer, _ in callers.map(lambda _: call(many, name, {"seconds": 2}), range(20))]
    assert {(answer["kind"], answer["init"]) for answer in answers} == {("snap-start", "1")}
    assert len({answer["marker"] for answer in answers}) == 1
    for different in ("random", "key", "stream"):
        assert len({answer[different] for answer in answers}) == 20, different


def test_what_cannot_be_copied_says_off_and_runs(client: Any, snapped: Callable[[str], str]) -> None:
    source = """
import os, threading, time
threading.Thread(target=time.sleep, args=(1000,), daemon=True).start()
def handler(event, context):
    return os.environ["AWS_LAMBDA_INITIALIZATION_TYPE"]
"""
    name = snapped(source)
    published = publish(client, name)
    assert (published["State"], published["SnapStart"]["OptimizationStatus"]) == ("Active", "Off")
    answer, log = call(client, name)
    assert answer == "on-demand"
    assert "Init Duration" in log


def test_the_log_of_the_init_and_that_of_a_copy_are_as_on_aws(
    service: Service, client: Any, snapped: Callable[[str], str]
) -> None:
    name = snapped("print('in the init')\ndef handler(event, context):\n    print('in a call')")
    publish(client, name)
    call(client, name)
    begin = r"Runtime Version: \S+\tRuntime Version ARN: \S+"
    report = r"INIT_REPORT Init Duration: \d+\.\d\d ms"
    assert shaped(logged(service, name, "INIT_REPORT"), f"INIT_START {begin}", "in the init", report)
    found = logged(service, name, "REPORT")
    assert shaped(
        found,
        f"RESTORE_START {begin}",
        r"RESTORE_REPORT Restore Duration: \d+\.\d\d ms",
        r"START RequestId: \S+ Version: 1",
        "in a call",
        r"END RequestId: \S+",
        r"REPORT RequestId: \S+\tDuration: \S+ ms\tBilled Duration: \d+ ms\tMemory Size: 256 MB\t"
        r"(Max Memory Used: \d+ MB\t)?Restore Duration: \d+\.\d\d ms\tBilled Restore Duration: \d+ ms\t?",
    ), found


def test_an_event_loop_that_the_init_made_runs_in_each_copy(client: Any, snapped: Callable[[str], str]) -> None:
    source = """
import asyncio, concurrent.futures, os
loop, other = asyncio.new_event_loop(), asyncio.new_event_loop()
asyncio.set_event_loop(loop)
ready = loop.create_task(asyncio.sleep(0, "of the init"))
own = open(__file__)

async def work(number):
    server = await asyncio.start_server(lambda reader, writer: writer.close(), "127.0.0.1", 8080)
    reader, writer = await asyncio.open_connection("127.0.0.1", 8080)
    with concurrent.futures.ThreadPoolExecutor() as pool:
        in_thread = await asyncio.get_running_loop().run_in_executor(pool, os.getpid)
    left = await reader.read()
    server.close()
    return [number, await ready, in_thread == os.getpid(), left.decode(), own.readline()]

def handler(event, context):
    own.seek(0)
    return [loop.run_until_complete(work(event["number"])), other.run_until_complete(asyncio.sleep(0, "other"))]
"""
    name = snapped(source)
    published = publish(client, name)
    assert published["SnapStart"]["OptimizationStatus"] == "On"
    with ThreadPoolExecutor(2) as callers:
        calls = [callers.submit(call, client, name, {"number": number}) for number in range(2)]
    for number, made in enumerate(calls):
        assert made.result()[0] == [[number, "of the init", True, "", "\n"], "other"]
    assert call(client, name, {"number": 3})[0][0][0] == 3  # and once more in the same


def test_an_event_loop_that_watches_something_else_is_not_copied(client: Any, snapped: Callable[[str], str]) -> None:
    source = """
import asyncio, os
loop = asyncio.new_event_loop()
loop.add_reader(os.pipe()[0], print)
def handler(event, context):
    return loop.run_until_complete(asyncio.sleep(0, os.environ["AWS_LAMBDA_INITIALIZATION_TYPE"]))
"""
    name = snapped(source)
    assert publish(client, name)["SnapStart"]["OptimizationStatus"] == "Off"
    assert call(client, name)[0] == "on-demand"


def test_an_init_that_fails_fails_the_version(client: Any, snapped: Callable[[str], str]) -> None:
    published = publish(client, snapped("raise ValueError('not today')"))
    assert (published["State"], published["StateReasonCode"]) == ("Failed", "FunctionError.RuntimeInitError")
    assert "not today" in published["StateReason"]


def test_a_hook_before_the_snapshot_that_fails_fails_the_version(
    service: Service, client: Any, snapped: Callable[[str], str]
) -> None:
    source = """
import snapshot_restore_py
snapshot_restore_py.register_before_snapshot(lambda: 1 / 0)
def handler(event, context):
    return 1
"""
    name = snapped(source)
    published = publish(client, name)
    assert (published["State"], published["StateReasonCode"]) == ("Failed", "FunctionError.RuntimeInitError")
    assert "ZeroDivisionError: division by zero" in published["StateReason"]
    lines = logged(service, name, "INIT_REPORT")
    assert lines[1].startswith("[ERROR] ZeroDivisionError: division by zero\nTraceback (most recent call last):\n")
    failed = r"INIT_REPORT Init Duration: \d+\.\d\d ms\tPhase: init\tStatus: error\t"
    assert re.fullmatch(failed + "Error Type: Runtime.BeforeSnapshotError", lines[2])
    with pytest.raises(ClientError) as refused:
        call(client, name)
    assert refused.value.response["Error"] == {
        "Code": "ResourceConflictException",
        "Message": "The operation cannot be performed at this time. "
        "The function is currently in the following state: Failed",
    }


def test_a_hook_that_fails_is_told_to_the_caller(service: Service, client: Any, snapped: Callable[[str], str]) -> None:
    source = """
import snapshot_restore_py
snapshot_restore_py.register_after_restore(lambda: 1 / 0)
def handler(event, context):
    return 1
"""
    name = snapped(source)
    assert publish(client, name)["State"] == "Active"
    with pytest.raises(ClientError) as refused:
        call(client, name)
    told = refused.value.response
    assert told["Error"]["Code"] == "SnapStartException"  # pyright: ignore
    assert told["Error"]["Message"].startswith("The afterRestore() runtime hook encountered an error.")  # pyright: ignore
    assert told["ResponseMetadata"]["HTTPStatusCode"] == 400
    lines = logged(service, name, "RESTORE_REPORT")
    assert lines[0].startswith("RESTORE_START Runtime Version: ")
    assert lines[1].startswith("[ERROR] ZeroDivisionError: division by zero\nTraceback (most recent call last):\n")
    failed = r"RESTORE_REPORT Restore Duration: \d+\.\d\d ms\tStatus: error\tError Type: Runtime.AfterRestoreError"
    assert re.fullmatch(failed, lines[2])


def test_after_a_restart_a_version_is_initialized_again_before_it_is_called(data_dir: Path, runtime: str) -> None:
    with Service(data_dir) as service:
        client = service.client()
        name = deploy_with(client, _HANDLER, Runtime=runtime, SnapStart={"ApplyOn": "PublishedVersions"})
        publish(client, name)
        before, _ = call(client, name)
    with Service(data_dir) as service:
        again = logged(service, name, "INIT_REPORT", without=f"initialised {before['marker']}")
        after, log = call(service.client(), name)
    assert f"initialised {after['marker']}" in again
    assert (after["kind"], after["order"]) == (before["kind"], before["order"])
    assert after["marker"] != before["marker"]
    assert "Restore Duration" in log


@pytest.mark.parametrize(("isolation", "status"), [("user", "On"), ("none", "Off")])
def test_a_version_says_on_in_every_isolation_only_if_it_is(
    data_dir: Path, runtime: str, isolation: str, status: str
) -> None:
    with Service(data_dir, "--isolation", isolation) as service:
        client = service.client()
        name = deploy_with(client, _HANDLER, Runtime=runtime, SnapStart={"ApplyOn": "PublishedVersions"})
        assert publish(client, name)["SnapStart"]["OptimizationStatus"] == status
        answer, log = call(client, name)
    assert answer["kind"] == ("snap-start" if status == "On" else "on-demand")
    assert ("Restore Duration" in log) == (status == "On")
