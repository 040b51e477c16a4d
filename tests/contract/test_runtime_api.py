"""The Runtime API as a hostile or clumsy guest sees it (AWS: spec 3.3), byte by byte."""

import asyncio
import base64
import json
import socket
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest

from lamplighter.worker.runtime_api import RuntimeApi
from lamplighter.worker.stream import Stream
from lamplighter.worker.telemetry_api import Refused
from lamplighter.worker.telemetry_subscription import BODY_LIMIT
from support.raw_http import Client, Reply, request
from support.sandbox_server import story, until

ID = "8a6f3f3c-0000-4000-8000-000000000001"
ROOT = "/2018-06-01/runtime"
NEXT = request("GET", f"{ROOT}/invocation/next")
HEAD = b"HTTP/1.1 200 OK\r\nLambda-Runtime-Aws-Request-Id: %s\r\nContent-Length: 2\r\n\r\n" % ID.encode()


def answer(body: bytes, verb: str = "response", request_id: str = ID, **headers: str) -> bytes:
    return request("POST", f"{ROOT}/invocation/{request_id}/{verb}", body, **headers)


class Guest:
    """The listener that stands in for an environment, and the port that a guest finds."""

    def __init__(self) -> None:
        self.heard: list[tuple[object, ...]] = []
        self.heard_by_then = 0
        self.api = RuntimeApi(self)
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.socket.setblocking(False)
        self.port: int = self.socket.getsockname()[1]

    def asked(self) -> None:
        self.heard.append(("asked",))

    def explained(self, cause: bytes) -> None:
        self.heard.append(("explained", cause))

    def answered(self, body: bytes | list[bytes], failed: bool) -> None:
        self.heard.append(("failed" if failed else "answered", body if isinstance(body, bytes) else b"".join(body)))

    def answer_too_large(self) -> None:
        self.heard.append(("too large",))

    def streamed(self, error: tuple[str, bytes] | None) -> None:
        self.heard.append(("streamed", error))

    def broke_off(self) -> None:
        self.heard.append(("broke off",))

    def init_failed(self, body: bytes, error_type: str) -> None:
        self.heard.append(("init failed", body, error_type))

    def subscribe(self, api: str, identifier: str, body: bytes) -> None:
        self.heard.append((api, identifier, body))
        if body == b"wrong":
            raise Refused(400, "ValidationError", "wrong")

    def read(self) -> None:
        self.heard_by_then = len(self.heard)

    def give(self, stream: Stream | None = None) -> None:
        self.api.give(ID, HEAD, b"{}", stream)

    @asynccontextmanager
    async def client(self) -> AsyncGenerator[Client]:
        client = await Client.connect(self.port)
        try:
            yield client
        finally:
            await client.close()


@asynccontextmanager
async def guest() -> AsyncGenerator[Guest]:
    made = Guest()
    await made.api.open(made.socket)
    try:
        yield made
    finally:
        made.api.close()
        await made.api.hung_up()
        made.socket.close()


@asynccontextmanager
async def invoked(stream: Stream | None = None) -> AsyncGenerator[tuple[Guest, Client]]:
    """A guest that has an event."""
    async with guest() as made, made.client() as client:
        client.send(NEXT)
        await until(lambda: made.heard, "it asked")
        made.give(stream)
        assert (await client.reply()).body == b"{}"
        yield made, client


def refused(reply: Reply) -> tuple[int, str, str]:
    described = json.loads(reply.body)
    return reply.status, described["errorType"], described["errorMessage"]


@story
async def test_an_event_is_given_to_whoever_asks_and_answered_with_202() -> None:
    async with invoked() as (made, client):
        reply = await client.call(answer(b'{"a":1}'))
        assert (reply.status, reply.body) == (202, b'{"status":"OK"}')
        assert made.heard == [("asked",), ("answered", b'{"a":1}')]


@story
async def test_an_answer_and_the_next_question_in_one_go_are_replied_to_together() -> None:
    async with invoked() as (made, client):
        client.send(answer(b"1") + NEXT)
        await until(lambda: len(made.heard) == 3, "it asked again")
        made.give()
        assert (await client.reply()).status == 202
        assert (await client.reply()).body == b"{}"


