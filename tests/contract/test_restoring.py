"""A copy that isn't there in time, or fails on the way: what callers and logs are told (AWS: spec 2.3, 3.6).

A plain process stands in for the copy: what is tested is the environment around it."""

import asyncio
import json
import re
from collections.abc import Sequence
from pathlib import Path

import pytest

from lamplighter.model.clock import SystemClock
from lamplighter.model.errors import ServiceError, SnapStartException, SnapStartTimeoutException
from lamplighter.model.functions import FunctionVersion
from lamplighter.sandbox.contract import Sandbox, SandboxSpec
from lamplighter.worker.worker import Worker
from support.environments import invocation, version
from support.sandbox_server import story
from support.sandboxes import LEAN, PlainSandboxes

SOURCE = """
import os, time
time.sleep(float(os.environ["TAKES"]))
if os.environ["TAKES"] == "0":
    os._exit(65)
"""


class Copies:
    """In place of `worker.templates.Templates`."""

    def __init__(self, sandboxes: PlainSandboxes) -> None:
        self._sandboxes = sandboxes

    async def ready(self, function: FunctionVersion) -> bool:
        return True

    async def copy(self, function: FunctionVersion, spec: SandboxSpec) -> Sandbox:
        return await self._sandboxes.start(spec)


class Log:
    def __init__(self) -> None:
        self.lines_written: list[str] = []

    def open(self, function: FunctionVersion, stream: str) -> "Log":
        return self

    def many(self, entries: Sequence[tuple[float, bytes]]) -> None:
        for now, data in entries:
            self.lines(now, data)

    def lines(self, now: float, data: bytes) -> None:
        self.lines_written += data.decode().splitlines()

    message = lines


async def restore(task: Path, takes: str, **members: object) -> tuple[ServiceError, list[str]]:
    """What the caller of a version is told whose copies take so long, and the log."""
    (task / "app.py").write_text(SOURCE)
    sandboxes, log = PlainSandboxes(task, LEAN), Log()
    worker = Worker(sandboxes, SystemClock(), None, log.open, init_limit=0.5)
    worker.templates = Copies(sandboxes)  # pyright: ignore[reportAttributeAccessIssue]
    function = version(number="1", snap_start_on=True, handler="app.handler", environment={"TAKES": takes}, **members)
    environment = await worker.start(function)
    with pytest.raises(ServiceError) as refused:
        await asyncio.wait_for(environment.run(invocation()), 30)
    assert not environment.alive
    await environment.end()
    assert all(sandbox.ended for sandbox in sandboxes.started)
    return refused.value, log.lines_written


@story
async def test_a_restore_that_takes_too_long_is_refused_as_on_aws(tmp_path: Path) -> None:
    error, log = await restore(tmp_path, "60")
    assert isinstance(error, SnapStartTimeoutException)
    assert (error.status, str(error)) == (408, "Lambda couldn't restore the snapshot within the timeout limit.")
    assert log[0].startswith("RESTORE_START Runtime Version: python:3.12.v")
    assert re.fullmatch(r"RESTORE_REPORT Restore Duration: \d+\.\d\d ms\tStatus: timeout", log[-1])


@story
async def test_a_copy_that_dies_before_it_asks_is_refused_as_on_aws(tmp_path: Path) -> None:
    error, log = await restore(tmp_path, "0")
    assert isinstance(error, SnapStartException)
    assert error.status == 400
    assert re.fullmatch(
        r"RESTORE_REPORT Restore Duration: \d+\.\d\d ms\tStatus: error\tError Type: Runtime.ExitError", log[-1]
    )


@story
@pytest.mark.parametrize(("takes", "failed"), [("60", ("timeout",)), ("0", ("error", "Runtime.ExitError"))])
async def test_in_json_a_restore_that_fails_is_told_in_awss_records(
    tmp_path: Path, takes: str, failed: tuple[str, ...]
) -> None:
    members = {"log_format": "JSON", "system_log_level": "WARN", "runtime_version_arn": "arn:of-the-runtime"}
    _, log = await restore(tmp_path, takes, **members)
    told = [json.loads(line) for line in log]
    assert [event["type"] for event in told] == ["platform.restoreRuntimeDone", "platform.restoreReport"]
    done, report = (event["record"] for event in told)
    assert tuple(done.values()) == failed
    assert report.pop("metrics").keys() == {"durationMs"}
    assert report == done
    _, log = await restore(tmp_path, takes, **members | {"system_log_level": "INFO"})
    begun = json.loads(log[0])
    assert begun["type"] == "platform.restoreStart"
    assert (
        begun["record"].items()
        >= {
            "functionName": "f",
            "functionVersion": "1",
            "runtimeVersionArn": "arn:of-the-runtime",
        }.items()
    )
    assert begun["record"].keys() == {
        *("runtimeVersion", "runtimeVersionArn", "functionName", "functionArn", "functionVersion"),
        *("instanceId", "instanceMaxMemory"),
    }
