"""Lines that the service writes stand where they belong among the function's own, however late they are made."""

import json
import re
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any

SOURCE = """
import os, subprocess, sys, time
def handler(event, context):
    for text in event.get("say", ()):
        print(text, context.aws_request_id)
    if "child" in event:
        subprocess.run(["/bin/sh", "-c", f"echo child {context.aws_request_id}"], check=True)
    if "part" in event:
        sys.stdout.write(f"part {context.aws_request_id}")
        sys.stdout.flush()
    time.sleep(event.get("sleep", 0))
"""
EVENTS = ({}, {}, {}, {"say": ["one"]}, {}, {"say": ["one", "two"]}, {"child": True}, {"part": True})
DEADLINE = 20.0  # seconds


def streams(logs: Any, name: str) -> dict[str, list[tuple[int, str]]]:
    """Times (ms) and messages of each, in the order in which they are read."""
    found: dict[str, list[tuple[int, str]]] = {}
    pages = logs.get_paginator("filter_log_events").paginate(logGroupName=f"/aws/lambda/{name}")
    for page in pages:
        for event in page["events"]:
            found.setdefault(event["logStreamName"], []).append((event["timestamp"], event["message"]))
    return found


def test_every_call_of_many_has_its_lines_in_their_order(client: Any, logs: Any, deploy: Callable[..., str]) -> None:
    name = deploy(SOURCE)

    def call(number: int) -> tuple[str, list[str]]:
        event = EVENTS[number % len(EVENTS)]
        answer = client.invoke(FunctionName=name, Payload=json.dumps(event))
        answer["Payload"].read()
        said = [*event.get("say", ()), *(word for word in ("child", "part") if word in event)]
        return answer["ResponseMetadata"]["RequestId"], ["START", *said, "END", "REPORT"]

    with ThreadPoolExecutor(4) as callers:
        expected = dict(callers.map(call, range(400)))
    found: dict[str, list[str]] = {}
    deadline = time.monotonic() + DEADLINE
    while len(found) < len(expected) or found != expected:
        assert time.monotonic() < deadline, "all calls are in the log"
        found = {}
        for events in streams(logs, name).values():
            assert all(before <= after for (before, _), (after, _) in pairwise(events))
            ids = [re.search(r"[0-9a-f]{8}-[0-9a-f-]{27}", line) for _, line in events if "INIT_START" not in line]
            lines = [line for _, line in events if "INIT_START" not in line]
            for id, line in zip(ids, lines, strict=True):
                assert id is not None, line
                found.setdefault(id[0], []).append(line.split()[0])
            begun = [line.split()[2] for line in lines if line.startswith("START")]
            ended = [line.split()[2] for line in lines if line.startswith("END")]
            assert begun[: len(ended)] == ended, "one call after the other"


def test_a_call_that_takes_long_is_seen_to_have_begun_while_it_runs(
    client: Any, logs: Any, deploy: Callable[..., str]
) -> None:
    name = deploy(SOURCE, Timeout=60)
    client.invoke(FunctionName=name, Payload=b"{}")
    with ThreadPoolExecutor(1) as caller:
        running = caller.submit(client.invoke, FunctionName=name, Payload=b'{"sleep": 4}')
        seen: list[str] = []
        while [line.split()[0] for line in seen][-4:] != ["START", "END", "REPORT", "START"]:
            assert not running.done(), seen
            seen = [line for events in streams(logs, name).values() for _, line in events]
        assert running.result()["ResponseMetadata"]["RequestId"] in seen[-1]
