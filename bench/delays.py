"""How long events wait for their function: sent one after the other, and compared with what the function has logged.

The function prints the moment at which it began (`handlers.started`). Service, function and we read the same clock.
"""

import socket
from collections.abc import Sequence
from time import monotonic, sleep
from typing import Final

import orjson

from bench.load import HOST, LoadError
from bench.service import Service
from lamplighter.model.clock import SystemClock

PAUSE: Final = 0.01  # seconds between events
PATIENCE: Final = 60.0  # seconds for the log to have them all


def path_of(name: str) -> str:
    return f"/2015-03-31/functions/{name}/invocations"


def delays(service: Service, name: str, number: int) -> list[float]:
    """From the 202 of each event to its start, in ms."""
    clock = SystemClock()
    batch = clock.now()  # tells these events from those before
    requests = [
        service.signed("POST", path_of(name), orjson.dumps([batch, index]), X_Amz_Invocation_Type="Event")
        for index in range(number)
    ]
    accepted = _send(service.port, requests, clock)
    deadline = monotonic() + PATIENCE
    while len(started := _started(service, name, batch)) < number:
        if monotonic() > deadline:
            raise LoadError(f"only {len(started)} of {number} events started within {PATIENCE:.0f} s")
        sleep(0.2)
    # One may begin before we have read that it is accepted.
    return [max(0.0, started[index] - accepted[index]) * 1000 for index in range(number)]


def _send(port: int, requests: Sequence[bytes], clock: SystemClock) -> list[float]:
    """When each was accepted."""
    accepted: list[float] = []
    with socket.create_connection((HOST, port), timeout=PATIENCE) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for request in requests:
            connection.sendall(request)
            answer = b""
            while b"\r\n\r\n" not in answer:  # it has no body
                if not (received := connection.recv(65536)):
                    raise LoadError("the service has hung up")
                answer += received
            accepted.append(clock.now())
            if not answer.startswith(b"HTTP/1.1 202"):
                raise LoadError(f"an event was refused: {answer[:300].decode(errors='replace')}")
            sleep(PAUSE)
    return accepted


def _started(service: Service, name: str, batch: float) -> dict[int, float]:
    """When each began, as far as it has told yet."""
    found: dict[int, float] = {}
    for message in service.logged(name, int(batch * 1000) - 1, "started"):
        word, of, index, at = message.split()
        if word == "started" and float(of) == batch:
            found[int(index)] = float(at)
    return found
