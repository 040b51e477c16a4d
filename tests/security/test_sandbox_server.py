"""The server, asked by a service that has been taken over: whatever arrives, it refuses and goes on."""

import array
import json
import os
import random
import socket
from typing import Any

import pytest

from lamplighter.sandbox.contract import Isolation
from support.sandbox_server import Bench, serving, story

ISOLATED = pytest.mark.parametrize("mode", [pytest.param("full", marks=pytest.mark.root), "user"])
PACKETS = [
    b"x",
    b"\xff\xfe",
    b"[]",
    b"1",
    b"null",
    b"{}",
    b"[" * 100_000,
    b'{"type":"start"}',
    b'{"type":"end","id":12345}',
    b'{"type":"end","id":[]}',
    b'{"type":"warm","runtime":"nonexistent"}',
    b'{"type":"warm","runtime":"../../bin/sh"}',
    json.dumps({"type": "end", "id": "x" * 150_000}).encode(),
    json.dumps({"ended": 1, "ready": True, "prepare": 1}).encode(),
]


@ISOLATED
@story
async def test_rubbish_is_refused_and_the_server_goes_on(mode: Isolation) -> None:
    async with serving(mode) as bench:
        guest = await bench.guest()
        for packet in PACKETS:
            _send(bench, packet)
        chance = random.Random(4)
        for _ in range(200):
            _send(bench, chance.randbytes(chance.randrange(1, 300)))
        assert await guest.run("result = 1") == 1
        assert await (await bench.guest()).run("result = 1") == 1


@ISOLATED
@story
async def test_descriptors_nobody_asked_for_are_closed(mode: Isolation) -> None:
    async with serving(mode) as bench:
        await bench.guest()
        read, write = os.pipe()
        try:
            for count in (1, 2, 3, 16, 40):
                _send(bench, b'{"type":"end","id":1234}', [write] * count)
                _send(bench, b'{"type":"start"}', [write] * count)
                _send(bench, b"rubbish", [write] * count)
        finally:
            os.close(write)
        assert await (await bench.guest()).run("result = 1") == 1
        os.set_blocking(read, False)
        assert os.read(read, 1) == b""  # end of file: no copy of the write end is left anywhere
        os.close(read)


@ISOLATED
@story
async def test_an_id_in_use_is_refused_and_its_owner_undisturbed(mode: Isolation) -> None:
    async with serving(mode) as bench:
        guest = await bench.guest()
        start: dict[str, Any] = {
            "type": "start", "id": 1, "runtime": "python", "code": bench.package({"x": ""}), "layers": [],
            "variables": {}, "memory_size": 128, "ephemeral_storage": 512, "command": None,
        }  # fmt: skip
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        read, write = os.pipe()
        _send(bench, json.dumps(start).encode(), [theirs.fileno(), write])
        theirs.close()
        os.close(write)
        assert await (await bench.guest()).run("result = 1") == 1
        assert ours.recv(100) == b""
        assert await guest.run("result = 1") == 1
        ours.close()
        os.close(read)


def _send(bench: Bench, data: bytes, descriptors: list[int] | None = None) -> None:
    """Past the client's own checks. Blocking for a moment is fine: the server always reads."""
    channel = bench.sandboxes._channel.sock  # pyright: ignore[reportPrivateUsage]  # the taken-over service is us
    channel.setblocking(True)
    attached = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))] if descriptors else []
    channel.sendmsg([data], attached)
    channel.setblocking(False)
