"""Metrics of a running service as tools see them: boto3, the AWS CLI, and what functions embed in their logs."""

import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from botocore.model import ServiceModel

from support.service import Service

SOURCE = """
import json
def handler(event, context):
    if event.get("fail"):
        raise ValueError("no")
    print(json.dumps({"_aws": {"CloudWatchMetrics": [{"Namespace": "shop", "Dimensions": [["kind"]],
        "Metrics": [{"Name": "orders", "Unit": "Count"}]}]}, "kind": "book", "orders": [1, 2, 3]}))
"""


@pytest.fixture
def metrics(service: Service) -> Iterator[Any]:
    made = service.client("cloudwatch")
    yield made
    made.close()


def total(metrics: Any, name: str, dimensions: Mapping[str, str], namespace: str = "AWS/Lambda") -> float:
    now = datetime.now(UTC)
    found = metrics.get_metric_statistics(
        Namespace=namespace,
        MetricName=name,
        Dimensions=[{"Name": key, "Value": value} for key, value in dimensions.items()],
        StartTime=now - timedelta(minutes=30),
        EndTime=now + timedelta(minutes=1),
        Period=3600,
        Statistics=["Sum"],
    )
    return sum(each["Sum"] for each in found["Datapoints"])


def test_what_ran_failed_and_was_embedded_is_counted(client: Any, metrics: Any, deploy: Callable[..., str]) -> None:
    name = deploy(SOURCE)
    for event in ({}, {}, {"fail": True}):
        client.invoke(LogType="Tail", FunctionName=name, Payload=json.dumps(event))
    client.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=0)
    with pytest.raises(ClientError):
        client.invoke(LogType="Tail", FunctionName=name)
    of = {"FunctionName": name}
    assert [total(metrics, each, of) for each in ("Invocations", "Errors")] == [3, 1]
    assert total(metrics, "Throttles", of) >= 1  # the SDK tries again
    deadline = time.monotonic() + 20
    while (orders := total(metrics, "orders", {"kind": "book"}, "shop")) < 12 and time.monotonic() < deadline:
        pass
    assert orders == 12
    listed = metrics.list_metrics(Dimensions=[{"Name": "FunctionName", "Value": name}])["Metrics"]
    assert {"Invocations", "Errors", "Duration", "Throttles", "ConcurrentExecutions"} <= {
        each["MetricName"] for each in listed
    }


def test_metric_math_and_percentiles(metrics: Any) -> None:
    now = datetime.now(UTC)
    data = [{"MetricName": "m", "Values": [1.0, 2.0, 3.0, 4.0], "Counts": [1, 1, 1, 7], "Unit": "Seconds"}]
    data += [{"MetricName": f"filler{number}", "Value": 1.0, "Unit": "Count"} for number in range(300)]  # sent as gzip
    metrics.put_metric_data(Namespace="own", MetricData=data)
    stat = {"Metric": {"Namespace": "own", "MetricName": "m"}, "Period": 3600}
    found = metrics.get_metric_data(
        StartTime=now - timedelta(minutes=5),
        EndTime=now + timedelta(minutes=5),
        MetricDataQueries=[
            {"Id": "s", "MetricStat": {**stat, "Stat": "Sum"}, "ReturnData": False},
            {"Id": "n", "MetricStat": {**stat, "Stat": "SampleCount"}, "ReturnData": False},
            {"Id": "p", "MetricStat": {**stat, "Stat": "p20"}},
            {"Id": "e", "Expression": "(s / n) * 100 - 1", "Label": "share"},
        ],
    )["MetricDataResults"]
    assert [(each["Id"], each["Values"]) for each in found] == [("p", [2.0]), ("e", [339.0])]
    assert found[1]["Label"] == "share"


