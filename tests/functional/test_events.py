"""Asynchronous invocation from outside: what is accepted runs, however the service comes and goes."""

import resource
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest

from support.functions import deploy_with
from support.service import Service

# Without isolation a function sees the host's files, so it can tell what it does.
TELLS = """
import os, time

def handler(event, context):
    time.sleep(event.get("seconds", 0))
    file = os.open(os.environ["RAN"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
    os.write(file, f"{context.aws_request_id} {os.environ.get('_X_AMZN_TRACE_ID', '')}\\n".encode())
    os.close(file)
"""
OPTIONS = ("--isolation", "none", "--auth", "off")
LARGEST = 1_048_576


@pytest.fixture(scope="module")
def open_service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with Service(tmp_path_factory.mktemp("events") / "data", *OPTIONS) as running:
        yield running


@pytest.fixture
def ran(tmp_path: Path) -> Callable[[], list[str]]:
    """Request ids of the runs so far."""
    file = tmp_path / "ran"
    return lambda: [line.split()[0] for line in file.read_text().splitlines()] if file.exists() else []


def deploy(client: Any, tmp_path: Path, **members: Any) -> str:
    return deploy_with(client, TELLS, Environment={"Variables": {"RAN": str(tmp_path / "ran")}}, **members)


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_an_event_is_acknowledged_at_once_and_run_under_its_own_id(
    open_service: Service, tmp_path: Path, ran: Callable[[], list[str]]
) -> None:
    with closing(open_service.client()) as client:
        name = deploy(client, tmp_path, Timeout=10)
        began = time.monotonic()
        answer = client.invoke(FunctionName=name, InvocationType="Event", Payload=b'{"seconds": 1}')
        assert time.monotonic() - began < 0.9
        assert (answer["StatusCode"], answer["Payload"].read()) == (202, b"")
        assert "ExecutedVersion" not in answer
        until(ran)
        assert ran() == [answer["ResponseMetadata"]["RequestId"]]


def test_the_operation_of_2014_does_the_same(
    open_service: Service, tmp_path: Path, ran: Callable[[], list[str]]
) -> None:
    with closing(open_service.client()) as client:
        name = deploy(client, tmp_path)
        answer = client.invoke_async(FunctionName=name, InvokeArgs=b"{}")
        assert answer["Status"] == 202
        until(ran)
        assert ran() == [answer["ResponseMetadata"]["RequestId"]]
        with pytest.raises(client.exceptions.InvalidRequestContentException, match="Could not parse request body"):
            client.invoke_async(FunctionName=name, InvokeArgs=b"no JSON")
        with pytest.raises(client.exceptions.ClientError, match="Request must be smaller than 1048576 bytes"):
            client.invoke_async(FunctionName=name, InvokeArgs=b'"%s"' % (b"x" * LARGEST))
        with pytest.raises(client.exceptions.ResourceNotFoundException):
            client.invoke_async(FunctionName="nobody", InvokeArgs=b"{}")


def test_a_megabyte_is_accepted_and_not_a_byte_more(
    open_service: Service, tmp_path: Path, ran: Callable[[], list[str]]
) -> None:
    with closing(open_service.client()) as client:
        name = deploy(client, tmp_path)
        largest = b'{"x":"%s"}' % (b"x" * (LARGEST - 8))
        assert len(largest) == LARGEST
        client.invoke(FunctionName=name, InvocationType="Event", Payload=largest)
        until(ran)
        with pytest.raises(
            client.exceptions.RequestTooLargeException, match="Request must be smaller than 1048576 bytes"
        ):
            client.invoke(FunctionName=name, InvocationType="Event", Payload=largest + b" ")
        with pytest.raises(client.exceptions.InvalidRequestContentException):
            client.invoke(FunctionName=name, InvocationType="Event", Payload=b"{")
        assert client.invoke(FunctionName=name, InvocationType="DryRun")["StatusCode"] == 204
        assert len(ran()) == 1


def test_what_was_acknowledged_before_a_crash_or_a_stop_is_run_after_it(
    tmp_path: Path, ran: Callable[[], list[str]]
) -> None:
    data, accepted = tmp_path / "data", set[str]()
    with Service(data, *OPTIONS) as service, closing(service.client()) as client:
        name = deploy(client, tmp_path, Timeout=60)
        client.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=1)
        accepted |= send(service, name, b'{"seconds": 0.3}', 30)
        service.kill()
    with Service(data, *OPTIONS) as service:
        until(ran)
        accepted |= send(service, name, b'{"seconds": 0}', 30)
        assert service.stop() == 0
    assert accepted > set(ran())
    with Service(data, *OPTIONS) as service, closing(service.client()) as client:
        client.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=20)
        until(lambda: accepted <= set(ran()))


def test_a_disk_that_takes_nothing_refuses_events_and_those_after_it_are_run(
    tmp_path: Path, ran: Callable[[], list[str]]
) -> None:
    with Service(tmp_path / "data", *OPTIONS) as service, closing(service.client()) as client:
        name = deploy(client, tmp_path)
        (before,) = send(service, name, b"{}", 1)
        until(ran)
        with full_disk(service):
            for _ in range(3):
                with pytest.raises(client.exceptions.ServiceException) as refused:
                    client.invoke(FunctionName=name, InvocationType="Event", Payload=b"{}")
                assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 500
            assert client.invoke(FunctionName=name)["StatusCode"] == 200  # who writes nothing notices nothing
        (after,) = send(service, name, b"{}", 1)
        until(lambda: after in ran())
    with Service(tmp_path / "data", *OPTIONS) as service, closing(service.client()) as client:
        (last,) = send(service, name, b"{}", 1)
        until(lambda: last in ran())
    found = ran()
    assert found[0] == before
    assert found[2:] == [after, last]  # beside them only the synchronous one: what was refused is not run


@contextmanager
def full_disk(service: Service) -> Iterator[None]:
    """Every write of the service to a file fails."""
    before = resource.prlimit(service.process.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(service.process.pid, resource.RLIMIT_FSIZE, (0, before[1]))
    try:
        yield
    finally:
        resource.prlimit(service.process.pid, resource.RLIMIT_FSIZE, before)


def send(service: Service, name: str, payload: bytes, count: int) -> set[str]:
    """So many events; their request ids."""
    with closing(HTTPConnection("127.0.0.1", service.port, timeout=10)) as connection:
        ids: set[str] = set()
        for _ in range(count):
            path, headers = f"/2015-03-31/functions/{name}/invocations", {"X-Amz-Invocation-Type": "Event"}
            connection.request("POST", path, payload, headers)
            answer = connection.getresponse()
            answer.read()
            assert answer.status == 202
            ids.add(answer.headers["x-amzn-RequestId"])
        return ids
