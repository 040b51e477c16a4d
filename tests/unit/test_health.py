"""Health and readiness: a status and nothing else."""

import asyncio

import pytest

from lamplighter.api.health import HEALTH, READY, Health
from lamplighter.api.http import Request


@pytest.mark.parametrize(
    ("method", "path", "ready", "status"),
    [
        ("GET", HEALTH, True, 200),
        ("GET", HEALTH, False, 200),
        ("GET", READY, True, 200),
        ("HEAD", READY, False, 503),
        ("GET", READY, False, 503),
        ("POST", READY, True, 405),
        ("GET", READY + "/more", True, 404),
    ],
)
def test_what_is_asked_decides(method: str, path: str, ready: bool, status: int) -> None:
    response = asyncio.run(Health(lambda: ready)(Request(method, path, "", {}, b"")))
    assert response.status == status
