"""kill -9 of the service while functions write to /tmp on the disk: the next start finds nothing of it on the disk, no
mount and no device."""

import http.client
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest

from support.callers import check_that_nothing_is_left, until
from support.disks import MB, disk_for_functions, loop_devices
from support.functions import deploy_with
from support.sandbox_server import descendants
from support.service import Service
from support.wire_client import WireClient

SOURCE = """
import os
def handler(event, context):
    while True:
        with open("/tmp/file", "wb", 0) as file:
            for _ in range(50): file.write(os.urandom(1 << 20))
            os.fsync(file.fileno())
"""
WRITERS = 2
pytestmark = pytest.mark.root


@pytest.fixture
def disk() -> Iterator[Path]:
    with disk_for_functions(800) as place:  # which can't be unmounted while anybody has a file there
        yield place


@pytest.mark.parametrize("everybody", [False, True], ids=["the service", "all of its processes"])
def test_kill_9_while_functions_write_to_the_disk_leaves_nothing_there(disk: Path, everybody: bool) -> None:
    with Service(disk / "data", "--auth", "off", "--tmp", "disk") as service:
        with closing(service.client()) as client:
            function = deploy_with(client, SOURCE, Timeout=60)
        free = _free(disk)
        writers = [threading.Thread(target=_write, args=(service.port, function)) for _ in range(WRITERS)]
        for writer in writers:
            writer.start()
        until(lambda: _free(disk) < free - WRITERS * 30 * MB, "all of them write")
        assert loop_devices(disk)
        below = descendants(service.process.pid)
        service.kill()
        for pid in below if everybody else []:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for writer in writers:
            writer.join()
    with Service(disk / "data", "--auth", "off", "--tmp", "memory") as service:
        until(lambda: not loop_devices(disk), "no device is left, so none is mounted")
        assert _free(disk) > free - 5 * MB, "nor what they wrote"
    check_that_nothing_is_left(service)


def _write(port: int, function: str) -> None:
    """Until the service is gone."""
    with suppress(OSError, http.client.HTTPException), WireClient(port) as client:
        client.send("Invoke", {"FunctionName": function, "Payload": b"{}"})


def _free(disk: Path) -> int:
    status = os.statvfs(disk)
    return status.f_bavail * status.f_frsize