@story
async def test_an_event_waits_for_a_runtime_that_has_gone_away_meanwhile() -> None:
    async with guest() as made:
        async with made.client() as client:
            client.send(NEXT)
            await until(lambda: made.api.waiting, "it waits")
        await until(lambda: not made.api.waiting, "it is gone")
        made.give()
        async with made.client() as client:
            assert (await client.call(NEXT)).body == b"{}"


NOT_ALLOWED = "State transition from {} to {} failed for runtime. Error: State transition is not allowed"


@story
async def test_what_is_out_of_turn_is_refused() -> None:
    async with guest() as made, made.client() as client:
        wrong = (403, "InvalidStateTransition")
        early = await client.call(request("POST", f"{ROOT}/invocation//response", b"1"))
        assert refused(early) == (*wrong, NOT_ALLOWED.format("Started", "InvocationResponse"))
        client.send(NEXT)
        await until(lambda: made.heard, "it asked")
        made.give()
        await client.reply()
        again = await client.call(NEXT)
        assert refused(again) == (*wrong, NOT_ALLOWED.format("Running", "Ready"))
        late = await client.call(request("POST", f"{ROOT}/init/error", b"{}"))
        assert refused(late) == (*wrong, NOT_ALLOWED.format("Running", "InitError"))
        restored = await client.call(request("GET", f"{ROOT}/restore/next"))
        assert refused(restored) == (*wrong, NOT_ALLOWED.format("Running", "Restoring"))
        assert (await client.call(answer(b"1"))).status == 202
        twice = await client.call(answer(b"2"))
        assert refused(twice) == (*wrong, NOT_ALLOWED.format("ResponseSent", "InvocationResponse"))
        error = await client.call(answer(b"3", "error"))
        assert refused(error) == (*wrong, NOT_ALLOWED.format("ResponseSent", "InvocationErrorResponse"))
        assert made.heard == [("asked",), ("answered", b"1")]


@story
async def test_an_answer_to_another_request_is_refused() -> None:
    async with invoked() as (_, client):
        reply = await client.call(answer(b"1", request_id=ID[:-1] + "2"))
        assert refused(reply) == (400, "InvalidRequestID", "Invalid request ID")
        assert (await client.call(answer(b"1"))).status == 202


@story
async def test_an_init_error_ends_the_conversation() -> None:
    async with guest() as made, made.client() as client:
        error = request("POST", f"{ROOT}/init/error", b'{"x":1}', **{"Lambda-Runtime-Function-Error-Type": "Runtime.X"})
        assert (await client.call(error)).status == 202
        assert made.heard == [("init failed", b'{"x":1}', "Runtime.X")]
        assert (await client.call(NEXT)).status == 403


LIMIT = 6_291_556


@pytest.mark.parametrize("chunked", [False, True])
@story
async def test_a_response_may_be_six_megabytes_and_no_more(chunked: bool) -> None:
    async def post(client: Client, size: int) -> Reply:
        if not chunked:
            return await client.call(answer(b"x" * size))
        client.send(f"POST {ROOT}/invocation/{ID}/response HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n".encode())
        for at in range(0, size, 100_000):
            piece = b"x" * min(100_000, size - at)
            client.send(b"%x\r\n%b\r\n" % (len(piece), piece))
        return await client.call(b"0\r\n\r\n")

    async with invoked() as (made, client):
        assert (await post(client, LIMIT)).status == 202
        assert made.heard[1] == ("answered", b"x" * LIMIT)
    async with invoked() as (made, client):
        message = f"Exceeded maximum allowed payload size ({LIMIT} bytes)."
        assert refused(await post(client, LIMIT + 1)) == (413, "RequestEntityTooLarge", message)
        assert made.heard == [("asked",), ("too large",)]
        client.send(NEXT)
        await until(lambda: made.heard[-1] == ("asked",), "it goes on")


@story
async def test_a_client_that_expects_to_be_asked_for_its_body_is() -> None:
    async with invoked() as (_, client):
        head, _, body = answer(b"1", Expect="100-continue").partition(b"\r\n\r\n")
        client.send(head + b"\r\n\r\n")
        assert (await client.reply()).status == 100
        assert (await client.call(body)).status == 202


