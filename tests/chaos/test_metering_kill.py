"""kill -9 of a real service, and what its log says ran: the bill has each REPORT that it was given time for, once."""

import json
import re
import time
from collections import Counter
from pathlib import Path
from typing import Any

from lamplighter.store.usage import usage_between
from support.functions import deploy_with
from support.service import Service

SOURCE = """
import time
def handler(event, context):
    time.sleep(event["seconds"])
    if event["seconds"] > 0.01:
        raise ValueError("slow")
"""
REPORT = re.compile(r"REPORT RequestId: (?P<id>\S+)\tDuration: [\d.]+ ms\tBilled Duration: (?P<billed>\d+) ms\tMemory")
DEADLINE = 30.0


def bill(data: Path, name: str) -> Counter[str]:
    """Requests and billed milliseconds of the function."""
    found = Counter[str]()
    for key, totals in usage_between(data / "usage.db", 0, 1 << 40):
        if key.function == name:
            found += Counter(requests=totals.requests, billed=totals.billed)
    return found


def until_billed(data: Path, name: str, requests: int) -> None:
    deadline = time.monotonic() + DEADLINE
    while bill(data, name)["requests"] < requests:
        assert time.monotonic() < deadline
        time.sleep(0.02)


def reports(service: Service, name: str) -> Counter[str]:
    """What the REPORT lines say, all of them."""
    logs = service.client("logs")
    try:
        pages = logs.get_paginator("filter_log_events").paginate(logGroupName=f"/aws/lambda/{name}")
        texts = [event["message"] for page in pages for event in page["events"]]
    finally:
        logs.close()
    found = [match for text in texts if (match := REPORT.match(text))]
    assert len({match["id"] for match in found}) == len(found)
    return Counter(requests=len(found), billed=sum(int(match["billed"]) for match in found))


def call(client: Any, name: str, times: int) -> None:
    for number in range(times):
        client.invoke(FunctionName=name, Payload=json.dumps({"seconds": number % 5 / 250}))


def test_the_bill_is_what_the_reports_say_through_kills_and_an_orderly_end(tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    called = 0
    name = ""
    for _ in range(2):
        with Service(data_dir) as service:
            client = service.client()
            name = name or deploy_with(client, SOURCE)
            call(client, name, 20)
            called += 20
            until_billed(data_dir, name, called)
            said = reports(service, name)
            client.close()
            service.kill()
        assert bill(data_dir, name) == said
    with Service(data_dir) as service:
        client = service.client()
        call(client, name, 20)
        said = reports(service, name)
        client.delete_function(FunctionName=name)
        client.close()
        assert service.stop() == 0
    assert said["requests"] == called + 20
    assert bill(data_dir, name) == said
    with Service(data_dir, "--metering", "off") as service:
        client = service.client()
        name = deploy_with(client, SOURCE)
        call(client, name, 1)
        client.close()
    assert bill(data_dir, name) == Counter()
