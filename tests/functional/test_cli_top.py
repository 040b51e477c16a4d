"""`lamplighter top`: what functions do right now, for the owner of the data directory and nobody else."""

import http.client
import json
import socket
import threading
from typing import Any

import pytest
from rich.console import Console

from lamplighter.cli.top import compared, shown
from lamplighter.model.clock import SystemClock
from lamplighter.neighbours.signing import Keys, sign
from lamplighter.store.credentials import load
from support.functions import deploy_with
from support.service import Service, run

SOURCE = """
import time
def handler(event, context):
    time.sleep(event.get("seconds", 0))
    if event.get("fail"):
        raise ValueError("asked for")
"""


def state(
    durations: dict[str, int], uptime: float = 100.0, waiting: dict[str, int] | None = None, **members: Any
) -> dict[str, Any]:
    function: dict[str, Any] = {
        "account": "000000000000",
        "region": "us-east-1",
        "name": "f",
        "running": 1,
        "environments": {"busy": 1},
        "invocations": sum(durations.values()),
        "errors": 0,
        "throttles": 0,
        "cold_starts": 0,
        "durations": durations,
        "memory_peak_bytes": 30 << 20,
        "memory_size_mb": 128,
    }
    return {
        "at": uptime,
        "uptime_seconds": uptime,
        "memory_bytes": 50 << 20,
        "concurrency": {"limit": 1000, "running": 1},
        "functions": [function | members],
        "waiting": waiting or {},
    }


def test_rates_and_percentiles_are_those_between_two_looks() -> None:
    arn = "arn:aws:lambda:us-east-1:000000000000:function:f"
    after = state({"40": 1000, "8": 30, "16": 1}, 110.0, {arn: 7, "other": 2}, errors=5)
    look = compared(state({"40": 1000}), after)
    (function,) = look["functions"]
    assert (function["invocations_per_second"], function["errors_per_second"]) == (3.1, 0.5)
    assert function["p50_ms"] < 2 < function["p99_ms"] < 5
    assert (function["queued"], look["queued"], look["queued_elsewhere"]) == (7, 9, 2)


def test_another_start_of_the_service_begins_anew() -> None:
    look = compared(state({"8": 1000}, 500.0), state({"8": 8}, 4.0))
    assert look["functions"][0]["invocations_per_second"] == 2.0


def test_names_are_shown_as_they_are() -> None:
    console = Console(width=160, record=True, highlight=False, markup=False)
    console.print(shown(compared(state({}), state({"8": 10}, 110.0))))
    line = next(line.split() for line in console.export_text().splitlines() if line.startswith("f "))
    assert line == ["f", "1", "1", "1.0", "1.0", "ms", "1.0", "ms", "30", "of", "128", "MB"]


def test_a_narrow_terminal_has_room_for_names() -> None:
    console = Console(width=80, record=True, highlight=False, markup=False)
    after = state({"8": 10}, 110.0)
    after["functions"][0]["name"] = "orders"
    console.print(shown(compared(state({}), after)))
    assert "\norders " in console.export_text()


def asked(service: Service) -> dict[str, Any]:
    """As another machine would: the data directory is not at hand."""
    done = run("top", "--once", "--format", "json", HOME="/nonexistent", **service.environment())
    assert (done.returncode, done.stderr) == (0, "")
    return json.loads(done.stdout)


def test_it_shows_what_runs_waits_and_fails(service: Service, client: Any) -> None:
    name = deploy_with(client, SOURCE, MemorySize=256)
    client.invoke(FunctionName=name, Payload=json.dumps({"fail": True}))
    running = threading.Thread(target=client.invoke, kwargs={"FunctionName": name, "Payload": b'{"seconds": 2.5}'})
    running.start()
    try:
        for _ in range(10):  # it may look before the call has come in
            (found,) = (each for each in asked(service)["functions"] if each["name"] == name)
            if found["running"]:
                break
        assert found["environments"] == {"starting": 0, "ready": 0, "busy": 1}
    finally:
        running.join()
    assert found["memory_size_mb"] == 256
    for _ in range(3):  # they fail, and are tried again after a minute
        client.invoke(FunctionName=name, InvocationType="Event", Payload=b'{"fail": true}')
    (waits,) = (each for each in asked(service)["functions"] if each["name"] == name)
    assert waits["queued"] == 3
    table = run("top", "--once", "--data-dir", str(service.data_dir), "--port", str(service.port))
    assert table.returncode == 0
    assert "invocations/s" in table.stdout
    client.delete_function(FunctionName=name)


def get(service: Service, path: str, secret: str | None) -> tuple[int, dict[str, Any]]:
    known = load(service.data_dir)
    assert known is not None
    headers: dict[str, str] = {}
    if secret is not None:
        keys = Keys(known.access_key_id, secret or known.secret_access_key)
        headers = sign("GET", f"{service.url}{path}", {}, b"", keys, "lambda", "us-east-1", SystemClock().now())
    connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=30)
    try:
        connection.request("GET", path, headers=headers)
        response = connection.getresponse()
        return response.status, json.loads(response.read())
    finally:
        connection.close()


@pytest.mark.parametrize(("path", "secret", "status"), [("", None, 403), ("", "x" * 40, 403), ("/more", "", 404)])
def test_nobody_else_is_told(service: Service, path: str, secret: str | None, status: int) -> None:
    assert "functions" in get(service, "/_lamplighter/state", "")[1]
    assert "rows" in get(service, "/_lamplighter/queues", "")[1]
    if not path:
        assert get(service, "/_lamplighter/queues", secret)[0] == status
    found, answer = get(service, f"/_lamplighter/state{path}", secret)
    assert found == status
    assert "functions" not in answer


@pytest.mark.parametrize("command", [("top", "--once"), ("bill",), ("queue",)])
def test_a_service_that_is_not_there_or_refuses_is_said_in_a_sentence(
    service: Service, command: tuple[str, ...]
) -> None:
    known = service.environment()
    with socket.socket() as taken:  # nobody listens there
        taken.bind(("127.0.0.1", 0))
        nobody = f"http://127.0.0.1:{taken.getsockname()[1]}"
        for said, options, variables in (
            (f"No service answers at {nobody}: Connection refused.", ("--endpoint-url", nobody), known),
            ("refuses these credentials", (), {**known, "AWS_SECRET_ACCESS_KEY": "x" * 40}),
        ):
            done = run(*command, *options, **variables)
            assert (done.returncode, done.stdout) == (1, "")
            assert said in done.stderr
            assert done.stderr.count("\n") == 1
