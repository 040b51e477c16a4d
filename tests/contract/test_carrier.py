"""The carrier and who has it carry, here in one process so that its time can be turned: slow and vanishing senders and
takers, hostile runtimes, and that nothing of them stays."""

import asyncio
import errno
import hashlib
import json
import os
import socket
import subprocess
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import pytest

from lamplighter.bodies import carrying
from lamplighter.bodies.carrier import ProcessCarrier
from lamplighter.bodies.carrying import Carrying
from lamplighter.bodies.messages import PACKET, Channel, Kind, Message
from lamplighter.model.parcels import CarrierLost, Parcel, TooSlow, worth_carrying
from lamplighter.worker.runtime_api import RuntimeApi
from lamplighter.worker.runtime_connection import Connection
from support.front_door import House, invoke_path
from support.raw_http import request
from support.sandbox_server import story, until
from support.wires import Wire

ECHO = "def handler(event, context):\n    return event\n"
LARGE = json.dumps("a" * 3_000_000).encode()


class Here(ProcessCarrier):
    """Has what it carries carried in this process."""

    def __init__(self) -> None:
        super().__init__()
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        loop = asyncio.get_running_loop()
        self.other = Channel(theirs, loop)
        self.carrying = Carrying(self.other, loop)
        self.use(ours)

    @property
    def keeps(self) -> int:
        return self.carrying.kept

    def die(self) -> None:
        self.other.close()
        self.carrying.stop()


@asynccontextmanager
async def here() -> AsyncGenerator[Here]:
    carrier = Here()
    try:
        yield carrier
        await until(lambda: not carrier.keeps, "nothing is kept")
    finally:
        carrier.die()


@asynccontextmanager
async def pair() -> AsyncGenerator[tuple[asyncio.Transport, socket.socket]]:
    """A connection of ours, and its other end."""
    ours, other = socket.socketpair()
    other.setblocking(False)
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_connection(asyncio.Protocol, sock=ours)
    transport.pause_reading()
    try:
        yield transport, other
    finally:
        transport.abort()
        other.close()


async def taken(carrier: Here, body: bytes, first: int) -> Parcel:
    async with pair() as (transport, other):
        done = carrier.take(transport, body[:first], len(body) - first, True)
        await asyncio.get_running_loop().sock_sendall(other, body[first:])
        return await done


def test_only_what_is_large_and_has_hardly_begun_is_worth_carrying() -> None:
    assert worth_carrying(0, 6_000_000)
    assert worth_carrying(262_144, 2_000_000)
    assert not worth_carrying(0, 1_000_000)
    assert not worth_carrying(5_000_000, 1_200_000)
    assert not worth_carrying(6_000_000, 0)


@pytest.mark.parametrize("first", [0, 1, PACKET - 1, PACKET, PACKET + 1, 2 * PACKET, 262_144])
@story
async def test_whatever_was_read_before_a_parcel_is_the_whole(first: int) -> None:
    body = b'"' + os.urandom(1_500_000).hex().encode() + b'"'
    async with here() as carrier:
        parcel = await taken(carrier, body, first)
        assert (len(parcel), parcel.digest, parcel.is_json) == (len(body), hashlib.sha256(body).hexdigest(), True)
        assert await parcel.fetch() == body
        async with pair() as (transport, other):
            put = parcel.put(transport, b"head", True)
            got = b""
            while len(got) < len(body) + 4:
                got += await asyncio.get_running_loop().sock_recv(other, 1 << 20)
            await put
        assert got == b"head" + body
        del parcel


@story
async def test_a_head_of_any_length_goes_before_a_parcel() -> None:
    """Also one that a guest has made long, by what it asked for before; others' payloads go on."""
    head = os.urandom(20 * PACKET + 7)
    async with here() as carrier:
        parcel = await taken(carrier, LARGE, 10)
        async with pair() as (transport, other):
            put = parcel.put(transport, head, True)
            got = b""
            while len(got) < len(head) + len(LARGE):
                got += await asyncio.get_running_loop().sock_recv(other, 1 << 20)
            await put
        assert got == head + LARGE
        assert await parcel.fetch() == LARGE
        del parcel


