"""Answers that are streamed: from a guest's socket to a caller's, with every way to end (AWS: spec 2.4)."""

import asyncio
import base64
import json
import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from lamplighter.api import connection as connection_limits
from lamplighter.invoke.pace import Pace
from lamplighter.model.clock import SystemClock
from lamplighter.worker import stream as streams
from support.environments import version
from support.event_stream import STREAMING, Streaming, streaming
from support.front_door import House, invoke_path, message
from support.raw_http import Client, request
from support.sandbox_server import story, until
from support.sandboxes import LEAN

PATH = "/2021-11-15/functions/{}/response-streaming-invocations"

SOURCE = """
import os, signal, time
def wait_for(path):
    while not os.path.exists(path):
        time.sleep(0.005)
def note(path, text):
    with open(path + ".new", "w") as file:
        file.write(text)
    os.replace(path + ".new", path)
def pieces(event, out):
    for number, piece in enumerate(event):
        out.write(piece.encode())
        wait_for(f"go{number}")
def typed(event, out):
    out.begin(event)
    out.write(b"x")
def empty(event, out):
    out.begin()
def whole(event, out):
    return event
def told(event, headers):
    return headers
def refuse(event, out):
    raise ValueError("before the first byte")
def fail(event, out):
    out.write(b"some")
    raise ValueError("in the middle")
def crash(event, out):
    out.write(b"some")
    wait_for("go0")
    os.kill(os.getpid(), signal.SIGKILL)
def die(event, out):
    os._exit(3)
def hang(event, out):
    if event:
        out.write(b"some")
    time.sleep(60)
def break_off(event, out):
    out.write(b"some")
    out.connection.socket.close()
    out.connection.connect()
    return "left"
def stop_talking(event, out):
    out.write(b"some")
    out.connection.socket.close()
    time.sleep(60)
def much(event, out):
    piece = b"0123456789abcdef" * 4096
    for number in range(event):
        out.write(piece)
        note("written", str(number + 1))
def too_much(event, out):
    for _ in range(12):
        out.write(b"x" * 100)
    out.connection.socket.sendall(b"0\\r\\n\\r\\n")
    status, _, body = out.connection.reply()
    note("told", f"{status} {body.decode()}")
    return "left"
def say(event, out):
    print("said", flush=True)
    out.write(b"some")
def context(event, out):
    out.write(b"%d" % os.getpid())
"""


def stream(payload: bytes = b"{}", name: str = "f", query: str = "", **headers: str) -> bytes:
    return request("POST", PATH.format(name) + (f"?{query}" if query else ""), payload, **headers)


@asynccontextmanager
async def house(
    task: Path,
    handler: str = "pieces",
    *,
    command: tuple[str, ...] = STREAMING,
    pace: Pace | None = None,
    **members: Any,
) -> AsyncGenerator[tuple[House, Client]]:
    made = House(task, command=command, pace=None if pace is None else lambda: pace)
    async with made, made.client() as client:
        made.deploy(SOURCE, handler=handler, **members)
        yield made, client


def go(task: Path, number: int = 0) -> None:
    (task / f"go{number}").touch()


def details(complete: dict[str, str]) -> tuple[str, dict[str, str]]:
    return complete["ErrorCode"], json.loads(complete["ErrorDetails"])


@story
async def test_each_piece_arrives_when_it_is_written_and_not_at_the_end(tmp_path: Path) -> None:
    async with house(tmp_path) as (_, client):
        answer = await streaming(client, stream(b'["one", "two", "three"]'))
        assert answer.status == 200
        await answer.until(b"one")
        go(tmp_path, 0)
        await answer.until(b"onetwo")
        go(tmp_path, 1)
        await answer.until(b"onetwothree")
        assert answer.complete is None
        go(tmp_path, 2)
        assert await answer.end() == {}


