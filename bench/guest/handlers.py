"""The functions that are measured: the same file under the service and under the floor."""

import sys
import time


def echo(event, context):
    return event


def sleep(event, context):
    time.sleep(event["seconds"])
    return event


def flood(event, context):
    """A megabyte of log per call."""
    line = "x" * 1023
    for _ in range(1024):
        print(line)
    return event


def client(event, context):
    """Which runtime client runs us."""
    return "awslambdaric" if "awslambdaric.bootstrap" in sys.modules else "ours"
