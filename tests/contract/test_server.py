"""The front door as clients meet it: well-behaved, slow, hasty, wrong and hostile ones."""

import asyncio
import json
import socket
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lamplighter.api import connection as connection_limits
from lamplighter.api.http import Caller, Request, Response
from lamplighter.model.errors import MissingAuthenticationTokenException
from support.front_door import ROOT, House, invoke_path, message
from support.raw_http import Client, request
from support.sandbox_server import story, until

LIST = "/2015-03-31/functions/"
ECHO = "def handler(event, context):\n    return event\n"
SLEEP = "import time\ndef handler(event, context):\n    time.sleep(event)\n    return event\n"


def creation(padding: int) -> bytes:
    members = {
        "FunctionName": "f",
        "Role": "arn:aws:iam::000000000000:role/r",
        "Runtime": "python3.12",
        "Handler": "app.handler",
        "Code": {"ZipFile": "A" * padding},
    }
    return json.dumps(members).encode()


@story
async def test_requests_sent_together_are_answered_in_order(tmp_path: Path) -> None:
    async with House(tmp_path) as house, house.client() as client:
        house.deploy(SLEEP)
        payloads = [b"0.3", b"0", b"0.1", *([b"0"] * 20)]
        client.send(b"".join(request("POST", invoke_path(), payload) for payload in payloads))
        assert [(await client.reply()).body for _ in payloads] == payloads
        assert (await client.call(request("POST", invoke_path(), b"0"))).body == b"0"
        assert len(house.sandboxes.started) == 1


@story
async def test_bytes_that_trickle_in_make_the_same_request(tmp_path: Path) -> None:
    async with House(tmp_path) as house, house.client() as client:
        house.deploy(ECHO)
        for byte in request("POST", invoke_path(), b"[1, 2]", X_Amz_Log_Type="None"):
            client.send(bytes([byte]))
            await asyncio.sleep(0)
        assert (await client.reply()).body == b"[1, 2]"


@story
async def test_chunks_are_a_body_too(tmp_path: Path) -> None:
    async with House(tmp_path) as house, house.client() as client:
        house.deploy(ECHO)
        head = f"POST {invoke_path()} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
        assert (await client.call(head + b"2\r\n[1\r\n4;ext=1\r\n, 2]\r\n0\r\nTrailer: x\r\n\r\n")).body == b"[1, 2]"
        client.send(head)
        for _ in range(7):
            client.send(b"f4240\r\n" + b"x" * 1_000_000 + b"\r\n")
        reply = await client.reply()
        assert (reply.status, reply.headers["connection"]) == (413, "close")


@story
async def test_a_client_that_asks_first_is_told_to_go_on_or_not(tmp_path: Path) -> None:
    async with House(tmp_path) as house, house.client() as client:
        house.deploy(ECHO)
        head = request("POST", invoke_path(), b"[1]", Expect="100-continue").removesuffix(b"[1]")
        assert (await client.call(head)).status == 100
        assert (await client.call(b"[1]")).body == b"[1]"
        large = head.replace(b"Content-Length: 3", b"Content-Length: 7000000")
        assert (await client.call(large)).status == 413


@story
async def test_what_is_too_large_is_refused_before_it_is_read(tmp_path: Path) -> None:
    async with House(tmp_path) as house:
        async with house.client() as client:
            client.send(f"POST {LIST} HTTP/1.1\r\nHost: x\r\nContent-Length: 70167212\r\n\r\n".encode())
            reply = await client.reply()
            assert (reply.status, reply.headers["x-amzn-errortype"]) == (413, "RequestEntityTooLargeException")
            assert message(reply.body) == "Request must be smaller than 70167211 bytes for the CreateFunction operation"
            for _ in range(20):  # the refusal is not lost although the client goes on for a while
                client.send(b"x" * 65536)
                await client.writer.drain()
        async with house.client() as client:
            assert (await client.call(request("POST", LIST, creation(9_000_000)))).status == 201


