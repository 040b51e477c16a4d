"""Every metric that Lambda has (AWS: spec 6, 10.2): one table, a row each, each caused in a running service and read
back as CloudWatch's clients read it; and those without a row, with what they would be caused by and is not there.
"""

import json
import time
import uuid
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import pytest

from lamplighter.api.unavailable import UNAVAILABLE
from support.extensions import BEGINNING
from support.functions import PYTHON, deploy_with, package
from support.no_queues import serving_no_queues
from support.service import Service

SOURCE: Final = """
import time
def handler(event, context):
    time.sleep(event.get("seconds", 0))
    open("/tmp/done", "w").close()
    if event.get("fail"):
        raise ValueError("asked for")
"""
# Goes on for a while when the function is done, which its environment and whoever pays for it have to wait for.
EXTENSION: Final = (
    f"#!/var/lang/bin/{PYTHON} -u\n{BEGINNING}"
    + """
register("INVOKE")
while follow():
    while not os.path.exists("/tmp/done"):
        time.sleep(0.01)
    os.remove("/tmp/done")
    time.sleep(0.5)
"""
)
QUEUE: Final = "arn:aws:sqs:us-east-1:000000000000:nowhere"
PUBLISHER: Final = "arn:aws:signer:us-east-1:000000000000:/signing-profiles/p/0123456789"

FUNCTION: Final = ("FunctionName",)
RESOURCE: Final = ("FunctionName", "Resource")
EXECUTED: Final = ("ExecutedVersion", "FunctionName", "Resource")
EACH: Final = ((), FUNCTION, RESOURCE, EXECUTED)  # of a weighted alias
CALLED: Final = ((), FUNCTION, RESOURCE)  # of any other, or of a version


@dataclass(frozen=True)
class Row:
    """`of`: which function of `Caused` has it, and under which sets of dimensions. `value`: of the statistic that is
    asked for, exactly or from its first to its second."""

    unit: str
    statistic: str
    value: float | tuple[float, float]
    of: str
    dimensions: tuple[tuple[str, ...], ...]


ROWS: Final = {
    "Invocations": Row("Count", "Sum", 8, "called", EACH),  # six and a failure by the alias, and an event
    "Errors": Row("Count", "Sum", 2, "called", EACH),  # the failure and the event
    "Throttles": Row("Count", "Sum", 1, "called", EACH),
    "Duration": Row("Milliseconds", "Maximum", (100, 5000), "called", EACH),  # one waits for 100 ms
    "PostRuntimeExtensionsDuration": Row("Milliseconds", "Minimum", (1, 20_000), "extended", ((), FUNCTION)),
    "AsyncEventsReceived": Row("Count", "Sum", 1, "called", CALLED),
    "AsyncEventAge": Row("Milliseconds", "Maximum", (0, 60_000), "called", CALLED),
    "AsyncEventsDropped": Row("Count", "Sum", 1, "called", CALLED),
    "DeadLetterErrors": Row("Count", "Sum", 1, "called", CALLED),
    "DestinationDeliveryFailures": Row("Count", "Sum", 1, "called", CALLED),
    "RecursiveInvocationsDropped": Row("Count", "Sum", 1, "looping", ((), FUNCTION)),
    "SignatureValidationErrors": Row("Count", "Sum", 1, "unsigned", ((), FUNCTION)),
    "ConcurrentExecutions": Row("Count", "Maximum", (1, 2), "called", CALLED),
    "UnreservedConcurrentExecutions": Row("Count", "Maximum", (1, 5), "", ((),)),
    "ClaimedAccountConcurrency": Row("Count", "Maximum", (1, 10), "", ((),)),
    "ProvisionedConcurrencyInvocations": Row("Count", "Sum", (1, 20), "provisioned", CALLED),
    "ProvisionedConcurrencySpilloverInvocations": Row("Count", "Sum", (1, 20), "provisioned", CALLED),
    "ProvisionedConcurrentExecutions": Row("Count", "Maximum", 1, "provisioned", (FUNCTION, RESOURCE)),
    "ProvisionedConcurrencyUtilization": Row("Count", "Maximum", 1, "provisioned", (FUNCTION, RESOURCE)),
}