@story
async def test_a_stream_that_breaks_off_is_the_error_it_announces() -> None:
    async with invoked() as (made, client):
        error = b'{"errorType":"X"}'
        client.send(
            f"POST {ROOT}/invocation/{ID}/response HTTP/1.1\r\nTransfer-Encoding: chunked\r\n"
            "Lambda-Runtime-Function-Response-Mode: streaming\r\n"
            "Trailer: Lambda-Runtime-Function-Error-Type, Lambda-Runtime-Function-Error-Body\r\n\r\n"
            "3\r\nabc\r\n0\r\nLambda-Runtime-Function-Error-Type: Runtime.X\r\n"
            f"Lambda-Runtime-Function-Error-Body: {base64.b64encode(error).decode()}\r\n\r\n".encode()
        )
        assert (await client.reply()).status == 202
        assert made.heard[1] == ("failed", error)


@story
async def test_another_response_mode_is_refused() -> None:
    async with invoked() as (_, client):
        reply = await client.call(answer(b"1", **{"Lambda-Runtime-Function-Response-Mode": "odd"}))
        assert refused(reply)[:2] == (400, "InvalidFunctionResponseMode")


@story
async def test_what_does_not_exist_is_not_found() -> None:
    async with guest() as made, made.client() as client:
        assert (await client.call(request("GET", "/ping"))).body == b"pong"
        assert (await client.call(request("GET", "/"))).status == 404
        assert (await client.call(request("POST", f"{ROOT}/invocation/{ID}/other", b"1"))).status == 404
        assert (await client.call(request("POST", f"{ROOT}/invocation/next"))).status == 405
        assert (await client.call(request("DELETE", "/ping"))).status == 405


MALFORMED = {
    "no http": b"hello\r\n\r\n",
    "both lengths": b"POST / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
    "upgrade": b"GET / HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n",
    "endless head": b"GET / HTTP/1.1\r\nX: " + b"x" * 1_200_000,
}


@pytest.mark.parametrize("data", MALFORMED.values(), ids=MALFORMED.keys())
@story
async def test_what_is_not_http_is_hung_up_on_and_others_go_on(data: bytes) -> None:
    async with invoked() as (made, client), made.client() as bad:
        bad.send(data)
        await bad.closed()
        assert (await client.call(answer(b"1"))).status == 202


@story
async def test_nothing_may_follow_a_question_before_its_event() -> None:
    async with guest() as made, made.client() as client:
        client.send(NEXT + request("GET", "/ping"))
        assert await client.closed() == b""
        assert not made.api.waiting


@story
async def test_a_guest_has_so_many_connections_and_no_more() -> None:
    async with guest() as made:
        clients = [await Client.connect(made.port) for _ in range(40)]
        await until(lambda: len(made.api.connections) == 32, "the rest is closed")
        for client in clients:
            await client.close()


@story
async def test_bodies_that_cannot_be_answers_are_not_kept() -> None:
    """Thirty-one connections that send megabytes each cost nothing but the one that was the last to begin."""
    async with invoked() as (made, client):
        whole = answer(b"x" * 1_000_000)
        halves = [await Client.connect(made.port) for _ in range(5)]
        for half in halves:
            before = made.api.uploading
            half.send(whole[:-1])
            await until(
                lambda before=before: made.api.uploading is not before, "it is taken instead of the earlier one"
            )
        kept = [each for each in made.api.connections if each._body]  # pyright: ignore[reportPrivateUsage]
        assert kept == [made.api.uploading]
        halves[0].send(whole[-1:])
        assert (await halves[0].reply()).status == 400
        assert made.heard == [("asked",)]
        assert (await client.call(answer(b"1"))).status == 202
        for half in halves:
            await half.close()


@story
async def test_an_answer_begun_on_another_connection_does_not_keep_a_whole_one_from_being_taken() -> None:
    async with invoked() as (made, client):
        lost = await Client.connect(made.port)
        lost.send(answer(b"lost" * 1000)[:-1])
        await until(lambda: made.api.uploading is not None, "the first is taken")
        assert (await client.call(answer(b"2"))).status == 202
        assert made.heard[1:] == [("answered", b"2")]
        lost.send(b"t")
        assert (await lost.reply()).status == 403
        await lost.close()


@story
async def test_a_flood_of_idle_calls_is_slowed_down() -> None:
    async with guest() as made, made.client() as client:
        loop = asyncio.get_running_loop()
        began = loop.time()
        client.send(request("GET", "/ping") * 1024)
        for _ in range(1024):
            assert (await client.reply()).status == 200
        client.send(request("GET", "/ping"))
        await client.reply()
        assert round(loop.time() - began, 3) >= 0.1  # its clock counts whole milliseconds


