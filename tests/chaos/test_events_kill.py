"""kill -9 at any moment: every acknowledged event is run, or ends where its rules say; nothing is run too late."""

import os
import random
import select
import sqlite3
import subprocess
import sys
import threading
import time
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest

from support.functions import deploy_with
from support.service import READY, Service, clean_environment

WORKER = Path(__file__).with_name("events_worker.py")
LIVES = Path(__file__).with_name("service_lives.py")
KILLS = 200
CONDITION = {
    "good": {("OnSuccess", "Success", "1")},
    "bad": {("OnFailure", "RetriesExhausted", "3")},
    "once": {("OnFailure", "RetriesExhausted", "1")},
    # A retry that a crash has made too late is not made any more.
    "brief": {("OnFailure", "EventAgeExceeded", count) for count in "012"},
    "away": {("OnSuccess", "Success", "1"), ("OnFailure", "EventAgeExceeded", "0")},
}
AGE = {"brief": 100.0, "away": 150.0}  # seconds


def lines(path: Path) -> list[list[str]]:
    """See events_worker.Lines."""
    words = [line.split() for line in path.read_text().splitlines()]
    return [line[:-1] for line in words if line and line[-1] == "."]


@pytest.mark.parametrize("seed", range(2))
def test_after_hundreds_of_kills_every_acknowledged_event_has_come_to_its_end(tmp_path: Path, seed: int):
    command = [sys.executable, str(WORKER), str(tmp_path), str(KILLS), str(seed)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=400, env=dict(os.environ))
    assert done.returncode == 0, done.stderr[-2000:]
    accepted = {id: (name, float(at)) for name, id, at in lines(tmp_path / "accepted")}
    ran: defaultdict[str, list[float]] = defaultdict(list)
    for _, id, at in lines(tmp_path / "ran"):
        ran[id].append(float(at))
    told: defaultdict[str, set[tuple[str, str, str]]] = defaultdict(set)
    for target, id, condition, count in lines(tmp_path / "delivered"):
        told[id].add((target, condition, count))
    assert len(accepted) > KILLS

    for id, (name, at) in accepted.items():
        records = {each for each in told[id] if each[0] != "letters"}
        assert len(records) == 1, f"{name} {id} was told of as {records}"
        (record,) = records
        assert record in CONDITION[name], (name, id)
        assert len(ran[id]) >= int(record[2]), (name, id)  # more often only because of a kill
        assert ("letters" in {target for target, *_ in told[id]}) == (record[0] == "OnFailure"), (name, id)
        assert all(moment < at + AGE.get(name, 21_600.0) for moment in ran[id]), (name, id)
        if name == "bad":  # a minute, then two, whatever was in between
            assert max(ran[id]) - at >= 180

    # Nor was anything run that nobody had asked for: what was not acknowledged before a kill may have been.
    unacknowledged = ran.keys() - accepted.keys()
    assert len(unacknowledged) <= 3 * KILLS


ROUNDS = 40
SOURCE = """
import os

def handler(event, context):
    file = os.open(os.environ["RAN"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
    os.write(file, f"{context.aws_request_id}\\n".encode())
    os.close(file)
    if event:
        raise Exception("no luck")
"""


def test_a_real_service_that_is_killed_again_and_again_loses_no_event(tmp_path: Path):
    """Functions tell of their runs in a file, for which they must see the host's: without isolation."""
    chance, ran, accepted, data = random.Random(7), tmp_path / "ran", Acknowledged(), tmp_path / "data"
    options = ("--isolation", "none", "--auth", "off")
    with Service(data, *options) as service, closing(service.client()) as client:
        name = deploy_with(client, SOURCE, Environment={"Variables": {"RAN": str(ran)}})
        client.put_function_event_invoke_config(FunctionName=name, MaximumRetryAttempts=0)
        client.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=2)  # few processes to begin
    with Lives(data) as lives, ThreadPoolExecutor(4) as threads:
        for number in range(ROUNDS):
            lives.start()
            if number % 4 == 3:  # while it begins, or when it just has, and finds what the one before has left
                time.sleep(chance.random() * 0.4)
                lives.kill()
                continue
            port = lives.ready()
            callers = [threads.submit(call, port, name, number * 4 + each, accepted) for each in range(4)]
            # By events, not by time: a busy machine takes fewer.
            try:
                accepted.wait(len(accepted.fails) + chance.choice((1, 5, 20, 100, 300)))
            finally:
                lives.kill()  # which ends the callers
            for caller in callers:
                caller.result(30)
    assert len(accepted.fails) > 10 * ROUNDS
    with Service(data, *options) as service:
        deadline = time.monotonic() + 60
        while (left := waiting(data / "events.db"))[0]:
            assert time.monotonic() < deadline, f"{left} events are still waiting"
            time.sleep(0.05)
    runs = set(ran.read_text().split())
    assert accepted.fails.keys() <= runs
    failed, died = sum(accepted.fails.values()), left[1]
    assert failed <= died <= failed + 4 * ROUNDS  # what was not acknowledged may have been accepted


class Lives:
    """Of the service, by `service_lives.py`."""

    def __init__(self, data: Path) -> None:
        self._data = data

    def __enter__(self) -> Self:
        command = [sys.executable, str(LIVES), str(self._data)]
        with self._data.with_name("lives.log").open("wb") as log:
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, env=clean_environment(), bufsize=0
            )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for stream in (self._process.stdin, self._process.stdout):
            assert stream is not None
            stream.close()
        self._process.wait(30)

    def start(self) -> None:
        self._order(b"start\n")

    def ready(self) -> int:
        """The port of the life that was started."""
        found = READY.fullmatch(self._line())
        assert found
        return int(found["port"])

    def kill(self) -> None:
        self._order(b"kill\n")
        while self._line() != "killed\n":  # it may have become ready just before
            pass

    def _order(self, order: bytes) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(order)

    def _line(self) -> str:
        stdout = self._process.stdout
        assert stdout is not None
        assert select.select([stdout], [], [], 60)[0], "no life within a minute"
        line = stdout.readline().decode()
        assert line, self._data.with_name("lives.log").read_text()[-2000:]
        return line


class Acknowledged:
    """The events that the service has taken, with whether they will fail, as several callers hear of it."""

    def __init__(self) -> None:
        self.fails: dict[str, bool] = {}
        self._more = threading.Condition()

    def add(self, id: str, fails: bool) -> None:
        with self._more:
            self.fails[id] = fails
            self._more.notify_all()

    def wait(self, number: int) -> None:
        with self._more:
            assert self._more.wait_for(lambda: len(self.fails) >= number, 60), f"{len(self.fails)} of {number} events"


def call(port: int, name: str, seed: int, acknowledged: Acknowledged) -> None:
    """Until the service is gone."""
    chance = random.Random(seed)
    headers = {"X-Amz-Invocation-Type": "Event"}
    with closing(HTTPConnection("127.0.0.1", port, timeout=10)) as connection:
        while True:
            fails = chance.random() < 0.3
            try:
                connection.request(
                    "POST", f"/2015-03-31/functions/{name}/invocations", b"[1]" if fails else b"[]", headers
                )
                answer = connection.getresponse()
                answer.read()
            except (OSError, HTTPException):
                return
            assert answer.status == 202
            acknowledged.add(answer.headers["x-amzn-RequestId"], fails)


def waiting(path: Path) -> tuple[int, int]:
    """Events that wait, and that died."""
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        ((count,),) = connection.execute("SELECT count(*) FROM events")
        ((died,),) = connection.execute("SELECT coalesce(sum(count), 0) FROM event_deaths")
    return count, died
