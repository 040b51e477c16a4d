"""The functions that are measured: the same file under the service and under the floor."""

import sys
import time
from typing import Any


def echo(event: Any, context: object) -> Any:
    return event


def sleep(event: Any, context: object) -> Any:
    time.sleep(event["seconds"])
    return event


def fail(event: Any, context: object) -> Any:
    raise ValueError("as always")


def started(event: Any, context: object) -> None:
    """Says when it began (bench/delays.py)."""
    at = time.time()  # noqa: TID251  # the clock is not there
    batch, index = event
    print("started", batch, index, at)


def flood(event: Any, context: object) -> Any:
    """A megabyte of log per call."""
    line = "x" * 1023
    for _ in range(1024):
        print(line)
    return event


def client(event: Any, context: object) -> Any:
    """Which runtime client runs us."""
    return "awslambdaric" if "awslambdaric.bootstrap" in sys.modules else "ours"