@story
async def test_an_answer_counts_although_nonsense_follows_it() -> None:
    async with invoked() as (made, client):
        client.send(answer(b"1") + b"nonsense\r\n\r\n")
        assert (await client.reply()).status == 202
        assert made.heard[-1] == ("answered", b"1")
        assert made.heard_by_then == 2
        assert (await client.reply()).status == 400


STREAMED = (
    f"POST {ROOT}/invocation/{ID}/response HTTP/1.1\r\nTransfer-Encoding: chunked\r\n"
    "Content-Type: text/plain\r\nLambda-Runtime-Function-Response-Mode: streaming\r\n\r\n"
).encode()


@story
async def test_a_streamed_answer_is_passed_on_while_it_comes() -> None:
    stream = Stream()
    async with invoked(stream) as (made, client):
        client.send(STREAMED)
        await until(lambda: stream.begun, "it has begun")
        assert stream.content_type == "text/plain"
        client.send(b"3\r\nabc\r\n")
        await stream.news()
        await until(lambda: stream.take(10) == b"abc", "it comes through")
        assert made.heard == [("asked",)]
        assert (await client.call(b"0\r\n\r\n")).status == 202
        assert made.heard == [("asked",), ("streamed", None)]
        twice = await client.call(answer(b"2"))
        assert refused(twice)[0] == 403


@story
async def test_a_stream_may_have_a_length_too() -> None:
    stream = Stream()
    async with invoked(stream) as (made, client):
        reply = await client.call(answer(b"abc", **{"Lambda-Runtime-Function-Response-Mode": "streaming"}))
        assert (reply.status, stream.take(10)) == (202, b"abc")
        assert made.heard[1:] == [("streamed", None)]


@story
async def test_who_asks_again_before_its_streams_end_has_come_through_waits_for_it() -> None:
    """Two connections arrive in any order: a runtime that does not wait for our reply must not be refused for it."""
    async with invoked(Stream()) as (made, client), made.client() as other:
        client.send(STREAMED)
        await until(lambda: made.api.uploading, "it streams")
        other.send(NEXT)
        await until(lambda: made.api.waiting, "it has asked")
        assert made.heard == [("asked",)]
        client.send(b"0\r\n\r\n")
        assert (await client.reply()).status == 202
        assert made.heard == [("asked",), ("streamed", None), ("asked",)]
        made.give()
        assert (await other.reply()).body == b"{}"


@story
async def test_a_connection_that_closes_in_mid_stream_has_broken_off() -> None:
    async with invoked(Stream()) as (made, client):
        client.send(STREAMED + b"3\r\nabc\r\n")
        await until(lambda: made.api.uploading, "it streams")
        await client.close()
        await until(lambda: ("broke off",) in made.heard, "it is noticed")
        async with made.client() as other:
            other.send(NEXT)
            await until(lambda: made.heard[-1] == ("asked",), "it goes on")


@story
async def test_trailers_without_end_are_not_kept() -> None:
    async with invoked(Stream()) as (made, client):
        client.send(STREAMED + b"3\r\nabc\r\n0\r\nLambda-Runtime-Function-Error-Body: ")
        for _ in range(20):
            client.send(b"x" * 100_000)
        await client.closed()
        assert ("broke off",) in made.heard


@story
async def test_telemetry_is_subscribed_to_with_a_bounded_body() -> None:
    async with guest() as made, made.client() as client:
        identified = {"Lambda-Extension-Identifier": "some-id"}
        for path, api in (("/2022-07-01/telemetry", "telemetry"), ("/2020-08-15/logs", "logs")):
            reply = await client.call(request("PUT", path, b"{}", **identified))
            assert (reply.status, reply.body) == (200, b'"OK"')
            assert made.heard.pop() == (api, "some-id", b"{}")
            assert refused(await client.call(request("PUT", path, b"wrong"))) == (400, "ValidationError", "wrong")
            made.heard.clear()
            large = await client.call(request("PUT", path, b"x" * (BODY_LIMIT + 1)))
            assert (large.status, made.heard) == (413, [])
            assert (await client.call(request("POST", path, b"{}"))).status == 405
            assert (await client.call(request("GET", path))).status == 405