# What causes these is refused (api/unavailable.py); a row belongs here together with it.
WITHOUT: Final[Mapping[str, tuple[str, ...]]] = {
    "event source mappings": (
        *("IteratorAge", "OffsetLag", "OversizedRecordCount"),
        *("PolledEventCount", "FilteredOutEventCount", "InvokedEventCount", "FailedInvokeEventCount"),
        *("DroppedEventCount", "OnFailureDestinationDeliveredEventCount", "DeletedEventCount", "CommittedEventCount"),
        *("PollingErrorCount", "InvokeErrorCount", "OnFailureDestinationDeliveryErrorCount"),
        *("SchemaRegistryErrorCount", "CommitErrorCount", "MaxOffsetLag", "SumOffsetLag"),
        *("ProvisionedPollers", "EventPollerUnit", "EventPollerThroughputInBytes"),
    ),
    "capacity providers": (
        *("CPUThrottles", "MemoryThrottles", "DiskThrottles", "ConcurrencyThrottles", "CPUUtilization"),
        *("MemoryUtilization", "ExecutionEnvironmentConcurrency", "ExecutionEnvironmentConcurrencyLimit"),
    ),
    "durable functions": (
        *("ApproximateRunningDurableExecutions", "ApproximateRunningDurableExecutionsUtilization"),
        *("DurableExecutionDuration", "DurableExecutionStarted", "DurableExecutionStopped"),
        *("DurableExecutionSucceeded", "DurableExecutionFailed", "DurableExecutionTimedOut"),
        *("DurableExecutionOperations", "DurableExecutionStorageWrittenBytes"),
    ),
}
# Function URLs have records, but nothing answers at them.
OF_URLS: Final = ("UrlRequestCount", "UrlRequestLatency", "Url4xxCount", "Url5xxCount")


class Caused:
    """Everything that has a row has happened in a service. `names`: its functions."""

    def __init__(self, client: Any, metrics: Any) -> None:
        self._client, self.metrics = client, metrics
        self.names = {
            "idle": deploy_with(client, SOURCE),
            "calm": deploy_with(client, SOURCE),
            "called": self._called(),
            "extended": self._extended(),
            "looping": self._looping(),
            "unsigned": self._unsigned(),
            "provisioned": self._provisioned(),
        }
        client.invoke(FunctionName=self.names["calm"], LogType="Tail", Payload=b"{}")

    def dimensions(self, of: str) -> dict[str, str]:
        """All that its metrics may have; calls by the weighted alias go to version 1 alone."""
        alias = {"called": "live", "provisioned": "1"}.get(of, "")
        name = self.names.get(of, "")
        return {"FunctionName": name, "Resource": f"{name}:{alias}", "ExecutedVersion": "1"}

    def _call(self, name: str, event: Mapping[str, Any], **members: Any) -> None:
        self._client.invoke(FunctionName=name, LogType="Tail", Payload=json.dumps(event), **members)

    def _called(self) -> str:
        client = self._client
        name = deploy_with(client, SOURCE, Publish=True, DeadLetterConfig={"TargetArn": QUEUE})
        client.update_function_configuration(FunctionName=name, Description="two")
        client.get_waiter("function_updated_v2").wait(FunctionName=name, WaiterConfig={"Delay": 1})
        two = client.publish_version(FunctionName=name)["Version"]
        client.create_alias(
            FunctionName=name, Name="live", FunctionVersion="1", RoutingConfig={"AdditionalVersionWeights": {two: 0.0}}
        )
        client.put_function_event_invoke_config(
            FunctionName=name,
            Qualifier="live",
            MaximumRetryAttempts=0,
            DestinationConfig={"OnFailure": {"Destination": QUEUE}},
        )
        for number in range(6):
            self._call(name, {"seconds": 0.1 if number == 0 else 0}, Qualifier="live")
        self._call(name, {"fail": True}, Qualifier="live")
        client.invoke(FunctionName=name, Qualifier="live", InvocationType="Event", Payload=b'{"fail": true}')
        self._until("DestinationDeliveryFailures", name)
        self._until("DeadLetterErrors", name)
        client.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=0)
        with pytest.raises(client.exceptions.TooManyRequestsException):
            client.invoke(FunctionName=name, Qualifier="live", Payload=b"{}")
        client.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=3)
        return name

    def _extended(self) -> str:
        archive = package({"extensions/slow": EXTENSION}, executable=True)
        layer = self._client.publish_layer_version(LayerName=f"l{uuid.uuid4().hex}", Content={"ZipFile": archive})
        name = deploy_with(self._client, SOURCE, Layers=[layer["LayerVersionArn"]], Timeout=20)
        self._call(name, {})
        return name

    def _looping(self) -> str:
        """Two that are each other's destination."""
        one, other = (deploy_with(self._client, SOURCE) for _ in range(2))
        for name, target in ((one, other), (other, one)):
            arn = self._client.get_function_configuration(FunctionName=target)["FunctionArn"]
            self._client.put_function_event_invoke_config(
                FunctionName=name, DestinationConfig={"OnSuccess": {"Destination": arn}}
            )
        self._client.invoke(FunctionName=one, InvocationType="Event", Payload=b"{}")
        self._until("RecursiveInvocationsDropped", one)
        return one

    def _unsigned(self) -> str:
        config = self._client.create_code_signing_config(AllowedPublishers={"SigningProfileVersionArns": [PUBLISHER]})[
            "CodeSigningConfig"
        ]
        return deploy_with(self._client, SOURCE, CodeSigningConfigArn=config["CodeSigningConfigArn"])

    def _provisioned(self) -> str:
        """Of two at once that one is provisioned for, the other runs on demand; which comes first is chance."""
        name = deploy_with(self._client, SOURCE, Publish=True)
        wanted = {"FunctionName": name, "Qualifier": "1"}
        self._client.put_provisioned_concurrency_config(**wanted, ProvisionedConcurrentExecutions=1)
        deadline = time.monotonic() + 30
        while self._client.get_provisioned_concurrency_config(**wanted)["Status"] != "READY":
            assert time.monotonic() < deadline
            time.sleep(0.05)
        while not self.listed("ProvisionedConcurrencySpilloverInvocations", name):
            assert time.monotonic() < deadline
            with ThreadPoolExecutor(2) as pool:
                for _ in range(2):
                    pool.submit(self._call, name, {"seconds": 0.5}, Qualifier="1")
        return name

    def _until(self, metric: str, name: str) -> None:
        deadline = time.monotonic() + 30
        while not self.listed(metric, name):
            assert time.monotonic() < deadline, metric
            time.sleep(0.05)

    def listed(self, metric: str, name: str | None) -> set[tuple[str, ...]]:
        """The sets of dimensions that a function's metric is listed with; None: that of the account."""
        found = self.metrics.list_metrics(Namespace="AWS/Lambda", MetricName=metric)["Metrics"]
        sets = ({each["Name"]: each["Value"] for each in metric["Dimensions"]} for metric in found)
        return {tuple(sorted(each)) for each in sets if each.get("FunctionName") == name}

    def datapoints(self, metric: str, statistic: str, dimensions: Mapping[str, str]) -> list[dict[str, Any]]:
        now = datetime.now(UTC)
        return self.metrics.get_metric_statistics(
            Namespace="AWS/Lambda",
            MetricName=metric,
            Dimensions=[{"Name": name, "Value": value} for name, value in dimensions.items()],
            StartTime=now - timedelta(minutes=30),
            EndTime=now + timedelta(minutes=1),
            Period=86_400,
            Statistics=[statistic],
        )["Datapoints"]