@story
async def test_large_bodies_on_their_way_in_share_what_room_there_is(tmp_path: Path) -> None:
    async with House(tmp_path) as house:
        house.door.room = 100_000
        head = f"POST {LIST} HTTP/1.1\r\nHost: x\r\nContent-Length: 70000\r\n\r\n".encode()
        async with house.client() as first:
            first.send(head + b"x")
            await until(lambda: house.door.room == 30_000, "room is taken")
            async with house.client() as second:
                assert (await second.call(head)).status == 503
            assert (await first.call(b"x" * 69_999)).status == 400  # it was read; it is no JSON
        await until(lambda: house.door.room == 100_000, "room is given back")


@story
async def test_an_operation_gets_what_was_sent_and_its_answer_travels(tmp_path: Path) -> None:
    async with House(tmp_path) as house, house.client() as client:
        reply = await client.call(request("GET", "/2015-03-31/functions/name%3A1?Qualifier=1"))
        call, values = house.calls[0]
        assert (reply.status, values) == (200, {"FunctionName": "name:1", "Qualifier": "1"})
        assert (call.request_id, call.caller, call.endpoint) == (
            reply.headers["x-amzn-requestid"],
            ROOT,
            "http://localhost",
        )
        assert (await client.call(request("GET", "/nowhere"))).status == 403


@story
async def test_a_head_has_a_length_and_no_body(tmp_path: Path) -> None:
    async with House(tmp_path) as house, house.client() as client:
        client.send(request("HEAD", "/nowhere") + request("GET", "/nowhere"))
        head = await client.reader.readuntil(b"\r\n\r\n")
        assert b" 403 " in head
        assert b"Content-Length: 0" not in head
        assert (await client.reply()).status == 403


@story
async def test_who_is_not_known_is_refused_everywhere_but_at_raw_handlers(tmp_path: Path) -> None:
    def nobody(_: Request) -> Caller:
        raise MissingAuthenticationTokenException("Missing Authentication Token")

    async def raw(request: Request) -> Response:
        return Response(200, (("Content-Type", "text/plain"), ("X-Odd", "a\r\nSet-Cookie: b")), request.path.encode())

    async with House(tmp_path, verify=nobody, raw={"/_lamplighter/": raw}) as house, house.client() as client:
        house.deploy(ECHO)
        for data in (request("POST", invoke_path()), request("GET", LIST), request("GET", "/nowhere")):
            assert (await client.call(data)).headers["x-amzn-errortype"] == "MissingAuthenticationTokenException"
        reply = await client.call(request("GET", "/_lamplighter/x?y"))
        assert (reply.body, reply.headers["content-type"]) == (b"/_lamplighter/x", "text/plain")
        assert "set-cookie" not in reply.headers


@story
async def test_a_bug_is_a_500_that_names_the_request_and_the_connection_goes_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with House(tmp_path) as house, house.client() as client:
        reply = await client.call(request("GET", "/2015-03-31/functions/bug"))
        assert (reply.status, reply.headers["x-amzn-errortype"]) == (500, "ServiceException")
        request_id = reply.headers["x-amzn-requestid"]
        assert request_id in message(reply.body)
        assert "ZeroDivisionError" not in reply.body.decode()
        assert f"request {request_id} failed" in caplog.text
        assert "ZeroDivisionError" in caplog.text
        assert (await client.call(request("GET", "/2015-03-31/functions/fine"))).status == 200


