"""`lamplighter serve`: how it starts, how it refuses to, and how it ends."""

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from support.functions import deploy_with
from support.service import STOP, Service, run

SLOW = """
import time
def handler(event, context):
    time.sleep(event["seconds"])
    return "done"
"""


def test_one_line_says_that_it_is_ready_with_what_it_is(service: Service) -> None:
    assert service.ready["auth"] == "on"
    assert service.ready["data"] == str(service.data_dir)
    assert float(service.ready["seconds"]) < 20


def test_a_port_that_is_taken_is_one_sentence(service: Service, data_dir: Path) -> None:
    done = run("serve", "--port", str(service.port), "--data-dir", str(data_dir))
    assert done.returncode == 1
    _one_sentence(done.stderr)
    assert str(service.port) in done.stderr and "--port" in done.stderr


def test_a_data_directory_in_use_is_one_sentence(service: Service) -> None:
    done = run("serve", "--port", "0", "--data-dir", str(service.data_dir))
    assert done.returncode == 1
    _one_sentence(done.stderr)
    assert f"{service.data_dir} is in use" in done.stderr and "--data-dir" in done.stderr


def test_a_data_directory_that_cannot_be_made_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    done = run("serve", "--port", "0", "--data-dir", str(tmp_path / "file" / "data"))
    assert done.returncode == 1
    _one_sentence(done.stderr)
    assert str(tmp_path / "file") in done.stderr


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become somebody else")
def test_a_data_directory_of_somebody_else_is_one_sentence(tmp_path: Path) -> None:
    theirs = tmp_path / "theirs"
    theirs.mkdir(mode=0o700)
    # Somebody else may not enter root's directories either, so the interpreter is entered first and root given up then.
    script = (
        "import os, lamplighter.cli.serve; from lamplighter.__main__ import main;"
        "os.setgroups([]); os.setresgid(65534, 65534, 65534); os.setresuid(65534, 65534, 65534); main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, "serve", "--port", "0", "--data-dir", str(theirs)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 1
    _one_sentence(done.stderr)
    assert str(theirs) in done.stderr and "Permission denied" in done.stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_with_exit_code_0(number: signal.Signals, data_dir: Path) -> None:
    with Service(data_dir) as service:
        assert service.stop(number) == 0


def test_it_drains_the_call_in_flight_finishes_and_no_new_one_is_taken(data_dir: Path) -> None:
    with Service(data_dir, "--auth", "off") as service, _call_in_flight(service, seconds=3) as call:
        service.process.send_signal(signal.SIGTERM)
        _wait_until_refused(service.port)
        answer = call.getresponse()
        assert (answer.status, answer.read()) == (200, b'"done"')
        assert service.wait() == 0


def test_a_second_signal_ends_it_at_once(data_dir: Path) -> None:
    with Service(data_dir, "--auth", "off") as service, _call_in_flight(service, seconds=50) as call:
        service.process.send_signal(signal.SIGTERM)
        _wait_until_refused(service.port)
        begun = time.monotonic()
        service.process.send_signal(signal.SIGTERM)
        assert service.wait() != 0
        assert time.monotonic() - begun < 5
        with pytest.raises((http.client.RemoteDisconnected, ConnectionResetError)):
            call.getresponse()


def _one_sentence(said: str) -> None:
    last = said.splitlines()[-1]
    assert last.startswith("lamplighter: ") and last.endswith("."), said
    assert "Traceback" not in said


@contextmanager
def _call_in_flight(service: Service, seconds: int) -> Iterator[http.client.HTTPConnection]:
    """A connection on which the service has read an Invoke that takes a while."""
    client = service.client()
    name = deploy_with(client, SLOW, Timeout=60)
    call = http.client.HTTPConnection("127.0.0.1", service.port, timeout=STOP)
    try:
        call.request("POST", f"/2015-03-31/functions/{name}/invocations", json.dumps({"seconds": seconds}))
        client.get_function(FunctionName=name)  # came after it, on one event loop: so that one has been read too
        yield call
    finally:
        call.close()
        client.close()


def _wait_until_refused(port: int) -> None:
    deadline = time.monotonic() + STOP
    while time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=STOP).close()
        except ConnectionRefusedError:
            return
        except ConnectionResetError:
            continue  # met the listener just as it was closed
    raise AssertionError("the service still takes connections after SIGTERM")