@pytest.fixture(scope="module")
def caused(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Caused]:
    data = tmp_path_factory.mktemp("metrics") / "data"
    with (
        serving_no_queues() as sqs,
        Service(data, "--sqs-endpoint", sqs) as service,
        closing(service.client()) as client,
        closing(service.client("cloudwatch")) as metrics,
    ):
        yield Caused(client, metrics)


@pytest.mark.parametrize("metric", ROWS)
def test_a_metric_has_awss_unit_dimensions_and_values(caused: Caused, metric: str) -> None:
    row = ROWS[metric]
    of_account = {each for each in row.dimensions if not each}
    assert caused.listed(metric, None) == of_account
    if row.of:
        assert caused.listed(metric, caused.names[row.of]) == set(row.dimensions) - of_account
    known, (least, most) = caused.dimensions(row.of), row.value if isinstance(row.value, tuple) else (row.value,) * 2
    for names in row.dimensions:
        points = caused.datapoints(metric, row.statistic, {name: known[name] for name in names})
        assert [each["Unit"] for each in points] and {each["Unit"] for each in points} == {row.unit}
        values = [each[row.statistic] for each in points]
        found = {"Sum": sum, "Maximum": max, "Minimum": min}[row.statistic](values)
        if names:  # what others did is in the account's, too
            assert least <= found <= most, (names, found)
        else:
            assert found >= least or row.statistic == "Minimum"


def test_what_did_not_happen_has_no_metric(caused: Caused) -> None:
    """But an invocation that is no error is a zero among the errors, so that their average is their rate."""
    assert {metric for metric in ROWS if caused.listed(metric, caused.names["idle"])} == set()
    told = {metric for metric in ROWS if caused.listed(metric, caused.names["calm"])}
    assert told == {"Invocations", "Errors", "Duration", "ConcurrentExecutions"}
    (errors,) = caused.datapoints("Errors", "SampleCount", {"FunctionName": caused.names["calm"]})
    assert errors["SampleCount"] == 1
    (errors,) = caused.datapoints("Errors", "Sum", {"FunctionName": caused.names["calm"]})
    assert errors["Sum"] == 0


def test_no_metric_is_told_that_has_no_row(caused: Caused) -> None:
    pages = caused.metrics.get_paginator("list_metrics").paginate(Namespace="AWS/Lambda")
    assert {each["MetricName"] for page in pages for each in page["Metrics"]} == ROWS.keys()


def test_what_would_cause_those_without_a_row_is_not_there() -> None:
    assert WITHOUT.keys() == UNAVAILABLE.keys()
    every = [*ROWS, *OF_URLS, *(name for names in WITHOUT.values() for name in names)]
    assert len(set(every)) == len(every)
