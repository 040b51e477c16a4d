"""Isolation "none": the same two processes on the host's own file system, for hosts that allow nothing better.

It keeps functions apart from nothing. What it still promises: the Runtime API's listener, one output pipe, a working
directory for temporary files, and that ending the sandbox ends every process it started. CPython 3.9 and later.
"""

from __future__ import annotations

import fcntl
import os
import signal
import socket
from typing import NoReturn

from lamplighter.sandbox import guest, linux
from lamplighter.sandbox.channel import Channel
from lamplighter.sandbox.inside import BACKLOG, Ground, Preparation, describe

_AWAITED = (signal.SIGTERM, signal.SIGCHLD)


def live(ground: Ground, preparation: Preparation) -> NoReturn:
    """Be A: supervisor of everything below, which SIGTERM (from the fork server, or at its death) tells to end."""
    try:
        signal.pthread_sigmask(signal.SIG_BLOCK, _AWAITED)
        linux.prctl(linux.PR_SET_CHILD_SUBREAPER, 1)
        linux.prctl(linux.PR_SET_PDEATHSIG, signal.SIGTERM)
        packet = Channel(socket.socket(fileno=preparation.orders)).receive()
        if packet is not None:
            order, (status_end, output, *frames) = packet
            status = Channel(socket.socket(fileno=status_end))
            try:
                for procs in preparation.cgroups:
                    os.write(procs, b"0")
                listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
                listener.bind(("127.0.0.1", 0))
                listener.listen(BACKLOG)
                variables = {**order["variables"], **order["places"]}
                variables["AWS_LAMBDA_RUNTIME_API"] = f"127.0.0.1:{listener.getsockname()[1]}"
                if "AWS_LAMBDA_METADATA_API" in variables:
                    variables["AWS_LAMBDA_METADATA_API"] = variables["AWS_LAMBDA_RUNTIME_API"]
                report, reporting = os.pipe2(os.O_CLOEXEC)
                child = os.fork()
                if child == 0:
                    _become_runtime(ground, output, reporting, frames, variables, order["command"])
                status.send({"running": True}, [listener.detach()])
                report = fcntl.fcntl(report, fcntl.F_DUPFD, 5)  # out of the way of the numbers it and status get
                os.dup2(status.fileno(), 3)
                os.dup2(report, 4)
                linux.close_from(5)
                _watch(child)
            except OSError as error:
                status.send({"failed": describe(error), "errno": error.errno})
    finally:
        os._exit(1)


def _become_runtime(
    ground: Ground,
    output: int,
    reporting: int,
    frames: list[int],
    variables: dict[str, str],
    command: list[str] | None,
) -> NoReturn:
    try:
        linux.prctl(linux.PR_SET_PDEATHSIG, signal.SIGKILL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _AWAITED)
        os.setsid()
        os.umask(0o022)
        os.chdir(variables["LAMBDA_TASK_ROOT"])
        guest.limit_resources(own_user=False)
        if command is not None or ground.main is None:
            guest.wire_descriptors(output, reporting, frames, variables)
            guest.execute(command, variables)
        guest.wire_descriptors(output, None, frames, variables)
        guest.set_variables(variables)
        guest.forget_ourselves(ground.client, ground.client_path)
        guest.run(ground.main)
    finally:
        os._exit(1)


def _watch(child: int) -> NoReturn:
    while True:
        if signal.sigwait(_AWAITED) == signal.SIGTERM:
            os.kill(child, signal.SIGKILL)
        while True:
            try:
                pid, result = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                os._exit(1)
            if pid == 0:
                break
            if pid == child:
                os.write(3, guest.end_of(result, 4))
                _end_children(child)
                os._exit(0)


def _end_children(session: int) -> None:
    """Kill until nobody is left: whoever loses its parent becomes our child, as we are the subreaper."""
    listing = f"/proc/self/task/{os.getpid()}/children"
    while True:
        try:
            with open(listing) as file:
                for pid in file.read().split():
                    os.kill(int(pid), signal.SIGKILL)
        except FileNotFoundError:  # a kernel without this file: at least what stayed in the runtime's process group
            try:
                os.killpg(session, signal.SIGKILL)
            except ProcessLookupError:
                return
        try:
            os.wait()
        except ChildProcessError:
            return
