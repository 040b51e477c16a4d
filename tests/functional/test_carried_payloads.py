"""Payloads of megabytes through a running service, whose carrier moves them: callers find nothing different, whatever
goes wrong. Each test begins with a carrier that stands."""

import base64
import hashlib
import json
import os
import signal
import socket
import time
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

import pytest
from botocore.exceptions import ClientError

from support.callers import until
from support.functions import deploy_with
from support.sandbox_server import children
from support.service import Service

SIZE = 6_000_000
HANDLER = """
import hashlib, http.client, json, os, socket, time
def handler(event, context):
    do = event.get("do", "echo") if isinstance(event, dict) else "echo"
    if do == "size":
        return {"size": len(event["text"]), "digest": hashlib.sha256(event["text"].encode()).hexdigest()}
    if do == "make":
        return "y" * event["size"]
    if do == "raise":
        raise ValueError("boom")
    if do in ("die", "stop"):
        host, _, port = os.environ["AWS_LAMBDA_RUNTIME_API"].partition(":")
        path = f"/2018-06-01/runtime/invocation/{context.aws_request_id}/response"
        with socket.create_connection((host, int(port))) as api:
            api.sendall(f"POST {path} HTTP/1.1\\r\\nHost: x\\r\\nContent-Length: 5000000\\r\\n\\r\\n".encode())
            api.sendall(b'"' * 3_000_000)
            if do == "die":
                os._exit(1)
            time.sleep(60)
    return event
"""


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Generator[Service]:
    with Service(tmp_path_factory.mktemp("service") / "data") as running:
        yield running
    assert "Traceback" not in running.log.read_text()
    assert "never retrieved" not in running.log.read_text()


@pytest.fixture(scope="module")
def client(service: Service) -> Generator[Any]:
    made = service.client()
    yield made
    made.close()


@pytest.fixture(scope="module")
def name(client: Any) -> str:
    return deploy_with(client, HANDLER, MemorySize=1769)


@pytest.fixture
def carrier(service: Service, client: Any, name: str) -> int:
    """Its process id."""
    return standing(service, client, name)


def standing(service: Service, client: Any, name: str) -> int:
    def called() -> list[int]:
        call(client, name, {"do": "size", "text": "z" * 2_000_000})
        return carriers(service)

    until(lambda: len(called()) == 1, "a carrier stands")
    (pid,) = carriers(service)
    return pid


def carriers(service: Service) -> list[int]:
    found: list[int] = []
    for pid in children(service.process.pid):
        try:
            if b"bodies.carrying" in Path(f"/proc/{pid}/cmdline").read_bytes():
                found.append(pid)
        except OSError:
            pass
    return found


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
    until(lambda: not Path(f"/proc/{pid}").exists(), "it is gone")


def moved(pid: int) -> int:
    """Ticks of processor that it has taken."""
    return sum(map(int, Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]))


def call(client: Any, name: str, event: Any, **more: Any) -> tuple[Any, Any]:
    response = client.invoke(FunctionName=name, Payload=json.dumps(event, ensure_ascii=False).encode(), **more)
    return response, json.loads(response["Payload"].read())