MALFORMED: dict[str, tuple[bytes, int]] = {
    "no http": (b"hello\r\n\r\n", 400),
    "tls": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 40, 400),
    "two lengths": (b"POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400),
    "length and chunks": (b"POST / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
    "negative length": (b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n", 400),
    "no path": (b"GET x HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "proxy": (b"CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "large head": (b"GET / HTTP/1.1\r\nX: " + b"x" * 40_000 + b"\r\n\r\n", 431),
    "endless head": (b"GET / HTTP/1.1\r\nX: " + b"x" * 400_000, 431),
}


@pytest.mark.parametrize("case", MALFORMED)
@story
async def test_what_is_not_http_gets_an_answer_and_is_hung_up_on(tmp_path: Path, case: str) -> None:
    data, status = MALFORMED[case]
    async with House(tmp_path) as house, house.client() as client:
        reply = await client.call(data)
        assert (reply.status, reply.headers["connection"]) == (status, "close")
        assert reply.headers["x-amzn-requestid"]
        assert message(reply.body)


@story
async def test_a_malformed_request_waits_for_its_turn(tmp_path: Path) -> None:
    async with House(tmp_path) as house, house.client() as client:
        house.deploy(SLEEP)
        client.send(request("POST", invoke_path(), b"0.2") + b"nonsense\r\n\r\n")
        assert (await client.reply()).body == b"0.2"
        assert (await client.reply()).status == 400


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.binary(max_size=300) | st.binary(max_size=80).map(lambda b: b"GET / HTTP/1.1\r\n" + b))
def test_no_bytes_break_the_front_door(tmp_path: Path, data: bytes) -> None:
    async def throw() -> None:
        async with House(tmp_path) as house:
            async with house.client() as client:
                client.send(data)
                client.writer.write_eof()
                received = await client.closed()
                assert not received or received.startswith(b"HTTP/1.1 ")
                assert b" 500 " not in received
            async with house.client() as client:
                assert (await client.call(request("GET", "/nowhere"))).status == 403

    story(throw)()


@story
async def test_upgrades_are_passed_over(tmp_path: Path) -> None:
    async with House(tmp_path) as house, house.client() as client:
        upgrade = request("GET", "/nowhere", Connection="Upgrade, HTTP2-Settings", Upgrade="h2c", HTTP2_Settings="x")
        client.send(upgrade * 40)
        for _ in range(40):
            assert (await client.reply()).status == 403


@pytest.mark.parametrize(
    ("head", "kept"),
    [
        ("HTTP/1.1\r\nHost: x", True),
        ("HTTP/1.1\r\nHost: x\r\nConnection: close", False),
        ("HTTP/1.0", False),
        ("HTTP/1.0\r\nConnection: keep-alive", True),
    ],
)
@story
async def test_a_connection_is_kept_as_the_client_wishes(tmp_path: Path, head: str, kept: bool) -> None:
    async with House(tmp_path) as house, house.client() as client:
        reply = await client.call(f"GET /nowhere {head}\r\n\r\n".encode())
        if kept:
            assert "close" not in reply.headers.get("connection", "")
            assert (await client.call(request("GET", "/nowhere"))).status == 403
        else:
            assert reply.headers["connection"] == "close"
            assert await client.closed() == b""


@story
async def test_an_invocation_goes_on_when_its_caller_hangs_up(tmp_path: Path) -> None:
    async with House(tmp_path) as house:
        done = tmp_path / "done"
        house.deploy(f"import time\ndef handler(event, context):\n    time.sleep(0.3)\n    open({str(done)!r}, 'w')\n")
        client = await Client.connect(house.port)
        client.send(request("POST", invoke_path()))
        await until(lambda: house.limits.running, "it runs")
        await client.close()
        await until(done.exists, "it ran to its end")
        await until(lambda: not house.limits.running, "it was counted to its end")
        async with house.client() as client:
            await client.call(request("POST", invoke_path()))
        assert len(house.sandboxes.started) == 1


@story
async def test_a_client_that_has_said_all_still_gets_its_answer(tmp_path: Path) -> None:
    async with House(tmp_path) as house, house.client() as client:
        house.deploy(SLEEP)
        client.send(request("POST", invoke_path(), b"0.2"))
        client.writer.write_eof()
        assert (await client.reply()).body == b"0.2"
        assert await client.closed() == b""


@story
async def test_who_hung_up_in_the_middle_of_an_invocation_leaves_no_connection_behind(tmp_path: Path) -> None:
    async with House(tmp_path) as house:
        house.deploy(SLEEP)
        client = await Client.connect(house.port)
        client.send(request("POST", invoke_path(), b"0.2"))
        await until(lambda: house.limits.running, "it runs")
        await client.close()
        await until(lambda: not house.door.connections, "its connection is closed once it is answered")


SLOW: dict[str, tuple[bytes, int, bytes]] = {
    "idle": (b"", connection_limits.IDLE_TICKS, b""),
    "head": (b"GET / HTTP/1.1\r\nHo", connection_limits.HEAD_TICKS, b"HTTP/1.1 408 "),
    "body": (b"POST / HTTP/1.1\r\nContent-Length: 90\r\n\r\nx", connection_limits.BODY_TICKS, b"HTTP/1.1 408 "),
}


@pytest.mark.parametrize("case", SLOW)
@story
async def test_whoever_is_too_slow_is_hung_up_on_after_so_many_seconds(tmp_path: Path, case: str) -> None:
    data, seconds, last_words = SLOW[case]
    async with House(tmp_path) as house, house.client() as client:
        client.send(data)
        await until(lambda: house.door.connections, "connected")
        if data:
            await asyncio.sleep(0.05)
        (connection,) = house.door.connections
        for _ in range(seconds):
            connection.tick()
        assert house.door.connections
        for _ in range(2 + connection_limits.LINGER_TICKS):
            connection.tick()
        assert (await client.closed())[: len(last_words)] == last_words
        await until(lambda: not house.door.connections, "hung up")


@story
async def test_an_invocation_may_take_longer_than_any_clients_deadline(tmp_path: Path) -> None:
    async with House(tmp_path) as house, house.client() as client:
        house.deploy(SLEEP)
        client.send(request("POST", invoke_path(), b"0.3"))
        await until(lambda: house.limits.running, "it runs")
        (connection,) = house.door.connections
        for _ in range(1000):
            connection.tick()
        assert (await client.reply()).body == b"0.3"


@story
async def test_a_client_that_takes_nothing_is_not_given_more(tmp_path: Path) -> None:
    async with House(tmp_path) as house:
        house.deploy("def handler(event, context):\n    return 'x' * 5_000_000\n", timeout=60)
        deaf = socket.create_connection(("127.0.0.1", house.port))
        try:
            deaf.setblocking(False)
            deaf.send(request("POST", invoke_path()) * 30)
            await until(lambda: house.limits.running or house.sandboxes.started, "the first runs")
            await until(lambda: house.door.in_hand == 0, "it waits for the client")
            (connection,) = house.door.connections
            for _ in range(connection_limits.WRITE_TICKS + 1):
                connection.tick()
            await until(lambda: not house.door.connections, "hung up")
        finally:
            deaf.close()


@story
async def test_a_drain_lets_what_runs_finish_and_takes_nothing_new(tmp_path: Path) -> None:
    async with House(tmp_path) as house, house.client() as busy, house.client() as idle:
        house.deploy(SLEEP)
        busy.send(request("POST", invoke_path(), b"0.4"))
        await until(lambda: house.limits.running, "it runs")
        draining = asyncio.create_task(house.door.drain(20))
        assert await idle.closed() == b""
        reply = await busy.reply()
        assert (reply.body, reply.headers["connection"]) == (b"0.4", "close")
        assert await draining == 0
        with pytest.raises(OSError):
            await Client.connect(house.port)


@story
async def test_a_drain_has_its_limit(tmp_path: Path) -> None:
    async with House(tmp_path) as house, house.client() as busy:
        house.deploy(SLEEP, timeout=60)
        busy.send(request("POST", invoke_path(), b"60"))
        await until(lambda: house.limits.running, "it runs")
        assert await house.door.drain(0.1) == 1
        assert await busy.closed() == b""


@story
async def test_large_heads_one_after_the_other_do_not_add_up(tmp_path: Path) -> None:
    async with House(tmp_path) as house, house.client() as client:
        for _ in range(5):
            assert (await client.call(request("GET", "/nowhere", X="x" * 30_000))).status == 403


@story
async def test_hundreds_of_refusals_in_one_go_are_all_sent(tmp_path: Path) -> None:
    async with House(tmp_path) as house, house.client() as client:
        house.deploy(ECHO)
        await client.call(request("POST", invoke_path(), b"1"))
        client.send(request("POST", invoke_path(), b"no json") * 1000)
        for _ in range(1000):
            assert (await client.reply()).status == 400