@story
async def test_the_head_is_awss(tmp_path: Path) -> None:
    async with house(tmp_path, "typed") as (_, client):
        answer = await streaming(client, stream(b'"application/vnd.awslambda.http-integration-response"'))
        headers = dict(answer.headers)
        assert headers.pop("date").endswith("GMT")
        assert len(headers.pop("x-amzn-requestid")) == 36
        assert headers == {
            "content-type": "application/vnd.amazon.eventstream",
            "x-amzn-remapped-content-type": "application/vnd.awslambda.http-integration-response",
            "x-amz-executed-version": "$LATEST",
            "transfer-encoding": "chunked",
        }
        assert await answer.end() == {}
        plain = await streaming(client, stream(b"null"))
        assert plain.headers["x-amzn-remapped-content-type"] == "application/octet-stream"
        await plain.end()


@story
async def test_an_answer_without_a_byte_is_complete_too(tmp_path: Path) -> None:
    async with house(tmp_path, "empty") as (_, client):
        answer = await streaming(client, stream())
        assert (await answer.end(), answer.payload) == ({}, b"")


@story
async def test_one_connection_and_one_environment_serve_call_after_call(tmp_path: Path) -> None:
    async with house(tmp_path, "context") as (made, client):
        seen: set[bytes] = set()
        for _ in range(5):
            answer = await streaming(client, stream())
            assert await answer.end() == {}
            seen.add(bytes(answer.payload))
        assert (len(seen), len(made.sandboxes.started)) == (1, 1)


@pytest.mark.parametrize("command", [STREAMING, LEAN], ids=["streams otherwise", "never streams"])
@story
async def test_a_function_that_answers_in_one_piece_is_passed_on_in_events(
    tmp_path: Path, command: tuple[str, ...]
) -> None:
    async with house(tmp_path, "whole", command=command, timeout=30) as (_, client):
        large = b'"' + b"x" * 6_291_554 + b'"'
        for payload in (b'{"a": 1}', large):
            answer = await streaming(client, stream(payload))
            assert (await answer.end(), answer.payload) == ({}, payload)
        if command is STREAMING:
            assert answer.headers["x-amzn-remapped-content-type"] == "application/json"


@story
async def test_the_function_learns_of_its_call_what_it_learns_from_invoke(tmp_path: Path) -> None:
    async with house(tmp_path, "told", command=LEAN) as (_, client):
        context = base64.b64encode(b'{"custom": {"a": "b"}}').decode()
        trace = "Root=1-65f0c0de-0123456789abcdef01234567;Sampled=1"
        call = stream(query="Qualifier=%24LATEST", X_Amz_Client_Context=context, X_Amzn_Trace_Id=trace)
        answer = await streaming(client, call)
        assert await answer.end() == {}
        seen = json.loads(answer.payload)
        assert seen["lambda-runtime-aws-request-id"] == answer.headers["x-amzn-requestid"]
        assert seen["lambda-runtime-invoked-function-arn"].endswith(":function:f:$LATEST")
        assert seen["lambda-runtime-trace-id"].startswith(trace)
        assert json.loads(seen["lambda-runtime-client-context"]) == {"custom": {"a": "b"}}


@story
async def test_an_error_before_the_first_byte_is_told_by_the_last_event(tmp_path: Path) -> None:
    async with house(tmp_path, "refuse") as (_, client):
        answer = await streaming(client, stream())
        assert answer.status == 200
        expected = {"errorMessage": "before the first byte", "errorType": "ValueError"}
        assert details(await answer.end()) == ("Unhandled", expected)
        assert answer.payload == b""


@story
async def test_an_error_in_mid_stream_is_told_by_the_trailers(tmp_path: Path) -> None:
    async with house(tmp_path, "fail") as (made, client):
        for _ in range(2):
            answer = await streaming(client, stream())
            expected = {"errorMessage": "in the middle", "errorType": "ValueError"}
            assert details(await answer.end()) == ("ValueError", expected)
            assert answer.payload == b"some"
        assert len(made.sandboxes.started) == 1, "the environment is as good as before"