@story
async def test_what_can_not_be_said_breaks_the_line_and_is_told_to_whoever_waits(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*_: object) -> int:
        raise OSError(errno.ETOOMANYREFS, "too many descriptors on their way")

    async with pair() as (transport, _):
        carrier = Here()
        with monkeypatch.context() as patched:
            patched.setattr(socket, "send_fds", refuse)
            taking = carrier.take(transport, b"", 2_000_000, True)
        with pytest.raises(CarrierLost):
            await taking
        carrier.die()


@story
async def test_a_parcel_may_be_collected_in_any_thread() -> None:
    async with here() as carrier:
        held = [await taken(carrier, LARGE, 10)]
        await asyncio.to_thread(held.clear)
        await until(lambda: not carrier.keeps, "it is dropped")


def test_confined_processes_are_never_more_pressing_than_who_starts_them() -> None:
    code = (
        "import os; from lamplighter.sandbox.confinement import confine; os.nice(12); confine(0);"
        "print(os.getpriority(os.PRIO_PROCESS, 0))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "12\n"


@story
async def test_a_parcel_that_is_no_json_says_so() -> None:
    async with here() as carrier:
        assert not (await taken(carrier, b'"' + b"x" * 2_000_000, 10)).is_json


@story
async def test_who_hangs_up_while_it_sends_is_told() -> None:
    async with here() as carrier, pair() as (transport, other):
        done = carrier.take(transport, b"", 2_000_000, True)
        await asyncio.get_running_loop().sock_sendall(other, b"x" * 100_000)
        other.close()
        with pytest.raises(CarrierLost):
            await done


@story
async def test_who_sends_too_slowly_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(carrying, "TICK", 0.01)
    async with here() as carrier, pair() as (transport, other):
        done = carrier.take(transport, b"", 2_000_000, True)
        await asyncio.get_running_loop().sock_sendall(other, b"x" * 1000)
        with pytest.raises(TooSlow):
            await done


@story
async def test_who_takes_nothing_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(carrying, "TICK", 0.01)
    async with here() as carrier:
        parcel = await taken(carrier, LARGE, 10)
        async with pair() as (transport, _):
            with pytest.raises(TooSlow):
                await parcel.put(transport, b"", True)
        del parcel


@story
async def test_a_function_may_take_all_the_time_it_has(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(carrying, "TICK", 0.001)
    async with here() as carrier:
        parcel = await taken(carrier, LARGE, 10)
        async with pair() as (transport, other):
            put = parcel.put(transport, b"", False)
            for _ in range(200):
                await asyncio.sleep(0.001)
            assert not put.done()
            got = 0
            while got < len(LARGE):
                got += len(await asyncio.get_running_loop().sock_recv(other, 1 << 20))
            await put
        del parcel


@story
async def test_what_nobody_waits_for_any_more_is_dropped() -> None:
    async with here() as carrier, pair() as (transport, other):
        done = carrier.take(transport, b"x" * 200_000, 2_000_000, True)
        await asyncio.get_running_loop().sock_sendall(other, b"x" * 100_000)
        await until(lambda: carrier.keeps, "it is on its way")
        done.cancel()
        await until(lambda: not carrier.keeps, "it is gone")


@story
async def test_what_is_cancelled_as_it_is_done_is_dropped() -> None:
    async with here() as carrier:
        for turns in range(12):
            async with pair() as (transport, other):
                done = carrier.take(transport, b"", 1_200_000, False)
                await asyncio.get_running_loop().sock_sendall(other, b"x" * 1_200_000)
                for _ in range(turns):
                    await asyncio.sleep(0)
                done.cancel()
                del done
        await until(lambda: not carrier.keeps, "nothing is kept")


@story
async def test_when_it_dies_everything_that_it_has_is_told_to_be_lost() -> None:
    carrier = Here()
    parcel = await taken(carrier, LARGE, 10)
    async with pair() as (transport, _), pair() as (another, _):
        taking = carrier.take(transport, b"", 2_000_000, True)
        putting = parcel.put(another, b"", True)
        await asyncio.sleep(0)
        carrier.die()
        for lost in (taking, putting, parcel.put(another, b"", True)):
            with pytest.raises(CarrierLost):
                await lost
        with pytest.raises(CarrierLost):
            await parcel.fetch()
    del parcel  # says so to nobody


@story
async def test_one_that_has_just_died_is_given_nothing_more() -> None:
    carrier = Here()
    assert carrier.stands()
    carrier.die()
    assert not carrier.stands()  # before the loop has heard of it
    await until(carrier.stands, "another does")
    parcel = await taken(carrier, LARGE, 10)
    assert await parcel.fetch() == LARGE
    del parcel
    await carrier.close()


@story
async def test_a_packet_that_lost_its_descriptor_is_answered() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    loop = asyncio.get_running_loop()
    heard: list[Message] = []
    channel, other = Channel(ours, loop), Channel(theirs, loop)
    carrying_it = Carrying(other, loop)
    channel.follow(lambda message, _: heard.append(message), lambda: None)
    channel.send(Message(Kind.FIRST, 7, behind=b"x"))
    channel.send(Message(Kind.TAKE, 7, 100))
    await until(lambda: heard, "it answers")
    assert heard == [Message(Kind.LOST, 7)]
    assert not carrying_it.kept
    carrying_it.stop()
    channel.close()
    other.close()


@story
async def test_a_caller_that_sends_a_large_event_too_slowly_gets_408(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with here() as carrier, House(tmp_path, carrier=carrier) as house, house.client() as client:
        monkeypatch.setattr(carrying, "TICK", 0.01)
        client.send(request("POST", invoke_path(), LARGE)[:100_000])
        reply = await client.reply()
        assert (reply.status, reply.headers["connection"]) == (408, "close")
        assert house.door.room == 1 << 30


@story
async def test_a_caller_that_takes_nothing_of_a_large_answer_is_hung_up_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with here() as carrier, House(tmp_path, carrier=carrier) as house:
        house.deploy("def handler(event, context):\n    return 'x' * 5_000_000\n", timeout=60)
        deaf = socket.create_connection(("127.0.0.1", house.port))
        with deaf:
            deaf.send(request("POST", invoke_path()))
            await until(lambda: carrier.keeps, "its answer is there")
            monkeypatch.setattr(carrying, "TICK", 0.01)
            await until(lambda: not house.door.connections, "hung up")
        assert house.door.in_hand == 0


@story
async def test_a_large_event_and_answer_go_by_the_carrier(tmp_path: Path) -> None:
    async with here() as carrier, House(tmp_path, carrier=carrier) as house, house.client() as client:
        house.deploy(ECHO)
        for _ in range(3):
            assert (await client.call(request("POST", invoke_path(), LARGE))).body == LARGE
        assert carrier.carrying.carried == 6
        assert (await client.call(request("POST", invoke_path(), b"1"))).body == b"1"
        assert len(house.sandboxes.started) == 1


@story
async def test_whoever_wants_its_connection_closed_has_it_closed_after_a_large_answer(tmp_path: Path) -> None:
    async with here() as carrier, House(tmp_path, carrier=carrier) as house, house.client() as client:
        house.deploy(ECHO)
        reply = await client.call(request("POST", invoke_path(), LARGE, Connection="close"))
        assert (reply.body, reply.headers["connection"]) == (LARGE, "close")
        assert await client.closed() == b""
        assert carrier.carrying.carried == 2


CLOSING = """
import http.client, os, sys
api = os.environ["AWS_LAMBDA_RUNTIME_API"]
while True:
    def call(method, path, body=None):
        connection = http.client.HTTPConnection(api)
        connection.request(method, "/2018-06-01/runtime/invocation/" + path, body, {"Connection": "close"})
        answer = connection.getresponse()
        return answer.headers["Lambda-Runtime-Aws-Request-Id"], answer.read()
    request_id, event = call("GET", "next")
    call("POST", request_id + "/response", event)
"""


@story
async def test_a_runtime_that_closes_each_connection_is_given_large_events_and_answers_them(tmp_path: Path) -> None:
    command = (sys.executable, "-c", CLOSING)
    async with here() as carrier, House(tmp_path, carrier=carrier, command=command) as house, house.client() as client:
        house.deploy(ECHO)
        for _ in range(3):
            assert (await client.call(request("POST", invoke_path(), LARGE))).body == LARGE
        assert carrier.carrying.carried == 6


class Full(Wire):
    """A guest's connection that has something to write yet, for as many looks."""

    def __init__(self, looks: int) -> None:
        super().__init__()
        self.looks = looks

    def get_write_buffer_size(self) -> int:
        self.looks -= 1
        return int(self.looks >= 0)


class Noted:
    """Stands for a parcel."""

    def __init__(self) -> None:
        self.heads: list[bytes] = []

    def put(self, transport: object, head: bytes, caller: bool) -> "asyncio.Future[None]":
        self.heads.append(head)
        return asyncio.get_running_loop().create_future()


class Listening:
    def asked(self) -> None:
        """For its event."""

    def read(self) -> None:
        """All that has come so far is told."""


@pytest.mark.parametrize(("looks", "given"), [(0, True), (3, True), (1000, False)])
@story
async def test_a_large_event_goes_behind_what_was_written_before_and_to_nobody_who_does_not_read_that(
    looks: int, given: bool
) -> None:
    api, wire, parcel = RuntimeApi(cast(Any, Listening())), Full(looks), Noted()
    connection = Connection(api)
    connection.connection_made(cast(Any, wire))
    connection.data_received(b"GET /2018-06-01/runtime/invocation/next HTTP/1.1\r\nHost: x\r\n\r\n")
    api.give("1", b"head", cast(Any, parcel))
    await until(lambda: parcel.heads or wire.closed, "it is given, or hung up on")
    assert (parcel.heads, wire.closed) == (([b"head"], False) if given else ([], True))


@story
async def test_who_waits_to_be_asked_for_a_large_event_is(tmp_path: Path) -> None:
    async with here() as carrier, House(tmp_path, carrier=carrier) as house, house.client() as client:
        house.deploy(ECHO)
        whole = request("POST", invoke_path(), LARGE, Expect="100-continue")
        client.send(whole[: -len(LARGE)])
        assert await client.reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        client.send(LARGE)
        assert (await client.reply()).body == LARGE
        assert carrier.carrying.carried == 2


@story
async def test_a_body_that_is_twice_too_large_is_not_carried(tmp_path: Path) -> None:
    async with here() as carrier, House(tmp_path, carrier=carrier) as house, house.client() as client:
        house.deploy(ECHO)
        client.send(request("POST", invoke_path(), LARGE * 4)[:100_000])
        assert (await client.reply()).status == 413
        assert not carrier.carrying.carried


@story
async def test_a_drain_waits_for_a_large_answer_to_be_taken(tmp_path: Path) -> None:
    async with here() as carrier, House(tmp_path, carrier=carrier) as house, house.client() as client:
        house.deploy("def handler(event, context):\n    return 'x' * 5_000_000\n", timeout=60)
        client.send(request("POST", invoke_path()))
        await until(lambda: carrier.carrying.carried, "its answer is there")
        draining = asyncio.create_task(house.door.drain(20))
        await asyncio.sleep(0)
        assert len((await client.reply()).body) == 5_000_002
        assert await draining == 0


TWICE = """
import http.client, os, socket, time
def handler(event, context):
    if event == 1:
        return 1
    host, _, port = os.environ["AWS_LAMBDA_RUNTIME_API"].partition(":")
    path = "/2018-06-01/runtime/invocation/" + context["lambda-runtime-aws-request-id"] + "/response"
    head = f"POST {path} HTTP/1.1\\r\\nHost: x\\r\\nContent-Length: 5000000\\r\\n\\r\\n".encode()
    ping = b"GET /2018-06-01/ping HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n"
    held = []
    for before in event:
        held.append(socket.create_connection((host, int(port))))
        held[-1].sendall(ping * before + head + b"x" * 2_000_000)
    time.sleep(0.2)
    return "whole"
"""


@pytest.mark.parametrize("pings", [[0] * 20, [300], [1000, 0, 300]])
@story
async def test_a_runtime_that_sends_many_large_answers_at_once_has_one_of_them_kept(
    tmp_path: Path, pings: list[int]
) -> None:
    async with here() as carrier, House(tmp_path, carrier=carrier) as house, house.client() as client:
        house.deploy(TWICE)
        most = 0

        async def watch() -> None:
            nonlocal most
            while True:
                most = max(most, carrier.keeps)
                await asyncio.sleep(0)

        watching = asyncio.create_task(watch())
        reply = await client.call(request("POST", invoke_path(), json.dumps(pings).encode()))
        watching.cancel()
        assert (reply.status, reply.body) == (200, b'"whole"')
        assert most <= 2  # one that goes and one that comes
        assert (await client.call(request("POST", invoke_path(), b"1"))).body == b"1"