def test_what_is_carried_arrives_as_it_was_in_both_directions(client: Any, name: str, carrier: int) -> None:
    before = moved(carrier)
    for turn in range(10):
        text = base64.b64encode(hashlib.sha256(bytes([turn])).digest() * (SIZE * 3 // 4 // 32)).decode()
        response, answer = call(client, name, {"text": text})
        assert answer == {"text": text}
        assert "FunctionError" not in response
    assert moved(carrier) - before >= 3  # the bytes did go that way


def test_an_event_alone_is_carried(client: Any, name: str, carrier: int) -> None:
    text = "\u00e4\u20ac\U0001f511" * 500_000
    _, answer = call(client, name, {"do": "size", "text": text})
    assert answer == {"size": len(text), "digest": hashlib.sha256(text.encode()).hexdigest()}


def test_an_answer_alone_is_carried_and_brings_its_log(client: Any, name: str, carrier: int) -> None:
    response, answer = call(client, name, {"do": "make", "size": SIZE}, LogType="Tail")
    assert answer == "y" * SIZE
    assert b"REPORT RequestId" in base64.b64decode(response["LogResult"])


def test_a_cold_function_is_given_a_carried_event(client: Any, carrier: int) -> None:
    name = deploy_with(client, HANDLER)
    _, answer = call(client, name, {"do": "size", "text": "a" * SIZE})
    assert answer["size"] == SIZE


def test_many_at_once_are_each_answered_their_own(service: Service, name: str, carrier: int) -> None:
    client = service.client(max_pool_connections=8)

    def one(number: int) -> bool:
        text = f"{number:08d}" * 250_000
        return call(client, name, {"text": text})[1] == {"text": text}

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(one, range(24)))
    client.close()


def test_a_failing_handler_is_told_as_ever(client: Any, name: str, carrier: int) -> None:
    response, answer = call(client, name, {"do": "raise", "text": "a" * SIZE})
    assert response["FunctionError"] == "Unhandled"
    assert answer["errorMessage"] == "boom"


def test_an_answer_that_is_too_large_is_refused_as_ever(client: Any, name: str, carrier: int) -> None:
    response, answer = call(client, name, {"do": "make", "size": 7_000_000})
    assert response["FunctionError"] == "Unhandled"
    assert answer["errorType"] == "Function.ResponseSizeTooLarge"


def test_what_is_no_json_is_refused_in_the_same_words(service: Service, client: Any, name: str, carrier: int) -> None:
    def refusal() -> str:
        with pytest.raises(ClientError) as refused:
            client.invoke(FunctionName=name, Payload=b'{"a": "' + b"x" * 3_000_000 + b'", }')
        assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400
        return str(refused.value)

    carried = refusal()
    kill(carrier)
    assert refusal() == carried  # the event loop's own


def test_a_payload_that_was_changed_on_its_way_is_refused(
    service: Service, client: Any, name: str, carrier: int
) -> None:
    sent: list[Any] = []

    def spoil(request: Any, **_: Any) -> None:
        request.body = request.body[:-2] + b'x"'
        sent.append(request)

    spoiling = service.client()
    spoiling.meta.events.register("before-send.lambda.Invoke", spoil)
    with pytest.raises(ClientError, match="signature we calculated does not match"):
        spoiling.invoke(FunctionName=name, Payload=json.dumps("a" * SIZE))
    assert sent
    spoiling.close()


def test_an_event_for_later_is_still_limited(client: Any, name: str, carrier: int) -> None:
    with pytest.raises(client.exceptions.RequestTooLargeException):
        client.invoke(FunctionName=name, Payload=json.dumps("a" * 2_000_000), InvocationType="Event")


def test_a_dry_run_with_a_large_payload_runs_nothing(client: Any, name: str, carrier: int) -> None:
    response = client.invoke(FunctionName=name, Payload=json.dumps("a" * SIZE), InvocationType="DryRun")
    assert response["StatusCode"] == 204


def test_a_function_that_dies_in_the_middle_of_its_answer_is_told(client: Any, name: str, carrier: int) -> None:
    response, answer = call(client, name, {"do": "die"})
    assert response["FunctionError"] == "Unhandled"
    assert answer["errorType"] == "Runtime.ExitError"
    assert call(client, name, {"do": "make", "size": SIZE})[1] == "y" * SIZE


def test_a_function_that_stops_in_the_middle_of_its_answer_times_out(client: Any, carrier: int) -> None:
    name = deploy_with(client, HANDLER, Timeout=2)
    response, answer = call(client, name, {"do": "stop"})
    assert response["FunctionError"] == "Unhandled"
    assert "timed out" in answer["errorMessage"]
    until(lambda: not jobs(carrier), "nothing of it is left")
    assert call(client, name, {"do": "make", "size": SIZE})[1] == "y" * SIZE


def jobs(pid: int) -> list[str]:
    """Other processes' sockets that it has: beside its channel and its event loop's own pair."""
    return [opened for opened in descriptors(pid) if opened.startswith("socket:")][3:]


def descriptors(pid: int) -> list[str]:
    found: list[str] = []
    for link in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):  # closed meanwhile
            found.append(os.readlink(link))
    return found