@story
async def test_a_crash_in_mid_stream_is_noticed_at_once(tmp_path: Path) -> None:
    async with asyncio.timeout(30), house(tmp_path, "crash", timeout=60) as (_, client):
        answer = await streaming(client, stream())
        await answer.until(b"some")
        go(tmp_path)
        code, described = details(await answer.end())
        request_id = answer.headers["x-amzn-requestid"]
        assert code == "Runtime.TruncatedResponse"
        assert described == {
            "errorType": "Runtime.ExitError",
            "errorMessage": f"RequestId: {request_id} Error: Runtime exited with error: signal: killed",
        }


@story
async def test_a_crash_before_the_first_byte_is_told_too(tmp_path: Path) -> None:
    async with house(tmp_path, "die", timeout=60) as (_, client):
        answer = await streaming(client, stream())
        code, described = details(await answer.end())
        assert (answer.status, code, described["errorType"]) == (200, "Runtime.ExitError", "Runtime.ExitError")


@pytest.mark.parametrize("begun", [True, False])
@story
async def test_a_function_out_of_time_ends_its_stream(tmp_path: Path, begun: bool) -> None:
    async with house(tmp_path, "hang", timeout=1) as (made, client):
        answer = await streaming(client, stream(b"true" if begun else b"false"))
        code, described = details(await answer.end())
        assert answer.payload == (b"some" if begun else b"")
        assert code == described["errorType"] == "Sandbox.Timedout"
        assert described["errorMessage"].endswith("Error: Task timed out after 1.00 seconds")
        await until(lambda: made.sandboxes.started[0].ended, "its sandbox is taken down")


@pytest.mark.parametrize("handler", ["break_off", "stop_talking"])
@story
async def test_a_stream_that_is_cut_off_by_a_living_function_is_truncated(tmp_path: Path, handler: str) -> None:
    async with asyncio.timeout(30), house(tmp_path, handler, timeout=60) as (made, client):
        answer = await streaming(client, stream())
        code, described = details(await answer.end())
        assert (answer.payload, code, described["errorType"]) == (b"some", *["Runtime.TruncatedResponse"] * 2)
        if handler == "break_off":
            again = await streaming(client, stream())
            await again.end()
            assert len(made.sandboxes.started) == 1, "it goes on with the next event"


@story
async def test_a_response_beyond_the_limit_is_cut_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "STREAM_LIMIT", 1000)
    async with house(tmp_path, "too_much") as (made, client):
        for _ in range(2):
            answer = await streaming(client, stream())
            code, described = details(await answer.end())
            assert answer.payload == b"x" * 1000
            assert code == described["errorType"] == "Function.ResponseSizeTooLarge"
            assert "exceeded maximum allowed payload size (209715200 bytes)" in described["errorMessage"]
        await until((tmp_path / "told").exists, "the runtime is told too")
        told = (tmp_path / "told").read_text()
        assert told.startswith("413 ")
        assert "RequestEntityTooLarge" in told
        assert len(made.sandboxes.started) == 1


@story
async def test_the_log_tail_is_in_the_last_event(tmp_path: Path) -> None:
    async with house(tmp_path, "say") as (_, client):
        answer = await streaming(client, stream(X_Amz_Log_Type="Tail"))
        complete = await answer.end()
        tail = base64.b64decode(complete["LogResult"]).decode()
        assert set(complete) == {"LogResult"}
        assert tail.startswith(f"START RequestId: {answer.headers['x-amzn-requestid']} Version: $LATEST\nsaid\nEND")
        assert answer.payload == b"some"


@story
async def test_invoke_collects_what_a_function_streams(tmp_path: Path) -> None:
    async with house(tmp_path, "much", timeout=30) as (_, client):
        reply = await client.call(request("POST", invoke_path(), b"3"))
        assert (reply.status, len(reply.body)) == (200, 3 * 65536)
        assert reply.headers["content-type"] == "application/json"
        reply = await client.call(request("POST", invoke_path(), b"100"))
        assert json.loads(reply.body)["errorType"] == "Function.ResponseSizeTooLarge"


