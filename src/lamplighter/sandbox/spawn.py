"""Starting a fork server: a child of the sandbox server that swaps its world for the runtime's, then execs into it."""

import base64
import os
import resource
import signal
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from lamplighter.sandbox import linux, netlink, root, seccomp
from lamplighter.sandbox.channel import Channel
from lamplighter.sandbox.code import link_sdk
from lamplighter.sandbox.forkserver import CHANNEL
from lamplighter.sandbox.messages import Configuration

_MODULE = ("-S", "-u", "-m", "lamplighter.sandbox.forkserver")
_VARIABLES = {"LANG": "C.UTF-8", "PYTHONDONTWRITEBYTECODE": "1"}


@dataclass(slots=True)
class ForkServerProcess:
    """A fork server as its parent knows it."""

    runtime: str
    pid: int
    channel: Channel


def spawn(told: Configuration, runtime: str, pid_namespace: int) -> ForkServerProcess:
    """Returns at once: requests sent now are read when it is up; that it never came up shows as end of file."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    given = told.runtimes[runtime]
    client, sdk = ("/var/runtime", root.SDK) if told.isolation != "none" else (given.client, None)
    if given.preload and sdk is None:
        sdk = link_sdk(told.run_dir, given.sdk)
    with theirs:
        isolated = told.isolation != "none"
        try:
            pid = linux.fork_in_pid_namespace(pid_namespace) if isolated else os.fork()
        except OSError:
            ours.close()
            raise
        if pid == 0:
            _become_forkserver(told, runtime, theirs.fileno())
    ours.setblocking(False)
    channel = Channel(ours)
    channel.send(
        {
            "client": client if given.kind == "python" else None,
            "sdk": sdk if given.preload else None,
            "isolated": isolated,
            "way_out": _way_out(told) if isolated else {},
            "unmount": root.STAND_INS,
            "seccomp": base64.b64encode(seccomp.program(linux.MACHINE)).decode() if isolated else "",
            "init_uid": told.first_uid - 1 if told.isolation == "full" else 0,
            "guest_uid": root.GUEST_UID,
            "guest_gid": root.GUEST_GID,
        }
    )
    return ForkServerProcess(runtime, pid, channel)


def _way_out(told: Configuration) -> dict[str, str]:
    prepared = netlink.plan(told.reach).prepared() if told.reach is not None else {}
    return {name: base64.b64encode(made).decode() for name, made in prepared.items()}


def _become_forkserver(told: Configuration, runtime: str, channel: int) -> NoReturn:
    try:
        linux.prctl(linux.PR_SET_PDEATHSIG, signal.SIGKILL)  # kept over exec: whoever kills our parent kills us
        os.dup2(channel, CHANNEL)
        linux.close_from(CHANNEL + 1)
        null = os.open("/dev/null", os.O_RDONLY)
        os.dup2(null, 0)
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)
        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
        os.umask(0o022)
        given, variables = told.runtimes[runtime], dict(_VARIABLES)
        if told.isolation == "none":
            python, package = given.interpreter, str(Path(__file__).parents[2])
            os.chdir("/")
        else:
            python, package = root.enter(os.path.join(told.run_dir, "root"), given), root.PACKAGE
            os.chdir(package)
            variables["LD_LIBRARY_PATH"] = root.library_path(given)
        os.execve(python, [python, *_MODULE], variables | {"PYTHONPATH": package})
    except OSError as error:
        where = f" ({error.filename})" if error.filename else ""
        os.write(2, f"lamplighter: fork server of {runtime}: {error.strerror}{where}\n".encode())
    finally:
        os._exit(1)