def test_a_caller_that_leaves_while_it_sends_leaves_nothing(
    service: Service, client: Any, name: str, carrier: int
) -> None:
    path = f"/2015-03-31/functions/{name}/invocations"
    with socket.create_connection(("127.0.0.1", service.port)) as sock:
        sock.sendall(f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {SIZE}\r\n\r\n".encode() + b'"' * 2_000_000)
        until(lambda: jobs(carrier), "it is carried")
    until(lambda: not jobs(carrier), "nothing of it is left")
    assert call(client, name, {"do": "make", "size": SIZE})[1] == "y" * SIZE


def test_a_caller_that_leaves_before_its_answer_leaves_nothing(
    service: Service, client: Any, name: str, carrier: int
) -> None:
    quick = service.client(read_timeout=0.5)
    slow = deploy_with(client, "import time\ndef handler(e, c):\n    time.sleep(1)\n    return 'y' * 6_000_000\n")
    with pytest.raises(Exception, match="Read timeout"):
        quick.invoke(FunctionName=slow, Payload=json.dumps("a" * SIZE))
    quick.close()
    until(lambda: not jobs(carrier), "nothing of it is left")
    assert call(client, name, {"do": "make", "size": SIZE})[1] == "y" * SIZE


def test_kill_9_of_the_carrier_costs_what_it_carried_and_another_is_started(
    service: Service, client: Any, name: str, carrier: int
) -> None:
    retrying = service.client(retries={"total_max_attempts": 5}, max_pool_connections=4)
    stop = time.monotonic() + 3
    killed: list[int] = []

    def calls() -> int:
        done = 0
        while time.monotonic() < stop:
            response, answer = call(retrying, name, {"do": "make", "size": SIZE, "text": "a" * 100})
            assert answer == "y" * SIZE or response.get("FunctionError") or response["StatusCode"] >= 500
            done += 1
        return done

    with ThreadPoolExecutor(3) as pool:
        running = [pool.submit(calls) for _ in range(2)]
        while time.monotonic() < stop - 1:
            for pid in carriers(service):
                kill(pid)
                killed.append(pid)
        for each in running:
            try:
                assert each.result() > 0
            except Exception as error:  # what it carried, with no attempt left
                assert "Connection" in type(error).__name__ or "Service" in str(error)
    retrying.close()
    assert len(set(killed)) > 1
    assert standing(service, client, name) not in killed
    assert call(client, name, {"do": "make", "size": SIZE})[1] == "y" * SIZE


def test_at_rest_it_has_given_the_memory_back(client: Any, name: str, carrier: int) -> None:
    def resident() -> int:
        status = Path(f"/proc/{carrier}/status").read_text()
        return int(status.split("VmRSS:")[1].split()[0])  # KiB

    for _ in range(5):
        call(client, name, {"text": "a" * SIZE})
    until(lambda: resident() < 40_000, "the payloads' memory is free")


def test_without_large_payloads_there_is_no_carrier(tmp_path: Path) -> None:
    with Service(tmp_path / "data") as service:
        client = service.client()
        name = deploy_with(client, HANDLER)
        assert call(client, name, {"text": "a"})[1] == {"text": "a"}
        assert not carriers(service)
        client.close()


def test_it_ends_with_the_service(tmp_path: Path) -> None:
    with Service(tmp_path / "data") as service:
        client = service.client()
        name = deploy_with(client, HANDLER)
        pid = standing(service, client, name)
        client.close()
        service.kill()
        until(lambda: not Path(f"/proc/{pid}").exists(), "it is gone")


@pytest.mark.parametrize("sizes", [(SIZE, 10, SIZE), (10, SIZE, 10)])
def test_pipelined_requests_are_answered_in_order(tmp_path: Path, sizes: tuple[int, ...]) -> None:
    with Service(tmp_path / "data", "--auth", "off") as service:
        client = service.client()
        name = deploy_with(client, HANDLER)
        standing(service, client, name)
        client.close()
        bodies = [json.dumps(chr(97 + number) * size).encode() for number, size in enumerate(sizes)]
        line = f"POST /2015-03-31/functions/{name}/invocations HTTP/1.1\r\nHost: x\r\n"
        stream = b"".join(f"{line}Content-Length: {len(body)}\r\n\r\n".encode() + body for body in bodies)
        with socket.create_connection(("127.0.0.1", service.port)) as sock, ThreadPoolExecutor(1) as pool:
            sending = pool.submit(sock.sendall, stream)
            with sock.makefile("rb") as answers:
                assert [read_body(answers) for _ in bodies] == bodies
            sending.result()


def read_body(answers: IO[bytes]) -> bytes:
    assert answers.readline() == b"HTTP/1.1 200 OK\r\n"
    length = 0
    while (line := answers.readline()) != b"\r\n":
        if line.lower().startswith(b"content-length:"):
            length = int(line.split(b":")[1])
    return answers.read(length)


def test_it_has_no_right_but_to_move_bytes(carrier: int) -> None:
    rights = dict(line.split(":\t", 1) for line in Path(f"/proc/{carrier}/status").read_text().splitlines())
    assert {rights[name] for name in ("CapInh", "CapPrm", "CapEff", "CapAmb")} == {"0" * 16}
    assert (rights["NoNewPrivs"], rights["Seccomp"]) == ("1", "2")
    assert "0" not in rights["Uid"].split()
    assert Path(f"/proc/{carrier}/environ").read_bytes().count(b"AWS_") == 0


def test_one_that_follows_another_has_none_of_the_services_descriptors(
    service: Service, client: Any, name: str, carrier: int
) -> None:
    """Not even those of sandboxes, which came by messages."""
    kill(carrier)
    after = standing(service, client, name)

    def foreign() -> set[str]:
        own = {"/dev/null", str(service.log), "anon_inode:[eventpoll]"}
        return {opened for opened in descriptors(after) if not opened.startswith(("socket:", "pipe:"))} - own

    until(lambda: not foreign() and not jobs(after), "it has its own alone")
