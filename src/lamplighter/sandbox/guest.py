"""The first and last steps of a runtime process, the same in every isolation: descriptors, variables, what it runs,
and how it ended.

Runs in the process that becomes the runtime, under the runtime's interpreter (CPython 3.9 and later).
"""

from __future__ import annotations

import fcntl
import gc
import json
import os
import resource
import signal
import stat
import sys
import time
import traceback
from collections.abc import Callable
from typing import Any, NoReturn

from lamplighter.sandbox import linux

# (resource, soft and hard): AWS: spec 3.1. A core limit of 1 is special to the kernel: no core file, and none piped to
# a handler of the host either, which a limit of 0 would allow.
FRAMES = 3  # the descriptor for framed log records, where a sandbox has one (AWS: spec 3.2)
REPORT = 4  # the descriptor on which a process that is to execute something says why it can't; gone once it can.
# What is executed ahead of its function reads here what it is to be.
_REPORT_LIMIT = 4096  # bytes
_FRAMES_VARIABLE = "_LAMBDA_TELEMETRY_LOG_FD"
LIMITS = (
    (resource.RLIMIT_NOFILE, 1024),
    (resource.RLIMIT_NPROC, 1024),
    (resource.RLIMIT_CORE, 1),
    (resource.RLIMIT_STACK, 8 << 20),
    (resource.RLIMIT_MEMLOCK, 64 << 10),
)


def limit_resources(own_user: bool = True) -> None:
    """own_user: whether nobody else has the guest's user id; else others' processes would count as the guest's."""
    for kind, most in LIMITS:
        if kind == resource.RLIMIT_NPROC and not own_user:
            continue
        _, hard = resource.getrlimit(kind)
        if hard != resource.RLIM_INFINITY:
            most = min(most, hard)
        resource.setrlimit(kind, (most, most))


def wire_descriptors(
    output: int, report: int | None, frames: list[int], variables: dict[str, str], order: int | None = None
) -> None:
    """stdin from /dev/null, stdout and stderr to `output`, `frames` (one or none) as FRAMES, `report` as REPORT or in
    its place `order`, and not one descriptor more. `variables` tell the runtime of its frames."""
    null = os.open("/dev/null", os.O_RDONLY)
    # First out of the way of the numbers they get.
    frames = [fcntl.fcntl(descriptor, fcntl.F_DUPFD, REPORT + 1) for descriptor in frames]
    fourth = report if order is None else order
    fourths = [] if fourth is None else [fcntl.fcntl(fourth, fcntl.F_DUPFD, REPORT + 1)]
    os.dup2(null, 0)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.closerange(FRAMES, REPORT + 1)
    variables.pop(_FRAMES_VARIABLE, None)
    for descriptor in frames:
        os.dup2(descriptor, FRAMES)
        variables[_FRAMES_VARIABLE] = str(FRAMES)
    for descriptor in fourths:
        os.dup2(descriptor, REPORT, inheritable=order is not None)
    linux.close_from(REPORT + 1)


def set_variables(variables: dict[str, str]) -> None:
    os.environ.clear()
    os.environ.update(variables)
    time.tzset()


def forget_ourselves(client: Any, client_path: str) -> None:
    """Leave the interpreter as if it had been started with the client: a function may have a `lamplighter` module."""
    for name in [name for name in sys.modules if name.split(".")[0] == "lamplighter"]:
        del sys.modules[name]
    sys.modules["__main__"] = client
    sys.argv[:] = [client_path]


def run(main: Callable[[], NoReturn]) -> NoReturn:
    """Hand over to the runtime client in this process."""
    gc.enable()
    os._exit(_end_of(main))


def execute(command: list[str] | None, variables: dict[str, str]) -> NoReturn:
    """Become the command, or the function's `bootstrap`.

    What prevents it is told on REPORT as AWS tells it, and ends as in a shell: 126 not executable, 127 not found."""
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # Python ignores these two, and exec would hand that down
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
    linux.heed_library_signals()
    bootstraps = _bootstraps(variables)
    words = command or [path for path in bootstraps if _is_file(path)][:1]
    if not words:
        _refuse(f"Couldn't find valid bootstrap(s): [{' '.join(bootstraps[:2])}]", 127)
    try:
        os.execvpe(words[0], words, variables)
    except OSError as error:
        # AWS's agent is written in Go, whose texts are the C library's without the capital.
        _refuse(
            f"fork/exec {words[0]}: {str(error.strerror).lower()}", 127 if isinstance(error, FileNotFoundError) else 126
        )


def _bootstraps(variables: dict[str, str]) -> list[str]:
    """Where a custom runtime's program may be, in order (AWS: spec 3.3); AWS names the first two when there is none."""
    directories = (
        variables.get("LAMBDA_TASK_ROOT", "/var/task"),
        variables.get("LAMPLIGHTER_OPT", "/opt"),
        variables.get("LAMBDA_RUNTIME_DIR", "/var/runtime"),
    )
    return [directory + "/bootstrap" for directory in directories]


def _is_file(path: str) -> bool:
    try:
        return not stat.S_ISDIR(os.stat(path).st_mode)
    except OSError:
        return False


def _refuse(reason: str, code: int) -> NoReturn:
    os.write(REPORT, reason.encode(errors="replace")[:_REPORT_LIMIT])
    os._exit(code)


def _end_of(main: Callable[[], NoReturn]) -> int:
    """Run it as an interpreter runs a program, and give the exit code. (Where we are called from, frames of ours are on
    the stack that must never be returned to.)"""
    code = 0
    try:
        main()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
        if isinstance(end.code, str):
            sys.stderr.write(end.code + "\n")
    except BaseException:  # the outermost frame of a program: what is not caught here would be lost
        traceback.print_exc()
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    return code & 0xFF


def end_of(status: int, report: int, extension: str | None = None, untaken: bool = False) -> bytes:
    """What the service is told of a runtime, or of the extension of this name, that ended with this wait status.
    report: the other end of its REPORT. untaken: it never read what it was to run."""
    signalled = os.WIFSIGNALED(status)
    os.set_blocking(report, False)
    refusal = ""
    try:
        refusal = os.read(report, _REPORT_LIMIT).decode(errors="replace")
    except ConnectionResetError:  # a runtime's also brings it its order, which still lay there
        untaken = True
    except BlockingIOError:
        pass
    return json.dumps(
        {
            "code": None if signalled else os.WEXITSTATUS(status),
            "signal": os.WTERMSIG(status) if signalled else None,
            "refusal": refusal or None,
            "untaken": untaken,
            **({} if extension is None else {"extension": extension}),
        }
    ).encode()
