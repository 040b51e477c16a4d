"""The last steps before a guest's code runs, the same in every isolation: descriptors, variables, client or command.

Runs in the process that becomes the runtime, under the runtime's interpreter (CPython 3.9 and later).
"""

from __future__ import annotations

import gc
import os
import resource
import signal
import sys
import time
import traceback
from collections.abc import Callable
from typing import Any, NoReturn

from lamplighter.sandbox import linux

# (resource, soft and hard): AWS: spec 3.1. A core limit of 1 is special to the kernel: no core file, and none piped to
# a handler of the host either, which a limit of 0 would allow.
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


def wire_descriptors(output: int) -> None:
    """stdin from /dev/null, stdout and stderr to `output`, and not one descriptor more."""
    null = os.open("/dev/null", os.O_RDONLY)
    os.dup2(null, 0)
    os.dup2(output, 1)
    os.dup2(output, 2)
    linux.close_from(3)


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


def run(main: Callable[[], NoReturn], command: list[str] | None, variables: dict[str, str]) -> NoReturn:
    """Hand over. A command that can't be run ends as in a shell: 126 not executable, 127 not found."""
    if command is None:
        gc.enable()
        os._exit(_end_of(main))
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # Python ignores these two, and exec would hand that down
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
    try:
        os.execvpe(command[0], command, variables)
    except OSError as error:
        os.write(2, f"{command[0]}: {error.strerror}\n".encode())
        os._exit(127 if isinstance(error, FileNotFoundError) else 126)


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


def exit_of(status: int) -> tuple[int | None, int | None]:
    """(code, signal) of a wait status; one of them is None."""
    if os.WIFSIGNALED(status):
        return None, os.WTERMSIG(status)
    return os.WEXITSTATUS(status), None
