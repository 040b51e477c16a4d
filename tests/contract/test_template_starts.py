"""A template's runtime that is killed before it knows what to run: nothing of the function's was in it, so another
takes its place, and nobody is told.

A plain process stands in for the runtime: what is tested is who waits for it."""

import signal
import sys
from pathlib import Path
from typing import cast

import pytest

from lamplighter.model.clock import SystemClock
from lamplighter.sandbox.contract import Exit, Sandbox, SandboxSpec, TemplateGone
from lamplighter.worker.initializing import InitFailed
from lamplighter.worker.templates import REPLACED, Copying, Templates
from lamplighter.worker.worker import Worker
from support.environments import version
from support.sandbox_server import story
from support.sandboxes import PlainSandbox, PlainSandboxes

READY = """
import os, socket, time
host, port = os.environ["AWS_LAMBDA_RUNTIME_API"].split(":")
asking = socket.create_connection((host, int(port)))
asking.sendall(b"GET /2018-06-01/runtime/restore/next HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n")
time.sleep(60)
"""
FUNCTION = version(number="1", snap_start_on=True)


class Killing(PlainSandboxes):
    """Whose first ones end so. `copied`: of what copies were asked for; of `dying` none is made."""

    def __init__(self, task: Path, killed: int, untaken: bool = True) -> None:
        super().__init__(task, (sys.executable, "-c", READY))
        self._killed = killed
        self._end = Exit(signal=signal.SIGKILL, untaken=untaken)
        self.copied: list[Sandbox] = []
        self.dying: Sandbox | None = None

    async def start(self, spec: SandboxSpec, former: Sandbox | None = None) -> Sandbox:
        sandbox = await super().start(spec, former)
        if len(self.started) <= self._killed:
            self.started[-1].process.kill()
            sandbox.exited.set_result(self._end)
        return sandbox

    async def hold(self, sandbox: Sandbox, let_go: object) -> None:
        """It stands still as it is."""

    async def copy(self, template: Sandbox, spec: SandboxSpec) -> Sandbox:
        self.copied.append(template)
        if self.dying is template:
            raise TemplateGone("nobody has heard of its end yet")
        return await super().start(spec)


def templates_of(sandboxes: Killing) -> Templates:
    worker = Worker(sandboxes, SystemClock())
    return Templates(cast(Copying, sandboxes), SystemClock(), worker.fit)


@story
@pytest.mark.parametrize("killed", [1, REPLACED])
async def test_who_is_killed_at_its_order_is_replaced(tmp_path: Path, killed: int) -> None:
    sandboxes = Killing(tmp_path, killed)
    templates = templates_of(sandboxes)
    await templates.initialize(FUNCTION)
    assert len(templates) == 1
    assert [sandbox.ended for sandbox in sandboxes.started] == [True] * killed + [False]
    await templates.close()
    assert all(sandbox.ended for sandbox in sandboxes.started)


@story
async def test_who_kills_them_all_is_told_as_the_runtimes_death(tmp_path: Path) -> None:
    sandboxes = Killing(tmp_path, REPLACED + 1)
    templates = templates_of(sandboxes)
    with pytest.raises(InitFailed) as failed:
        await templates.initialize(FUNCTION)
    assert failed.value.code == "FunctionError.RuntimeInitError"
    assert all(sandbox.ended for sandbox in sandboxes.started)
    await templates.close()


@story
async def test_who_dies_of_what_it_runs_is_not_replaced(tmp_path: Path) -> None:
    sandboxes = Killing(tmp_path, 1, untaken=False)
    templates = templates_of(sandboxes)
    with pytest.raises(InitFailed):
        await templates.initialize(FUNCTION)
    assert [sandbox.ended for sandbox in sandboxes.started] == [True]
    await templates.close()


@story
async def test_a_template_that_dies_as_it_is_copied_is_made_again(tmp_path: Path) -> None:
    sandboxes = Killing(tmp_path, 0)
    templates = templates_of(sandboxes)
    await templates.initialize(FUNCTION)
    (first,) = sandboxes.started
    sandboxes.dying = first
    made = cast(PlainSandbox, await templates.copy(FUNCTION, sandboxes.specs[0]))
    assert sandboxes.copied[0] is first and len(sandboxes.copied) == 2
    assert first.ended and not made.ended and len(templates) == 1
    await made.end()
    await templates.close()
    assert all(sandbox.ended for sandbox in sandboxes.started)
