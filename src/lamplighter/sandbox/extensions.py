"""External extensions: programs in /opt/extensions, each a process of its own beside the runtime (AWS: spec 3.4).

Runs in a sandbox's process A once the function's layers are in place. Which files there are is a guest's choice, so no
more are started than one beyond what may register. CPython 3.9 and later.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import NoReturn

from lamplighter.sandbox import guest
from lamplighter.sandbox.gate import Gate

DIRECTORY = "/opt/extensions"
STARTED = 11  # at most: ten may register, and the one that is refused ends the init
# What the runtime's process knows and an extension's does not (AWS: spec 3.2).
HIDDEN = (
    "AWS_EXECUTION_ENV",
    "AWS_LAMBDA_LOG_FORMAT",
    "AWS_LAMBDA_LOG_GROUP_NAME",
    "AWS_LAMBDA_LOG_LEVEL",
    "AWS_LAMBDA_LOG_STREAM_NAME",
    "AWS_XRAY_CONTEXT_MISSING",
    "AWS_XRAY_DAEMON_ADDRESS",
    "LAMBDA_RUNTIME_DIR",
    "LAMBDA_TASK_ROOT",
    "_AWS_XRAY_DAEMON_ADDRESS",
    "_AWS_XRAY_DAEMON_PORT",
    "_HANDLER",
    "_X_AMZN_TRACE_ID",
)


@dataclass
class Process:
    """One that was started. report: where it said why it could not be executed, if it could not."""

    name: str
    report: int


@dataclass
class Company:
    """What runs beside a runtime, by pid, and what lets the runtime go on once all of it has registered. output: the
    read end of all extensions' stdout and stderr."""

    processes: dict[int, Process]
    output: int
    gate: Gate = field(default_factory=lambda: Gate(-1))


def find(directory: str = DIRECTORY) -> list[str]:
    """Names of the executable files there, in order."""
    try:
        names = sorted(os.listdir(directory))
    except OSError:
        return []
    return [name for name in names if _executable(os.path.join(directory, name))][:STARTED]


def start(names: list[str], variables: Mapping[str, str], become: Callable[[], None]) -> Company:
    """`become`: gives up all that an extension must not have, in its process, before anything of the guest's is run."""
    output, output_end = os.pipe2(os.O_CLOEXEC)
    seen = {name: value for name, value in variables.items() if name not in HIDDEN}
    processes: dict[int, Process] = {}
    for name in names:
        report, reporting = os.pipe2(os.O_CLOEXEC)
        child = os.fork()
        if child == 0:
            _run(os.path.join(DIRECTORY, name), seen, output_end, reporting, become)
        os.close(reporting)
        processes[child] = Process(name, report)
    os.close(output_end)
    return Company(processes, output)


def _run(path: str, variables: dict[str, str], output: int, reporting: int, become: Callable[[], None]) -> NoReturn:
    try:
        become()
        os.chdir("/")
        guest.wire_descriptors(output, reporting, [], variables)
        guest.execute([path], variables)
    finally:
        os._exit(1)


def _executable(path: str) -> bool:
    return os.path.isfile(path) and os.access(path, os.X_OK)
