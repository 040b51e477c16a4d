"""kill -9 of each process of a running service while functions run: it recovers by itself, or ends and says why; and
nothing is left behind that the next start would meet."""

import hashlib
import http.client
import os
import signal
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

from support.functions import deploy_with
from support.sandbox_server import cgroup_parents, children, descendants, fork_servers
from support.service import Service
from support.wire_client import WireClient

SOURCE = "import time\ndef handler(event, context):\n    time.sleep(0.05)\n    return event"
CALLERS = 4
DEADLINE = 30.0
PAYLOAD = b'{"order": 1}'


class Callers:
    """Invoke one function all the time, whatever comes back; `answered`: how often it was what the function says."""

    def __init__(self, port: int, function: str) -> None:
        self.answered = 0
        self.failures: list[str] = []
        self._port = port
        self._function = function
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._call) for _ in range(CALLERS)]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join(DEADLINE)

    def _call(self) -> None:
        while not self._over.is_set():
            try:
                with WireClient(self._port) as client:
                    while not self._over.is_set():
                        answer = client.send("Invoke", {"FunctionName": self._function, "Payload": PAYLOAD})
                        if (answer.status, answer.body) == (200, PAYLOAD):
                            self.answered += 1
                        else:
                            self.failures.append(f"{answer.status} {answer.body!r}")
            except (OSError, http.client.HTTPException) as error:
                self.failures.append(repr(error))
                self._over.wait(0.01)


@contextmanager
def calling(service: Service) -> Generator[Callers]:
    """While the block runs; it begins when every caller has been answered."""
    client = service.client()
    callers = Callers(service.port, deploy_with(client, SOURCE))
    client.close()
    callers.start()
    try:
        _until(lambda: callers.answered >= 2 * CALLERS, "the function answers")
        yield callers
    finally:
        callers.stop()


def test_kill_9_of_the_service_leaves_nothing_and_the_next_start_serves_at_once(tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    with Service(data_dir, "--auth", "off") as service, calling(service):
        left = descendants(service.process.pid)
        assert len(left) > CALLERS
        service.kill()
        with Service(data_dir, "--auth", "off") as next_one:
            assert not any(map(_alive, left))
            with calling(next_one) as callers:
                _until_answered_again(callers)
            assert not callers.failures
    _check_that_nothing_is_left(next_one)


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
                    _until(lambda: not _alive(sandbox_server), "the one before is gone")
                    _until_answered_again(callers)
                assert not callers.failures
                with calling(next_one) as callers:
                    os.kill(_fork_server(next_one), signal.SIGKILL)  # what a new one needs is still there, too
                    _until_answered_again(callers)
        finally:
            noticing.join()
    _check_that_nothing_is_left(next_one)


def test_kill_9_of_the_sandbox_server_ends_the_service_which_says_why(tmp_path: Path) -> None:
    with Service(tmp_path / "data", "--auth", "off") as service, calling(service):
        left = descendants(service.process.pid)
        os.kill(_sandbox_server(service), signal.SIGKILL)
        assert service.wait() == 1
        assert "the sandbox server is gone" in service.last_words()
        assert "Traceback" not in service.last_words()
    _until(lambda: not any(map(_alive, left)), "everything has ended")
    with Service(service.data_dir, "--auth", "off") as next_one, calling(next_one) as callers:
        _until_answered_again(callers)
    _check_that_nothing_is_left(next_one)


def test_kill_9_of_a_fork_server_costs_the_calls_it_ran_and_no_more(tmp_path: Path) -> None:
    with Service(tmp_path / "data", "--auth", "off") as service:
        with calling(service) as callers:
            fork_server = _fork_server(service)
            left = [fork_server, *descendants(fork_server)]
            os.kill(fork_server, signal.SIGKILL)
            _until(lambda: not any(map(_alive, left)), "its sandboxes have ended with it")
            _until_answered_again(callers)
            assert len(callers.failures) <= 2 * CALLERS, callers.failures
        assert "Traceback" not in service.last_words()
    _check_that_nothing_is_left(service)


def _until_answered_again(callers: Callers) -> None:
    enough = callers.answered + 5 * CALLERS
    _until(lambda: callers.answered >= enough, f"the function answers again; {callers.failures[-3:]}")


def _sandbox_server(service: Service) -> int:
    found = children(service.process.pid)  # the relay is another
    (server,) = [pid for pid in found if b"sandbox.server" in Path(f"/proc/{pid}/cmdline").read_bytes()]
    return server


def _fork_server(service: Service) -> int:
    (fork_server,) = fork_servers(_sandbox_server(service))
    return fork_server


def _check_that_nothing_is_left(service: Service) -> None:
    """`service` has ended, and before it others on its data directory."""
    run_dir = _run_dir(service)
    assert not run_dir.exists()
    assert not cgroup_parents(run_dir)


def _run_dir(service: Service) -> Path:
    """Where its sandbox server keeps what it made, as app.py chooses it."""
    if service.ready["isolation"] == "full":
        return Path("/run/lamplighter", hashlib.sha256(str(service.data_dir).encode()).hexdigest()[:16])
    return service.data_dir / "run"


def _until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < deadline, f"not within {DEADLINE:.0f} s: {what}"
        time.sleep(0.01)


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in ("Z", "X")
    except OSError:
        return False
