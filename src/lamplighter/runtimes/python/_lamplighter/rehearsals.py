"""What a start does that is the same for all functions, to be done in a child of the fork server that then ends: so it
learns which memory a start writes to (sandbox/pages.py says what for). Nothing leaves the process."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING

from . import answers, handler
from .context import LambdaContext
from .faults import Fault
from .logs import Log
from .run import become_the_main_program

if TYPE_CHECKING:
    from collections.abc import Callable

_VARIABLES = {
    "AWS_ACCESS_KEY_ID": "-", "AWS_SECRET_ACCESS_KEY": "-", "AWS_SESSION_TOKEN": "-", "AWS_REGION": "us-east-1",
    "AWS_DEFAULT_REGION": "us-east-1", "AWS_ENDPOINT_URL": "http://127.0.0.1:4566", "LAMBDA_TASK_ROOT": "/var/task",
    "PYTHONPATH": "/var/runtime", "LANG": "en_US.UTF-8", "TZ": ":UTC",
}  # fmt: skip
_SERVICES = ("s3", "dynamodb", "lambda")  # whose clients' starts are compared for what they have in common


def rehearsals() -> list[Callable[[], None]]:
    """One of them, or with the SDK imported ahead one for each of some services."""
    if "boto3" in sys.modules:
        return [partial(_start, service) for service in _SERVICES]
    return [_start]


def _start(service: str | None = None) -> None:
    environ = os.environ
    environ.update(_VARIABLES)
    become_the_main_program(environ)
    encoder = answers.Encoder(escape=False)
    log = Log(environ, encoder.encode)
    handler.set_search_path(environ)
    log.set_up()
    with suppress(Fault):
        handler.find("none.there")
    if service:
        import_module("boto3").client(service)
    log.current.request_id = "-"
    context = LambdaContext("-", "", "", 0, "-", None)
    encoder.encode([answers.load(b'{"name": [1, 2.5, null, true]}'), context.aws_request_id])
