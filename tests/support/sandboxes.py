"""Sandboxes without isolation: a plain subprocess and a listener on a free port, for tests about everything else."""

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from lamplighter.sandbox.contract import Exit, Sandbox, SandboxError, SandboxSpec

LEAN = (sys.executable, str(Path(__file__).with_name("lean_runtime.py")))
RIC = (sys.executable, "-m", "awslambdaric")  # AWS's own; the handler is appended


class PlainSandbox:
    def __init__(self, process: "subprocess.Popen[bytes]", listener: socket.socket, output: int) -> None:
        self.runtime_api = listener
        self.xray_daemon: socket.socket | None = None
        self.service_api: socket.socket | None = None
        self.output = output
        self.frames = self.extension_output = -1
        self.extensions: dict[str, asyncio.Future[Exit]] = {}
        self.process = process
        self.ended = self.frozen = False
        self._loop = asyncio.get_running_loop()
        self.exited: asyncio.Future[Exit] = self._loop.create_future()
        self._pidfd = os.pidfd_open(process.pid)
        self._loop.add_reader(self._pidfd, self._reap)

    def _reap(self) -> None:
        self._loop.remove_reader(self._pidfd)
        os.close(self._pidfd)
        code = self.process.wait()
        if not self.exited.done():
            self.exited.set_result(Exit(code=code) if code >= 0 else Exit(signal=-code))

    def start_runtime(self) -> None:
        """It runs: there are no extensions."""

    def signal_runtime(self, number: int) -> None:
        """Only asked for where there are extensions."""

    def memory_peak(self) -> int | None:
        return 40 * 1048576

    def limit_cpu(self, limited: bool = True) -> None:
        """A plain process has no limits."""

    def freeze(self) -> None:
        """As far as one process is concerned."""
        self.frozen = True
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        if self.frozen:
            self.frozen = False
            self.process.send_signal(signal.SIGCONT)

    async def connect(self, port: int) -> socket.socket:
        made = socket.socket()
        made.setblocking(False)
        try:
            await self._loop.sock_connect(made, ("127.0.0.1", port))
        except BaseException:
            made.close()
            raise
        return made

    async def end(self, keep_tmp: bool = False) -> None:
        if self.ended:
            return
        self.ended = True
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        await self.exited
        os.close(self.output)
        self.runtime_api.close()


class PlainSandboxes:
    """`command`: what stands in for the runtime; `task`: the directory that stands in for /var/task."""

    def __init__(self, task: Path, command: Sequence[str] = LEAN) -> None:
        self.task = task
        self.command = command
        self.specs: list[SandboxSpec] = []
        self.started: list[PlainSandbox] = []
        self.broken: str | None = None  # why no sandbox can be made
        self.gate: asyncio.Event | None = None  # none is made until this is set

    async def start(self, spec: SandboxSpec, former: Sandbox | None = None) -> Sandbox:
        self.specs.append(spec)
        if self.gate is not None:
            await self.gate.wait()
        if self.broken:
            raise SandboxError(self.broken)
        listener = socket.create_server(("127.0.0.1", 0))
        listener.setblocking(False)
        ours, theirs = os.pipe()
        os.set_blocking(ours, False)
        port = listener.getsockname()[1]
        variables = dict(spec.variables) | {
            "AWS_LAMBDA_RUNTIME_API": f"127.0.0.1:{port}",
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(self.task),
            "LD_LIBRARY_PATH": "",
            "LAMBDA_TASK_ROOT": str(self.task),
        }
        command = [*self.command, variables["_HANDLER"]] if tuple(self.command) == RIC else list(self.command)
        process = subprocess.Popen(  # noqa: ASYNC220  # a fork is quick, and `end` waits for the process
            command, env=variables, cwd=self.task, stdout=theirs, stderr=theirs, start_new_session=True
        )
        os.close(theirs)
        sandbox = PlainSandbox(process, listener, ours)
        self.started.append(sandbox)
        return sandbox

    async def close(self) -> None:
        for sandbox in self.started:
            await sandbox.end()
