"""The socket that stands for the X-Ray daemon."""

import asyncio
import itertools
import socket

import uvloop

from lamplighter.worker import xray_daemon
from lamplighter.worker.xray_daemon import XRayDaemon


def test_a_flood_is_taken_in_turns_and_what_has_come_at_the_end() -> None:
    async def story() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as inside, socket.socket(type=socket.SOCK_DGRAM) as guest:
            inside.bind(("127.0.0.1", 0))
            inside.setblocking(False)
            taken: list[bytes] = []
            of_turns = [0]
            daemon = XRayDaemon(taken.append)
            for number in range(100):
                guest.sendto(b"%d" % number, inside.getsockname())
            daemon.open(inside)
            async with asyncio.timeout(10):
                while len(taken) < 100:
                    await asyncio.sleep(0)
                    of_turns.append(len(taken))
            assert all(after - before <= xray_daemon._AT_ONCE for before, after in itertools.pairwise(of_turns))
            guest.sendto(b"last", inside.getsockname())
            daemon.close()
            daemon.close()
            assert taken == [b"%d" % number for number in range(100)] + [b"last"]

    uvloop.run(story())


def test_what_nobody_wants_is_not_read() -> None:
    async def story() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as inside, socket.socket(type=socket.SOCK_DGRAM) as guest:
            inside.bind(("127.0.0.1", 0))
            inside.setblocking(False)
            daemon = XRayDaemon(None)
            daemon.open(inside)
            guest.sendto(b"1", inside.getsockname())
            await asyncio.sleep(0)
            daemon.close()
            assert inside.recv(10) == b"1"

    uvloop.run(story())