@pytest.mark.parametrize("protocol", ["query", "smithy-rpc-v2-cbor", "json"])
def test_every_protocol_that_sdks_speak_is_understood(
    service: Service, protocol: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ServiceModel, "resolved_protocol", protocol)
    now, namespace = datetime.now(UTC), f"spoken-{protocol}"
    with closing(service.client("cloudwatch")) as metrics:
        assert metrics.meta.service_model.resolved_protocol == protocol
        values: dict[str, Any] = {"Values": [1.0, 2.5], "Counts": [3.0, 1.0], "Unit": "Seconds", "Timestamp": now}
        data = [
            {"MetricName": f"m{number:04}", "Dimensions": [{"Name": "a", "Value": "b&<"}], **values}
            for number in range(501)
        ]
        metrics.put_metric_data(Namespace=namespace, MetricData=data)  # large enough to be sent as gzip
        pages = metrics.get_paginator("list_metrics").paginate(Namespace=namespace)
        assert [len(page["Metrics"]) for page in pages] == [500, 1]
        found = metrics.get_metric_statistics(
            Namespace=namespace,
            MetricName="m0007",
            Dimensions=[{"Name": "a", "Value": "b&<"}],
            StartTime=now - timedelta(minutes=5),
            EndTime=now + timedelta(minutes=5),
            Period=86_400,
            ExtendedStatistics=["p50", "p100"],
        )["Datapoints"]
        assert [(each["Unit"], each["ExtendedStatistics"]) for each in found] == [
            ("Seconds", {"p50": 1.0, "p100": 2.5})
        ]
        assert found[0]["Timestamp"].tzinfo is not None
        with pytest.raises(ClientError, match="StartTime must be less than the parameter EndTime") as refused:
            metrics.get_metric_data(MetricDataQueries=[], StartTime=now, EndTime=now)
        assert refused.value.response["Error"]["Code"] == "ValidationError"
        for wrong, code in (
            ({"MetricName": "m"}, "InvalidParameterCombination"),
            *([({"MetricName": "m", "Value": math.nan}, "InvalidParameterValue")] if "cbor" in protocol else []),
            ({"MetricName": "é" * 300, "Value": 1.0}, "InvalidParameterValue"),
            ({"MetricName": "m", "Values": [1.0], "Counts": [0.0]}, "InvalidParameterValue"),
        ):
            with pytest.raises(ClientError) as refused:
                metrics.put_metric_data(Namespace=namespace, MetricData=[wrong])
            assert refused.value.response["Error"]["Code"] == code


def test_refusals_have_the_codes_that_sdks_know(metrics: Any) -> None:
    now = datetime.now(UTC)
    with pytest.raises(ClientError) as refused:
        metrics.get_metric_statistics(
            Namespace="n", MetricName="m", StartTime=now, EndTime=now, Period=60, Statistics=["Sum"]
        )
    assert refused.value.response["Error"]["Code"] == "InvalidParameterValue"
    with pytest.raises(ClientError) as refused:
        metrics.put_metric_data(
            Namespace="n",
            MetricData=[
                {
                    "MetricName": "m",
                    "Value": 1.0,
                    "StatisticValues": dict.fromkeys(("SampleCount", "Sum", "Minimum", "Maximum"), 1.0),
                }
            ],
        )
    assert refused.value.response["Error"]["Code"] == "InvalidParameterCombination"


def test_the_aws_cli_reads_what_a_restarted_service_has_kept(data_dir: Path) -> None:
    with Service(data_dir) as first:
        client = first.client("cloudwatch")
        client.put_metric_data(Namespace="kept", MetricData=[{"MetricName": "m", "Value": 5.0}])
        client.close()
    with Service(data_dir) as second:
        aws = Path(sys.executable).with_name("aws")
        done = subprocess.run(
            [str(aws), "cloudwatch", "list-metrics", "--namespace", "kept", "--output", "json"],
            env=os.environ | second.environment(),
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["Metrics"] == [{"Namespace": "kept", "MetricName": "m", "Dimensions": []}]
        client = second.client("cloudwatch")
        assert total(client, "m", {}, "kept") == 5
        client.close()


def test_a_request_beyond_a_megabyte_is_refused_as_on_aws(service: Service) -> None:
    with closing(service.client("cloudwatch", disable_request_compression=True)) as metrics:
        data = [
            {"MetricName": f"m{number}", "Dimensions": [{"Name": "d", "Value": "x" * 1000}], "Value": 1.0}
            for number in range(1000)
        ]
        with pytest.raises(ClientError, match=r"Request size \d{7} exceeded 1048576 bytes") as refused:
            metrics.put_metric_data(Namespace="large", MetricData=data)
        answer = refused.value.response
        assert (answer["ResponseMetadata"]["HTTPStatusCode"], answer["Error"]["Code"]) == (413, "RequestEntityTooLarge")
