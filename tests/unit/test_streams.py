"""Two connections joined to one: nothing is lost on the way, and nothing is kept once both sides are done."""

import asyncio
import socket
import threading
from collections.abc import Callable

import pytest
import uvloop

from lamplighter.sandbox import streams

SENT = b"".join(number.to_bytes(4, "big") for number in range(500_000))
LIMIT = 10.0  # seconds


def echo(connection: socket.socket) -> None:
    with connection:
        while data := connection.recv(1 << 20):
            connection.sendall(data)


def greet(connection: socket.socket) -> None:
    """A server that speaks first, and is gone before anybody has answered."""
    with connection:
        connection.sendall(SENT)


async def relayed(serve: Callable[[socket.socket], None], sent: bytes) -> bytes:
    """What a client gets that sends at once; returns when the relayed connection has ended."""
    with socket.create_server(("127.0.0.1", 0)) as outside, socket.create_server(("127.0.0.1", 0)) as inside:
        inside.setblocking(False)

        def accept() -> None:
            serve(outside.accept()[0])

        def client() -> bytes:
            with socket.create_connection(inside.getsockname(), LIMIT) as one:
                sender = threading.Thread(target=lambda: (one.sendall(sent), one.shutdown(socket.SHUT_WR)))
                sender.start()
                got = b"".join(iter(lambda: one.recv(1 << 20), b""))
                sender.join()
                return got

        async with asyncio.timeout(LIMIT):
            server, got = asyncio.create_task(asyncio.to_thread(accept)), asyncio.create_task(asyncio.to_thread(client))
            near, _ = await asyncio.get_running_loop().sock_accept(inside)
            far = await streams.connect("127.0.0.1", outside.getsockname()[1], LIMIT)
            await streams.join(near, far)
            await server
            return await got


@pytest.mark.parametrize("turn", range(10))
def test_a_client_that_sends_at_once_loses_nothing_and_leaves_nothing(turn: int) -> None:
    assert uvloop.run(relayed(echo, SENT)) == SENT


@pytest.mark.parametrize("turn", range(5))
def test_a_server_that_speaks_first_and_goes_is_heard_to_the_end(turn: int) -> None:
    assert uvloop.run(relayed(greet, b"")) == SENT
