"""The functions that are measured: the same file under the service and under the floor."""

import sys
import time
from typing import Any


def echo(event: Any, context: object) -> Any:
    return event


def sleep(event: Any, context: object) -> Any:
    time.sleep(event["seconds"])
    return event


def flood(event: Any, context: object) -> Any:
    """A megabyte of log per call."""
    line = "x" * 1023
    for _ in range(1024):
        print(line)
    return event


def client(event: Any, context: object) -> Any:
    """Which runtime client runs us."""
    return "awslambdaric" if "awslambdaric.bootstrap" in sys.modules else "ours"
