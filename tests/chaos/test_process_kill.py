"""kill -9 of each process of a running service while functions run: it recovers by itself, or ends and says why; and
nothing is left behind that the next start would meet."""

import os
import signal
import threading
from pathlib import Path

import pytest

from support.callers import CALLERS, calling, check_that_nothing_is_left, until
from support.sandbox_server import children, descendants, fork_servers, survivors
from support.service import Service


def test_kill_9_of_the_service_leaves_nothing_and_the_next_start_serves_at_once(tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    with Service(data_dir, "--auth", "off") as service, calling(service):
        left = descendants(service.process.pid)
        assert len(left) > CALLERS
        service.kill()
        with Service(data_dir, "--auth", "off") as next_one:
            assert not any(map(_alive, left))
            with calling(next_one) as callers:
                callers.until_answered_again()
            assert not callers.failures
    check_that_nothing_is_left(next_one)


def test_what_a_killed_service_still_takes_down_is_not_its_successors(tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    with Service(data_dir, "--auth", "off") as service, calling(service):
        sandbox_server = _sandbox_server(service)
        os.kill(sandbox_server, signal.SIGSTOP)  # it is slow to notice
        service.kill()
        noticing = threading.Timer(1.0, os.kill, (sandbox_server, signal.SIGCONT))
        noticing.start()
        try:
            with Service(data_dir, "--auth", "off") as next_one:
                with calling(next_one) as callers:
                    until(lambda: not _alive(sandbox_server), "the one before is gone")
                    callers.until_answered_again()
                assert not callers.failures
                with calling(next_one) as callers:
                    os.kill(_fork_server(next_one), signal.SIGKILL)  # what a new one needs is still there, too
                    callers.until_answered_again()
        finally:
            noticing.join()
    check_that_nothing_is_left(next_one)


@pytest.mark.root
def test_who_clears_up_too_late_finds_what_is_its_successors(tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    with Service(data_dir, "--auth", "off") as service, calling(service):
        (survivor,) = survivors(_sandbox_server(service))
        os.kill(survivor, signal.SIGSTOP)  # the server takes all down, and this one hears of its end much later
        try:
            service.kill()
            with Service(data_dir, "--auth", "off") as next_one:
                os.kill(survivor, signal.SIGCONT)
                until(lambda: not _alive(survivor), "it has looked")
                with calling(next_one) as callers:
                    callers.until_answered_again()
                assert not callers.failures
        finally:
            if _alive(survivor):
                os.kill(survivor, signal.SIGCONT)
    check_that_nothing_is_left(next_one)


def test_kill_9_of_who_clears_up_costs_no_call_and_its_successor_clears_up(tmp_path: Path) -> None:
    with Service(tmp_path / "data", "--auth", "off") as service:
        server = _sandbox_server(service)
        with calling(service) as callers:
            (killed,) = survivors(server)
            os.kill(killed, signal.SIGKILL)
            until(lambda: set(survivors(server)) - {killed}, "there is another")
            callers.until_answered_again()
        assert not callers.failures
        until(lambda: "the process that clears up after kill -9 had died" in service.last_words(), "the log says so")
        left = descendants(service.process.pid)
        os.kill(service.process.pid, signal.SIGSTOP)  # so that it does not notice the server's end
        os.kill(server, signal.SIGKILL)
        service.kill()
        until(lambda: not any(map(_alive, left)), "everything has ended")
    check_that_nothing_is_left(service)


def test_kill_9_of_the_sandbox_server_ends_the_service_which_says_why(tmp_path: Path) -> None:
    with Service(tmp_path / "data", "--auth", "off") as service, calling(service):
        left = descendants(service.process.pid)
        os.kill(_sandbox_server(service), signal.SIGKILL)
        assert service.wait() == 1
        assert "the sandbox server is gone" in service.last_words()
        assert "Traceback" not in service.last_words()
    until(lambda: not any(map(_alive, left)), "everything has ended")
    with Service(service.data_dir, "--auth", "off") as next_one, calling(next_one) as callers:
        callers.until_answered_again()
    check_that_nothing_is_left(next_one)


def test_kill_9_of_a_fork_server_costs_the_calls_it_ran_and_no_more(tmp_path: Path) -> None:
    with Service(tmp_path / "data", "--auth", "off") as service:
        with calling(service) as callers:
            fork_server = _fork_server(service)
            left = [fork_server, *descendants(fork_server)]
            os.kill(fork_server, signal.SIGKILL)
            until(lambda: not any(map(_alive, left)), "its sandboxes have ended with it")
            callers.until_answered_again()
            assert len(callers.failures) <= 2 * CALLERS, callers.failures
        assert "Traceback" not in service.last_words()
    check_that_nothing_is_left(service)


def _sandbox_server(service: Service) -> int:
    found = children(service.process.pid)  # the relay is another
    (server,) = [pid for pid in found if b"sandbox.server" in Path(f"/proc/{pid}/cmdline").read_bytes()]
    return server


def _fork_server(service: Service) -> int:
    (fork_server,) = fork_servers(_sandbox_server(service))
    return fork_server


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in ("Z", "X")
    except OSError:
        return False