@story
async def test_a_slow_caller_slows_the_function_down_and_nothing_piles_up(tmp_path: Path) -> None:
    """64 KB at a time, 40 MB in all; while the caller reads nothing the function can't write on."""
    async with house(tmp_path, "much", pace=Pace(SystemClock(), burst=1 << 30), timeout=60) as (_, client):
        answer = await streaming(client, stream(b"640"))
        written = tmp_path / "written"
        await until(written.exists, "it writes")
        before = -1
        async with asyncio.timeout(20):
            while before != (now := int(written.read_text())):
                before = now  # something is still on its way
                await asyncio.sleep(0.5)
        assert before < 320, "what the kernel's buffers and ours hold, and no more"
        assert await answer.end() == {}
        assert answer.payload == b"0123456789abcdef" * 4096 * 640


@story
async def test_a_hundred_megabytes_pass_through_in_a_few(tmp_path: Path) -> None:
    """The service, this test and its slow caller are one process here: none of it may grow with the stream."""
    pace = Pace(SystemClock(), burst=1 << 30)
    async with house(tmp_path, "much", pace=pace, timeout=60) as (_, client):
        await (await streaming(client, stream(b"1"))).end()
        before = highest = resident()
        answer = await streaming(client, stream(b"1600"))
        size = 0
        while await answer.more():
            size += len(answer.payload)
            answer.payload.clear()
            highest = max(highest, resident())
            await asyncio.sleep(0.0005)
        assert (size, answer.complete) == (1600 * 65536, {})
        assert highest - before < 16, "megabytes"


