"""Callers of one function that never stop, whatever comes back: for tests that end something of ours meanwhile."""

import hashlib
import http.client
import json
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from support.functions import deploy_with
from support.sandbox_server import cgroup_parents
from support.service import Service
from support.wire_client import WireClient

SOURCE = "import time\ndef handler(event, context):\n    time.sleep(0.05)\n    return event"
CALLERS = 4
DEADLINE = 30.0
PAYLOAD = b'"order"'  # as every runtime writes it


class Callers:
    """`answered`: how often it was what the function says; `failures`: what else came; `unexplained`: of those, what
    is not AWS's answer when a function's process was killed."""

    def __init__(self, port: int, function: str, qualifier: str | None = None) -> None:
        self.answered = 0
        self.failures: list[str] = []
        self.unexplained: list[str] = []
        self._port = port
        self._request: dict[str, Any] = {"FunctionName": function, "Payload": PAYLOAD}
        if qualifier is not None:
            self._request["Qualifier"] = qualifier
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._call) for _ in range(CALLERS)]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join(DEADLINE)

    def until_answered_again(self) -> None:
        enough = self.answered + 5 * CALLERS
        until(lambda: self.answered >= enough, f"the function answers again; {self.failures[-3:]}")

    def _call(self) -> None:
        while not self._over.is_set():
            try:
                with WireClient(self._port) as client:
                    while not self._over.is_set():
                        answer = client.send("Invoke", self._request)
                        if (answer.status, answer.body) == (200, PAYLOAD):
                            self.answered += 1
                            continue
                        headers = {name.lower(): value for name, value in answer.headers}
                        told = f"{answer.status} {headers.get('x-amz-function-error')} {answer.body!r}"
                        self.failures.append(told)
                        if answer.status != 200 or not is_of_a_killed_one(headers, answer.body):
                            self.unexplained.append(told)
            except (OSError, http.client.HTTPException) as error:
                self.failures.append(repr(error))
                self.unexplained.append(repr(error))
                self._over.wait(0.01)


def is_of_a_killed_one(headers: dict[str, str], body: bytes) -> bool:
    """Recorded from AWS: Unhandled, and what the runtime ended with."""
    request = headers["x-amzn-requestid"]
    return headers.get("x-amz-function-error") == "Unhandled" and json.loads(body) == {
        "errorType": "Runtime.ExitError",
        "errorMessage": f"RequestId: {request} Error: Runtime exited with error: signal: killed",
    }


@contextmanager
def calling(service: Service, function: str | None = None, qualifier: str | None = None) -> Generator[Callers]:
    """While the block runs; it begins when every caller has been answered. function: else one is deployed."""
    if function is None:
        client = service.client()
        function = deploy_with(client, SOURCE)
        client.close()
    callers = Callers(service.port, function, qualifier)
    callers.start()
    try:
        until(lambda: callers.answered >= 2 * CALLERS, "the function answers")
        yield callers
    finally:
        callers.stop()


def until(condition: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < deadline, f"not within {DEADLINE:.0f} s: {what}"
        time.sleep(0.01)


def check_that_nothing_is_left(service: Service) -> None:
    """`service` has ended, and before it others on its data directory."""
    run_dir = service.data_dir / "run"
    if service.ready["isolation"] == "full":  # as app.py chooses it
        run_dir = Path("/run/lamplighter", hashlib.sha256(str(service.data_dir).encode()).hexdigest()[:16])
    assert not run_dir.exists()
    assert not cgroup_parents(run_dir)
