"""What CloudWatch and the bill say is what happened: a walk of calls of every kind, whose ends are known, and kills."""

import json
import random
import re
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from lamplighter.store.usage import usage_between
from support.functions import deploy_with
from support.no_queues import serving_no_queues
from support.service import Service

SOURCE = """
import os, time
def handler(event, context):
    time.sleep(event.get("seconds", 0))
    if event.get("fail"):
        raise ValueError("asked for")
    if event.get("crash"):
        os._exit(1)
"""
REPORT = re.compile(r"REPORT RequestId: (?P<id>\S+)\tDuration: [\d.]+ ms\tBilled Duration: (?P<billed>\d+) ms\tMemory")
QUEUE = "arn:aws:sqs:us-east-1:000000000000:nowhere"
KINDS = ("ok", "fail", "alias", "event", "failing event", "throttle", "burst", "fail", "ok", "alias", "crash", "slow")


@pytest.fixture(scope="module")
def sqs() -> Iterator[str]:
    with serving_no_queues() as url:
        yield url


class Walk:
    """Calls of one function, and what they are to be counted as."""

    def __init__(self, service: Service) -> None:
        self.reach(service)
        self.counts = Counter[str]()
        self.by_alias = Counter[str]()
        self.peak = 0
        self.name = deploy_with(
            self.client, SOURCE, Timeout=1, Publish=True, DeadLetterConfig={"TargetArn": QUEUE}, MemorySize=256
        )
        self.client.create_alias(FunctionName=self.name, Name="live", FunctionVersion="1")
        self.client.put_function_event_invoke_config(
            FunctionName=self.name,
            MaximumRetryAttempts=0,
            DestinationConfig={"OnFailure": {"Destination": QUEUE}},
        )

    def reach(self, service: Service) -> None:
        self.client, self.metrics = service.client(), service.client("cloudwatch")

    def close(self) -> None:
        self.client.close()
        self.metrics.close()

    def call(self, event: Mapping[str, Any], **members: Any) -> None:
        self.client.invoke(FunctionName=self.name, Payload=json.dumps(event), **members)

    def step(self, kind: str) -> None:
        ran, failed = 1, kind in ("fail", "crash", "slow", "failing event")
        match kind:
            case "ok" | "fail" | "crash":
                self.call({kind: True})
            case "slow":
                self.call({"seconds": 5})
            case "alias":
                self.call({}, Qualifier="live")
                self.by_alias["Invocations"] += 1
            case "event" | "failing event":
                self.call({"fail": failed}, InvocationType="Event")
                self.counts.update(AsyncEventsReceived=1, AsyncEventAge=1)
                if failed:
                    self.counts.update(AsyncEventsDropped=1, DeadLetterErrors=1, DestinationDeliveryFailures=1)
            case "throttle":
                self.client.put_function_concurrency(FunctionName=self.name, ReservedConcurrentExecutions=0)
                with pytest.raises(ClientError, match=r"ReservedFunctionConcurrentInvocationLimitExceeded|Rate"):
                    self.call({})
                self.client.delete_function_concurrency(FunctionName=self.name)
                self.counts["Throttles"] += 1
                ran = 0
            case _:
                self.quiet()
                ran = 3
                with ThreadPoolExecutor(ran) as pool:
                    list(pool.map(self.call, [{"seconds": 0.5}] * ran))
                self.peak = ran
        self.counts.update(Invocations=ran, Errors=int(failed))
        self.peak = max(self.peak, ran)

    def quiet(self) -> None:
        """Events have come to their ends."""
        until(lambda: self.told("Invocations") == self.counts["Invocations"])

    def told(self, name: str, statistic: str = "Sum", **dimensions: str) -> float:
        return told(self.metrics, name, statistic, FunctionName=self.name, **dimensions)


def told(metrics: Any, name: str, statistic: str = "Sum", **dimensions: str) -> float:
    now = datetime.now(UTC)
    found = metrics.get_metric_statistics(
        Namespace="AWS/Lambda",
        MetricName=name,
        Dimensions=[{"Name": key, "Value": value} for key, value in dimensions.items()],
        StartTime=now - timedelta(minutes=30),
        EndTime=now + timedelta(minutes=1),
        Period=86_400,
        Statistics=[statistic],
    )["Datapoints"]
    values = [each[statistic] for each in found]
    return max(values, default=0) if statistic == "Maximum" else sum(values)


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def billed(data_dir: Path, name: str) -> Counter[str]:
    found = Counter[str]()
    for key, totals in usage_between(data_dir / "usage.db", 0, 1 << 40):
        if key.function == name:
            found.update(requests=totals.requests, billed=totals.billed)
    return found