def resident() -> float:
    """Megabytes of this process."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1048576


@story
async def test_a_stream_goes_no_faster_than_its_pace(tmp_path: Path) -> None:
    pace = Pace(SystemClock(), burst=200_000, rate=1_000_000)
    async with house(tmp_path, "much", pace=pace, timeout=30) as (_, client):
        loop = asyncio.get_running_loop()
        began = loop.time()
        answer = await streaming(client, stream(b"16"))
        assert await answer.end() == {}
        took = loop.time() - began
        assert len(answer.payload) == 1_048_576
        assert 0.75 < took < 5


@story
async def test_a_caller_who_hangs_up_ends_nothing(tmp_path: Path) -> None:
    async with house(tmp_path, "much", timeout=60) as (made, _):
        client = await Client.connect(made.port)
        answer = await streaming(client, stream(b"400"))
        await answer.more()
        await client.close()
        written = tmp_path / "written"
        await until(lambda: written.exists() and written.read_text() == "400", "the function has written it all")
        await until(lambda: not made.limits.running, "its invocation is over")
        assert made.door.in_hand == 0
        async with made.client() as another:
            await (await streaming(another, stream(b"1"))).end()
        assert len(made.sandboxes.started) == 1


@story
async def test_a_caller_who_hangs_up_before_the_first_byte_ends_nothing_either(tmp_path: Path) -> None:
    async with house(tmp_path, "crash", timeout=60) as (made, _):
        client = await Client.connect(made.port)
        client.send(stream())
        await until(lambda: made.limits.running, "it runs")
        await client.close()
        assert made.limits.running
        go(tmp_path)
        await until(lambda: not made.limits.running, "its invocation is over")


@story
async def test_a_caller_who_takes_nothing_is_hung_up_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection_limits, "WRITE_TICKS", 1)
    async with house(tmp_path, "much", pace=Pace(SystemClock(), burst=1 << 30), timeout=60) as (made, client):
        await streaming(client, stream(b"640"))
        await until(lambda: (tmp_path / "written").exists() and not made.limits.running, "the function goes on")
        assert (tmp_path / "written").read_text() == "640"


REFUSED = {
    "unknown": (stream(name="doesnotexist"), 404, "ResourceNotFoundException"),
    "another type": (stream(X_Amz_Invocation_Type="Event"), 400, "ValidationException"),
    "another log type": (stream(X_Amz_Log_Type="Head"), 400, "ValidationException"),
    "a tenant": (stream(X_Amz_Tenant_Id="someone"), 400, "InvalidParameterValueException"),
    "context": (stream(X_Amz_Client_Context="bm90IGpzb24="), 400, "InvalidRequestContentException"),
    "two qualifiers": (stream(name="f:$LATEST", query="Qualifier=1"), 400, "InvalidParameterValueException"),
    "no json": (stream(b"test"), 400, "InvalidRequestContentException"),
    "too large": (stream(b'"' + b"x" * 6_291_556 + b'"'), 413, "RequestTooLargeException"),
}


@pytest.mark.parametrize("case", REFUSED)
@story
async def test_what_is_wrong_is_refused_before_the_first_byte(tmp_path: Path, case: str) -> None:
    data, status, code = REFUSED[case]
    async with house(tmp_path, "whole") as (made, client):
        reply = await client.call(data)
        assert (reply.status, reply.headers["x-amzn-errortype"]) == (status, code)
        assert reply.headers["content-type"] == "application/json"
        assert message(reply.body)
        assert made.sandboxes.started == []


@story
async def test_a_dry_run_runs_nothing(tmp_path: Path) -> None:
    async with house(tmp_path, "whole") as (made, client):
        reply = await client.call(stream(X_Amz_Invocation_Type="DryRun"))
        assert (reply.status, reply.body) == (204, b"")
        assert made.sandboxes.started == []


@story
async def test_a_throttle_and_a_lack_of_room_are_refusals_too(tmp_path: Path) -> None:
    async with House(tmp_path, limit=1, command=STREAMING) as made, made.client() as one, made.client() as two:
        made.deploy(SOURCE, handler="pieces", timeout=30)
        answer = await streaming(one, stream(b'["one"]'))
        reply = await two.call(stream())
        assert (reply.status, json.loads(reply.body)["Reason"]) == (429, "ConcurrentInvocationLimitExceeded")
        go(tmp_path)
        assert await answer.end() == {}
        await until(lambda: not made.limits.running, "it is over")
        made.store.put(version(generation=2))
        made.sandboxes.broken = "the kernel has no room"
        assert (await two.call(stream())).status == 500


@story
async def test_a_service_that_stops_ends_its_streams(tmp_path: Path) -> None:
    async with house(tmp_path, "hang", timeout=60) as (made, client):
        answer = await streaming(client, stream(b"true"))
        await answer.until(b"some")
        assert await made.door.drain(0.1) == 1
        await client.closed()
        await until(lambda: made.sandboxes.started[0].ended, "the function is not left running")


@story
async def test_an_environment_that_is_lost_in_mid_stream_ends_it_as_our_fault(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with house(tmp_path, "hang", timeout=60) as (made, client):
        answer = await streaming(client, stream(b"true"))
        await answer.until(b"some")
        await made.worker.close()
        complete = await answer.end()
        assert complete["ErrorCode"] == "ServiceException"
        assert f"request {answer.headers['x-amzn-requestid']}: the environment was lost" in caplog.text


@story
async def test_a_client_of_http_1_0_gets_the_events_and_then_the_end(tmp_path: Path) -> None:
    async with house(tmp_path, "fail") as (_, client):
        client.send(stream().replace(b"HTTP/1.1", b"HTTP/1.0"))
        received = await client.closed()
        head, _, body = received.partition(b"\r\n\r\n")
        assert b"Transfer-Encoding" not in head
        assert b"PayloadChunk" in body
        assert b"in the middle" in body


@story
async def test_what_is_sent_behind_a_stream_is_answered_after_it(tmp_path: Path) -> None:
    async with house(tmp_path, "whole") as (_, client):
        answer = await streaming(client, stream(b"1") + stream(b"2"))
        await answer.end()
        again: Streaming = await streaming(client, b"")
        assert (await again.end(), again.payload) == ({}, b"2")
