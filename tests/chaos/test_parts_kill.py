"""kill -9 of each part that a service can lose and go on: calls that it ran are told what AWS tells of a process that
was killed, those that come after them work, and it leaves nothing."""

import os
import platform
import signal
from collections.abc import Generator
from contextlib import closing, suppress
from pathlib import Path

import pytest

from lamplighter.runtimes.catalogue import installed
from support.callers import CALLERS, SOURCE, Callers, calling, check_that_nothing_is_left, until
from support.functions import deploy_with
from support.sandbox_server import children, descendants, fork_servers, serving_process
from support.service import Service

SNAPSHOTS = next((name for name in ("python3.12", "python3.13", "python3.14") if name in installed()), None)
COPIED = pytest.mark.skipif(platform.machine() != "x86_64" or SNAPSHOTS is None, reason="no copies are made here")


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Generator[Service]:
    """One for all, which also shows that it goes on."""
    with Service(tmp_path_factory.mktemp("service") / "data", "--auth", "off", "--tmp", "disk") as service:
        yield service
        left = descendants(service.process.pid)
    until(lambda: not any(_is_there(pid) for pid in left), "all of it has ended")
    check_that_nothing_is_left(service)
    assert "Traceback" not in service.log.read_text()


def test_kill_9_of_the_relay_costs_no_call(service: Service) -> None:
    (relay,) = _named(service.process.pid, b"sandbox.relay")
    with calling(service) as callers:
        os.kill(relay, signal.SIGKILL)
        until(lambda: set(_named(service.process.pid, b"sandbox.relay")) - {relay}, "another takes over")
        callers.until_answered_again()
    assert not callers.failures


def test_kill_9_of_the_process_for_disks_costs_no_call(service: Service) -> None:
    server = _sandbox_server(service)
    before = _storages(server)
    if not before:
        pytest.skip("/tmp is not on the disk here")
    with calling(service) as callers:
        os.kill(before[0], signal.SIGKILL)
        until(lambda: set(_storages(server)) - set(before), "another takes over")
        callers.until_answered_again()
    assert not callers.failures
    with calling(service) as callers:
        callers.until_answered_again()  # new environments
    assert not callers.failures


def test_kill_9_of_process_1_of_every_sandbox_costs_the_calls_they_ran(service: Service) -> None:
    with calling(service) as callers:
        _kill_all(_firsts(service))
        callers.until_answered_again()
    _check_that_calls_were_told(callers)


def test_kill_9_of_every_runtime_costs_the_calls_they_ran(service: Service) -> None:
    with calling(service) as callers:
        _kill_all([runtime for first in _firsts(service) for runtime in children(first)])
        callers.until_answered_again()
    _check_that_calls_were_told(callers)


@COPIED
def test_kill_9_of_what_makes_snapshots_costs_the_calls_they_ran_and_another_is_made(service: Service) -> None:
    client = service.client()
    function = deploy_with(client, SOURCE, Runtime=SNAPSHOTS, SnapStart={"ApplyOn": "PublishedVersions"})
    version = client.publish_version(FunctionName=function)["Version"]
    client.get_waiter("function_active_v2").wait(
        FunctionName=function, Qualifier=version, WaiterConfig={"Delay": 1, "MaxAttempts": 30}
    )
    client.close()
    with calling(service, function, version) as callers:
        keepers = _keepers(service)
        assert keepers
        _kill_all(keepers)
        callers.until_answered_again()
        until(lambda: set(_keepers(service)) - set(keepers), "another holds what was initialised")
        callers.until_answered_again()
    _check_that_calls_were_told(callers)


@COPIED
def test_kill_9_of_what_makes_snapshots_costs_no_call_that_has_none_yet(service: Service) -> None:
    with closing(service.client()) as client:
        for _ in range(5):
            function = deploy_with(client, SOURCE, Runtime=SNAPSHOTS, SnapStart={"ApplyOn": "PublishedVersions"})
            version = client.publish_version(FunctionName=function)["Version"]
            client.get_waiter("published_version_active").wait(
                FunctionName=function, Qualifier=version, WaiterConfig={"Delay": 0.1, "MaxAttempts": 300}
            )
            _kill_all(_keepers(service))
            answer = client.invoke(FunctionName=function, Qualifier=version)
            assert "FunctionError" not in answer, answer["Payload"].read()
            client.delete_function(FunctionName=function)


def _check_that_calls_were_told(callers: Callers) -> None:
    assert 0 < len(callers.failures) <= 2 * CALLERS, callers.failures
    assert not callers.unexplained


def _sandbox_server(service: Service) -> int:
    (server,) = _named(service.process.pid, b"sandbox.server")
    return server


def _named(parent: int, name: bytes) -> list[int]:
    """Its children that run this module."""
    return [pid for pid in children(parent) if name in _command(pid)]


def _firsts(service: Service) -> list[int]:
    """Process 1 of each sandbox."""
    found = [first for fork_server in fork_servers(_sandbox_server(service)) for first in children(fork_server)]
    assert len(found) >= CALLERS
    return found


def _storages(server: int) -> list[int]:
    """Forks of the server with a session of their own."""
    return [pid for pid in _named(server, b"sandbox.server") if os.getsid(pid) == pid]


def _keepers(service: Service) -> list[int]:
    """Forks of the server with a process group of their own, in its session."""
    found = _named(serving_process(_sandbox_server(service)), b"sandbox.server")
    return [pid for pid in found if os.getpgid(pid) == pid != os.getsid(pid)]


def _kill_all(pids: list[int]) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _command(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def _is_there(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()