def reported(service: Service, name: str) -> Counter[str]:
    with closing(service.client("logs")) as logs:
        pages = logs.get_paginator("filter_log_events").paginate(logGroupName=f"/aws/lambda/{name}")
        found = [match for page in pages for event in page["events"] if (match := REPORT.match(event["message"]))]
    assert len({match["id"] for match in found}) == len(found)
    return Counter(requests=len(found), billed=sum(int(match["billed"]) for match in found))


def check(walk: Walk) -> None:
    """Everything that is counted, once it all had its time."""
    walk.quiet()
    for name, count in walk.counts.items():
        statistic = "SampleCount" if name == "AsyncEventAge" else "Sum"
        until(lambda name=name, count=count, statistic=statistic: walk.told(name, statistic) >= count)
        assert walk.told(name, statistic) == count, name
    live = f"{walk.name}:live"
    assert walk.told("Invocations", Resource=live) == walk.by_alias["Invocations"]
    assert walk.told("Invocations", Resource=live, ExecutedVersion="1") == 0  # it chooses between no versions
    assert walk.told("ConcurrentExecutions", "Maximum") == walk.peak
    assert walk.told("ConcurrentExecutions", "Maximum", Resource=live) == 1


def test_counts_and_bill_agree_with_any_calls_and_nothing_counts_twice_after_kills(tmp_path: Path, sqs: str) -> None:
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")  # shown if it fails
    chance, data_dir = random.Random(seed), tmp_path / "data"
    with Service(data_dir, "--sqs-endpoint", sqs) as service:
        walk = Walk(service)
        for kind in chance.sample(KINDS, len(KINDS)):
            walk.step(kind)
        check(walk)
        assert told(walk.metrics, "UnreservedConcurrentExecutions", "Maximum") == walk.peak
        until(lambda: billed(data_dir, walk.name)["requests"] == walk.counts["Invocations"])
        until(lambda: reported(service, walk.name) == billed(data_dir, walk.name))
        walk.close()
        service.kill()
    with Service(data_dir, "--sqs-endpoint", sqs) as service:
        walk.reach(service)
        for kind in chance.choices(KINDS[:6], k=4):
            walk.step(kind)
        check(walk)
        for _ in range(20):
            walk.step("ok")
        walk.close()
        service.kill()  # in the midst of whatever is being written
    with Service(data_dir) as service:
        walk.reach(service)
        counted = walk.told("Invocations")
        walk.close()
        assert walk.counts["Invocations"] - 20 <= counted <= walk.counts["Invocations"]
        assert billed(data_dir, walk.name)["requests"] <= walk.counts["Invocations"]


def test_routed_aliases_and_unsigned_packages_are_told(service: Service, client: Any) -> None:
    signed = client.create_code_signing_config(
        AllowedPublishers={
            "SigningProfileVersionArns": ["arn:aws:signer:us-east-1:000000000000:/signing-profiles/p/0123456789"]
        }
    )["CodeSigningConfig"]["CodeSigningConfigArn"]
    name = deploy_with(client, SOURCE, Publish=True, CodeSigningConfigArn=signed)
    client.update_function_configuration(FunctionName=name, Description="two")
    client.get_waiter("function_updated_v2").wait(FunctionName=name)
    second = client.publish_version(FunctionName=name)["Version"]
    routing = {"AdditionalVersionWeights": {second: 0.5}}
    client.create_alias(FunctionName=name, Name="live", FunctionVersion="1", RoutingConfig=routing)
    try:
        for _ in range(6):
            client.invoke(FunctionName=name, Qualifier="live", LogType="Tail")  # told when its phase is over
        of = {"FunctionName": name, "Resource": f"{name}:live"}
        with closing(service.client("cloudwatch")) as metrics:
            by_version = [told(metrics, "Invocations", ExecutedVersion=each, **of) for each in ("1", second)]
            assert sum(by_version) == told(metrics, "Invocations", **of) == 6
            assert told(metrics, "SignatureValidationErrors", FunctionName=name) == 1
    finally:
        client.delete_function(FunctionName=name)
        with suppress(ClientError):
            client.delete_code_signing_config(CodeSigningConfigArn=signed)
