"""Environments with real runtimes in real processes: every way an invocation can end (AWS: spec 2.3, 3.1, 3.6)."""

import asyncio
import gc
import json
import math
import re
import sys
from collections.abc import AsyncGenerator, Coroutine, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from lamplighter.model.clock import Clock, SystemClock
from lamplighter.model.functions import FunctionVersion
from lamplighter.model.invocation import Outcome
from lamplighter.model.pieces import whole
from lamplighter.model.usage import Initialized, Ran, Usage
from lamplighter.worker.contract import TooLate, WorkerError
from lamplighter.worker.environment import RESETS, LiveEnvironment
from lamplighter.worker.notes import Notebook
from lamplighter.worker.worker import Worker
from support.environments import HeldClock, invocation, version
from support.sandbox_server import story, until
from support.sandboxes import LEAN, RIC, PlainSandboxes

SOURCE = """
import os, signal, sys, time
if os.environ.get("LATE"):
    time.sleep(float(os.environ["LATE"]))
if os.environ.get("LEAVE"):
    print("leaving", flush=True)
    os._exit(int(os.environ["LEAVE"]))
if os.environ.get("ONCE") and not os.path.exists(os.environ["ONCE"]):
    open(os.environ["ONCE"], "w").close()
    os._exit(7)
calls = 0
def handler(event, context):
    return event
def count(event, context):
    global calls
    calls += 1
    return calls
def fail(event, context):
    raise ValueError("broken")
def leave(event, context):
    print("last words", flush=True)
    os._exit(event)
def kill(event, context):
    os.kill(os.getpid(), event)
def maybe(event, context):
    if event < 0:
        time.sleep(60)
    if event:
        os._exit(event)
    return count(event, context)
def sleep(event, context):
    time.sleep(event)
def large(event, context):
    return "x" * event
def talk(event, context):
    print("said", event)
    sys.stdout.write("unfinished")
def flood(event, context):
    for n in range(event):
        print("line", n)
"""
SLOW_TO_ASK = """
import os, time, urllib.request
root = f"http://{os.environ['AWS_LAMBDA_RUNTIME_API']}/2018-06-01/runtime/invocation"
with urllib.request.urlopen(root + "/next") as event:
    request_id = event.headers["Lambda-Runtime-Aws-Request-Id"]
urllib.request.urlopen(f"{root}/{request_id}/response", data=b"5").read()
open("answered", "w").close()
time.sleep(60)
"""
ID = invocation().request_id


class Bench:
    def __init__(
        self,
        task: Path,
        command: Sequence[str],
        logs: bool = False,
        init_limit: float = 10.0,
        freeze_after: float | None = None,
        clock: Clock | None = None,
    ) -> None:
        (task / "app.py").write_text(SOURCE)
        self.sandboxes = PlainSandboxes(task, command)
        self._log: list[str] = []
        self._used: list[Usage] = []
        # One of the two clients has its calls told later, when somebody looks: it makes no difference.
        self._book = Notebook(lambda *told: False, self._used.append) if command == LEAN else None
        self.worker = Worker(
            self.sandboxes,
            clock or SystemClock(),
            None,
            self._open if logs else None,
            init_limit,
            observe=self._used.append,
            book=self._book,
            freeze_after=freeze_after,
        )

    def _open(self, function: FunctionVersion, stream: str) -> "Bench":
        return self

    def lines(self, now: float, data: bytes) -> None:
        self._log += data.decode().removesuffix("\n").split("\n")

    def message(self, now: float, data: bytes) -> None:
        self._log.append(data.decode().removesuffix("\n"))

    def many(self, entries: Sequence[tuple[float, bytes]]) -> None:
        for now, data in entries:
            self.lines(now, data)

    @property
    def log(self) -> list[str]:
        self._look()
        return self._log

    @property
    def used(self) -> list[Usage]:
        self._look()
        return self._used

    def _look(self) -> None:
        if self._book is not None:
            self._book.catch_up()

    @asynccontextmanager
    async def environment(self, handler: str, **members: object) -> AsyncGenerator[LiveEnvironment]:
        environment = await self.worker.start(version(handler=handler, **members))
        try:
            yield environment
        finally:
            await environment.end()
            assert all(sandbox.ended for sandbox in self.sandboxes.started)

    async def payload(self, handler: str, event: bytes, **members: object) -> tuple[str | None, object]:
        """The error and the payload of one invocation."""
        async with self.environment(handler, **members) as environment:
            outcome = await whole(await environment.run(invocation(event)))
            return outcome.error, json.loads(outcome.payload)


@pytest.fixture(params=[LEAN, RIC], ids=["lean", "awslambdaric"])
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> Bench:
    return Bench(tmp_path, request.param)


async def free(environment: LiveEnvironment) -> None:
    await until(lambda: not environment.busy, "the phase is over")


@story
async def test_events_and_answers_pass_unchanged_and_the_process_stays(bench: Bench) -> None:
    async with bench.environment("app.handler") as environment:
        for payload in (b'{"text":"\xc3\xa4\xe2\x82\xac"}', b"null", b"[1, 2.5, true]", b'"x"'):
            outcome = await environment.run(invocation(payload))
            assert (outcome.error, json.loads(outcome.payload)) == (None, json.loads(payload))
            await free(environment)
    assert len(bench.sandboxes.started) == 1


@story
async def test_memory_is_kept_from_one_invocation_to_the_next(bench: Bench) -> None:
    async with bench.environment("app.count") as environment:
        for expected in range(1, 6):
            assert (await environment.run(invocation())).payload == str(expected).encode()
            await free(environment)


@story
async def test_a_handlers_error_is_passed_on_and_the_environment_stays(bench: Bench) -> None:
    async with bench.environment("app.fail") as environment:
        for _ in range(2):
            outcome = await environment.run(invocation())
            described = json.loads(outcome.payload)
            assert (outcome.error, described["errorMessage"], described["errorType"]) == (
                "Unhandled",
                "broken",
                "ValueError",
            )
            await free(environment)
        assert environment.alive


EXITS = {
    ("app.leave", b"1"): "Runtime exited with error: exit status 1",
    ("app.leave", b"127"): "Runtime exited with error: exit status 127",
    ("app.leave", b"0"): "Runtime exited without providing a reason",
    ("app.kill", b"9"): "Runtime exited with error: signal: killed",
    ("app.kill", b"11"): "Runtime exited with error: signal: segmentation fault",
}


@pytest.mark.parametrize(("handler", "event"), EXITS)
@story
async def test_a_crash_is_noticed_at_once_and_told_in_awss_words(bench: Bench, handler: str, event: bytes) -> None:
    async with asyncio.timeout(10), bench.environment(handler, timeout=60) as environment:
        outcome = await environment.run(invocation(event))
        assert outcome.error == "Unhandled"
        assert json.loads(outcome.payload) == {
            "errorType": "Runtime.ExitError",
            "errorMessage": f"RequestId: {ID} Error: {EXITS[handler, event]}",
        }
        assert environment.alive
        await until(lambda: bench.sandboxes.started[0].ended, "its sandbox is taken down")
        again = await environment.run(invocation(event))
        assert (again.error, again.payload) == (outcome.error, outcome.payload)
        assert len(bench.sandboxes.started) == 2


@pytest.mark.parametrize("event", [b"9", b"-1"], ids=["crash", "time-out"])
@story
async def test_after_a_failure_the_same_environment_begins_anew_in_the_next_invocation(
    tmp_path: Path, event: bytes
) -> None:
    bench = Bench(tmp_path, LEAN, logs=True)
    async with bench.environment("app.maybe", timeout=1) as environment:
        for payload, expected in ((b"0", b"1"), (b"0", b"2"), (event, None), (b"0", b"1"), (b"0", b"2")):
            outcome = await environment.run(invocation(payload))
            assert (outcome.error is None, expected or outcome.payload) == (expected is not None, outcome.payload)
            await free(environment)
        assert [len(bench.sandboxes.started), environment.alive] == [2, True]
    reports = [line for line in bench.log if line.startswith("REPORT")]
    assert ["Init Duration" in line for line in reports] == [True, False, False, False, False]
    assert sum(line.startswith("INIT_START") for line in bench.log) == 1, "it is the same environment to the log"


@pytest.mark.parametrize("crashed", [False, True], ids=["first init", "repeated init"])
@story
async def test_what_init_takes_past_its_latest_begin_is_not_given_to_the_function(
    tmp_path: Path, crashed: bool
) -> None:
    clock = HeldClock()
    bench = Bench(tmp_path, LEAN, logs=True, clock=clock)
    async with bench.environment("app.maybe") as environment:
        if crashed:
            await environment.run(invocation(b"3"))
            await free(environment)
            bench.sandboxes.gate = asyncio.Event()
        late = asyncio.create_task(environment.run(invocation(b"0", latest=clock.now() + 60)))
        await asyncio.sleep(0)
        assert environment.busy, "it waits for init"
        clock.move(60)
        if bench.sandboxes.gate is not None:
            bench.sandboxes.gate.set()
        with pytest.raises(TooLate):
            await late
        await free(environment)
        assert environment.warm
        with pytest.raises(TooLate):
            await environment.run(invocation(b"0", latest=clock.now()))
        assert (await environment.run(invocation(b"0", latest=clock.now() + 60))).payload == b"1"


@story
async def test_an_environment_that_does_nothing_but_fail_is_given_up(tmp_path: Path) -> None:
    bench = Bench(tmp_path, LEAN)
    async with bench.environment("app.maybe") as environment:
        for payload in [b"3"] * (RESETS - 1) + [b"0"] + [b"3"] * RESETS:
            assert environment.alive
            await environment.run(invocation(payload))
            await free(environment)
        assert not environment.alive


@story
async def test_a_time_out_while_the_next_sandbox_is_being_started_leaves_nothing(tmp_path: Path) -> None:
    bench = Bench(tmp_path, LEAN)
    async with bench.environment("app.maybe", timeout=1) as environment:
        await environment.run(invocation(b"3"))
        bench.sandboxes.gate = asyncio.Event()
        assert b"Sandbox.Timedout" in (await environment.run(invocation(b"0"))).payload
        bench.sandboxes.gate.set()
        assert (await environment.run(invocation(b"0"))).payload == b"1"


@story
async def test_a_crash_while_idle_is_noticed(bench: Bench) -> None:
    async with bench.environment("app.handler") as environment:
        await environment.run(invocation())
        await free(environment)
        bench.sandboxes.started[0].process.kill()
        await until(lambda: not environment.alive, "the environment is dead")


@story
async def test_a_function_out_of_time_is_ended(bench: Bench) -> None:
    async with bench.environment("app.sleep", timeout=1) as environment:
        outcome = await environment.run(invocation(b"60"))
        assert outcome.payload == (
            b'{"errorType":"Sandbox.Timedout","errorMessage":"RequestId: %s Error: '
            b'Task timed out after 1.00 seconds"}' % ID.encode()
        )
        await until(lambda: bench.sandboxes.started[0].ended, "its sandbox is taken down")
        assert environment.alive


@story
async def test_the_time_of_an_earlier_invocation_does_not_end_a_later_one(tmp_path: Path) -> None:
    bench = Bench(tmp_path, LEAN)
    async with bench.environment("app.sleep", timeout=1) as environment:
        for seconds in (b"0.7", b"0.7"):
            assert (await environment.run(invocation(seconds))).payload == b"null"
            await free(environment)
        assert b"Sandbox.Timedout" in (await environment.run(invocation(b"5"))).payload


@story
async def test_a_response_that_is_too_large_is_told_so(bench: Bench) -> None:
    expected = {
        "errorType": "Function.ResponseSizeTooLarge",
        "errorMessage": "Response payload size exceeded maximum allowed payload size (6291556 bytes).",
    }
    assert await bench.payload("app.large", b"6291555", timeout=30) == ("Unhandled", expected)
    assert await bench.payload("app.large", b"6291554", timeout=30) == (None, "x" * 6291554)


@story
async def test_an_init_error_is_passed_on_byte_for_byte_after_a_second_try(tmp_path: Path) -> None:
    bench = Bench(tmp_path, RIC, logs=True)
    error, payload = await bench.payload("nowhere.handler", b"{}")
    assert (error, payload) == (
        "Unhandled",
        {
            "errorMessage": "Unable to import module 'nowhere': No module named 'nowhere'",
            "errorType": "Runtime.ImportModuleError",
            "requestId": "",
            "stackTrace": [],
        },
    )
    assert len(bench.sandboxes.started) == 2
    reports = [line for line in bench.log if line.startswith("INIT_REPORT")]
    assert [re.sub(r"\d+\.\d\d", "N", line) for line in reports] == [
        "INIT_REPORT Init Duration: N ms\tPhase: init\tStatus: error\tError Type: Runtime.ImportModuleError",
        "INIT_REPORT Init Duration: N ms\tPhase: invoke\tStatus: error\tError Type: Runtime.ImportModuleError",
    ]
    assert bench.log[-1].endswith("\tStatus: error\tError Type: Runtime.ImportModuleError")


@story
async def test_a_runtime_that_leaves_in_init_is_started_again_inside_the_invocation(bench: Bench) -> None:
    members = {"environment": {"ONCE": str(bench.sandboxes.task / "once")}}
    assert await bench.payload("app.handler", b"5", **members) == (None, 5)
    assert len(bench.sandboxes.started) == 2
    message = f"RequestId: {ID} Error: Runtime exited with error: exit status 3"
    assert await bench.payload("app.handler", b"5", environment={"LEAVE": "3"}) == (
        "Unhandled",
        {"errorType": "Runtime.ExitError", "errorMessage": message},
    )


@story
async def test_an_init_that_takes_too_long_is_repeated_in_the_functions_own_time(tmp_path: Path) -> None:
    bench = Bench(tmp_path, LEAN, logs=True, init_limit=0.3)
    slow = {"environment": {"LATE": "0.8"}}
    assert await bench.payload("app.handler", b"5", timeout=5, **slow) == (None, 5)
    assert len(bench.sandboxes.started) == 2
    assert any("Phase: init\tStatus: timeout" in line for line in bench.log)
    error, payload = await bench.payload("app.handler", b"5", timeout=1, environment={"LATE": "30"})
    assert (error, isinstance(payload, dict) and payload["errorType"]) == ("Unhandled", "Sandbox.Timedout")
    assert any("Phase: invoke\tStatus: timeout" in line for line in bench.log)


@story
async def test_an_init_that_failed_with_nobody_waiting_is_repeated_by_the_next_invocation(tmp_path: Path) -> None:
    bench = Bench(tmp_path, LEAN)
    async with bench.environment("app.handler", environment={"ONCE": str(tmp_path / "once")}) as environment:
        await until(lambda: bench.sandboxes.started[0].ended, "the failed one is taken down")
        assert environment.alive
        assert (await environment.run(invocation(b"5"))).payload == b"5"


@story
async def test_the_log_tail_has_what_was_written_before_the_answer(bench: Bench) -> None:
    async with bench.environment("app.talk") as environment:
        first = (await environment.run(invocation(b"1", log_tail=True))).log_tail
        await free(environment)
        second = (await environment.run(invocation(b"2", log_tail=True))).log_tail
        await free(environment)
        none = (await environment.run(invocation(b"3"))).log_tail
    figures = re.compile(rb"\d+\.\d\d|\d+(?= ms)")
    assert first is not None
    assert second is not None
    assert figures.sub(b"N", first).decode() == (
        f"START RequestId: {ID} Version: $LATEST\nsaid 1\nunfinished\nEND RequestId: {ID}\n"
        f"REPORT RequestId: {ID}\tDuration: N ms\tBilled Duration: N ms\tMemory Size: 128 MB\t"
        "Max Memory Used: 40 MB\tInit Duration: N ms\t\n"
    )
    assert b"said 2\n" in second
    assert b"Init Duration" not in second
    assert none is None


@story
async def test_init_is_billed_with_the_first_invocation(tmp_path: Path) -> None:
    bench = Bench(tmp_path, LEAN)
    async with bench.environment("app.handler") as environment:
        tail = (await environment.run(invocation(log_tail=True))).log_tail or b""
    duration, billed, init = (
        float(match[1]) for match in re.finditer(rb"(?:\t| )(?:Init |Billed )?Duration: ([\d.]+) ms", tail)
    )
    assert billed - 1 < duration + init <= billed


@story
async def test_the_tail_is_the_last_4096_bytes_and_a_flood_blocks_nobody(bench: Bench) -> None:
    async with bench.environment("app.flood", timeout=30) as environment:
        tail = (await environment.run(invocation(b"200000", log_tail=True))).log_tail or b""
        assert len(tail) == 4096
        assert b"line 199999\nEND" in tail
        await free(environment)
        assert (await environment.run(invocation(b"200000"))).error is None


@story
async def test_a_sink_gets_every_line_whole_and_in_order(tmp_path: Path) -> None:
    bench = Bench(tmp_path, LEAN, logs=True)
    async with bench.environment("app.flood", timeout=30) as environment:
        await environment.run(invocation(b"50000"))
        await free(environment)
    start = bench.log.index(f"START RequestId: {ID} Version: $LATEST")
    end = bench.log.index(f"END RequestId: {ID}")
    assert bench.log[0] == "INIT_START Runtime Version: python:3.12.v1"
    assert bench.log[start + 1 : end] == [f"line {n}" for n in range(50000)]


@story
async def test_a_report_comes_after_the_answer_and_before_the_next_start(tmp_path: Path) -> None:
    bench = Bench(tmp_path, LEAN, logs=True)
    waiting: list[Coroutine[Any, Any, Outcome]] = []
    reports: list[int] = []  # in the log, whenever an answer comes

    def begin(_: object = None) -> None:
        """As the front door waits, without a task; the next call comes with the answer to the last one."""
        reports.append(sum(line.startswith("REPORT") for line in bench.log))
        waiting.append(environment.run(invocation()))
        answer = waiting[-1].send(None)
        answer.add_done_callback(begin if len(reports) < 20 else over.set_result)

    async with bench.environment("app.handler") as environment:
        over = asyncio.get_running_loop().create_future()
        begin()
        await over
        for call in waiting:
            with pytest.raises(StopIteration):
                call.send(None)
    assert reports == [0, *range(19)], "each is answered before it is reported"
    words = [line.split()[0] for line in bench.log if line.startswith(("START", "END", "REPORT"))]
    assert words == ["START", "END", "REPORT"] * 20
    assert len([usage for usage in bench.used if isinstance(usage, Ran)]) == 20


@story
async def test_ending_a_busy_environment_tells_its_invocation(tmp_path: Path) -> None:
    bench = Bench(tmp_path, LEAN)
    async with bench.environment("app.sleep", timeout=60) as environment:
        call = asyncio.create_task(environment.run(invocation(b"60")))
        await until(lambda: environment.busy, "it runs")
        await environment.end()
        with pytest.raises(WorkerError, match="ended"):
            await call


@story
async def test_an_invocation_that_nobody_waits_for_takes_its_environment_with_it(tmp_path: Path) -> None:
    bench = Bench(tmp_path, LEAN)
    async with bench.environment("app.sleep", timeout=60) as environment:
        await environment.run(invocation(b"0"))
        call = asyncio.create_task(environment.run(invocation(b"60")))
        await until(lambda: environment.busy, "it runs")
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        assert not environment.alive


@story
async def test_a_worker_without_room_says_why(tmp_path: Path) -> None:
    bench = Bench(tmp_path, LEAN)
    bench.sandboxes.broken = "there is no room"
    with pytest.raises(WorkerError, match="there is no room"):
        await bench.worker.start(version())
    await bench.worker.close()


@story
async def test_what_ended_environments_leave_does_not_pile_up(tmp_path: Path) -> None:
    bench = Bench(tmp_path, LEAN)
    bench.sandboxes.broken = "there is no room"
    gc.collect()
    gc.disable()  # it would look at what is old when thousands of them are
    try:
        for _ in range(200):
            with pytest.raises(WorkerError):
                await bench.worker.start(version())
        left = sum(isinstance(each, LiveEnvironment) for each in gc.get_objects())
    finally:
        gc.enable()
    assert left <= 64


@story
async def test_an_answer_is_not_lost_when_its_environment_ends_before_the_log_is_complete(tmp_path: Path) -> None:
    """The shell's kind of runtime: it answers, and is in no hurry to ask again."""
    script = tmp_path / "bootstrap"
    script.write_text(SLOW_TO_ASK)
    bench = Bench(tmp_path, (sys.executable, str(script)))
    async with bench.environment("app.handler", timeout=60) as environment:
        call = asyncio.create_task(environment.run(invocation(b"1", log_tail=True)))
        await until((tmp_path / "answered").exists, "it has answered")
        await until(lambda: environment.busy and not call.done(), "the phase is not over")
        await environment.end()
        outcome = await call
        assert outcome.payload == b"5"


@story
async def test_an_answer_without_a_tail_does_not_wait_for_the_end_of_the_phase(tmp_path: Path) -> None:
    script = tmp_path / "bootstrap"
    script.write_text(SLOW_TO_ASK)
    bench = Bench(tmp_path, (sys.executable, str(script)))
    async with asyncio.timeout(30), bench.environment("app.handler", timeout=60) as environment:
        assert (await environment.run(invocation(b"1"))).payload == b"5"
        assert environment.busy


def told(bench: Bench) -> list[dict[str, Any]]:
    """The platform's events in a log in JSON."""
    lines = [json.loads(line) for line in bench.log if line.startswith('{"time":')]
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line["time"]) for line in lines)
    return [{"type": line["type"].removeprefix("platform."), **line["record"]} for line in lines]


@story
async def test_in_json_the_platform_tells_of_a_cold_invocation_in_awss_records(tmp_path: Path) -> None:
    bench = Bench(tmp_path, LEAN, logs=True)
    settings = {"log_format": "JSON", "system_log_level": "DEBUG", "application_log_level": "INFO"}
    trace = "Root=1-67891233-abcdef012345678912345678;Parent=53995c3f42cd8ad8;Sampled=1"
    async with bench.environment("app.handler", **settings) as environment:
        asked = invocation(b'"x"')._replace(log_tail=True, trace_id=trace)
        outcome = await environment.run(asked)
        tail = outcome.log_tail or b""
    kinds = ["initStart", "initRuntimeDone", "initReport", "start", "runtimeDone", "report"]
    events = told(bench)
    assert [event["type"] for event in events] == kinds
    init_start, init_done, init_report, start, done, report = events
    assert init_start["initializationType"] == "on-demand"
    assert init_start["phase"] == "init"
    assert init_start["instanceMaxMemory"] == 128 << 20
    assert (init_done["status"], init_report["status"]) == ("success", "success")
    tracing = {"spanId": "53995c3f42cd8ad8", "type": "X-Amzn-Trace-Id", "value": trace}
    assert {(event["requestId"], *event["tracing"].values()) for event in (start, done, report)} == {
        (ID, *tracing.values())
    }
    assert (done["status"], done["metrics"]["producedBytes"]) == ("success", 3)
    assert [span["name"] for span in done["spans"]] == ["responseLatency", "responseDuration", "runtimeOverhead"]
    metrics = report["metrics"]
    assert metrics["billedDurationMs"] == math.ceil(metrics["durationMs"] + metrics["initDurationMs"])
    assert (metrics["memorySizeMB"], metrics["maxMemoryUsedMB"]) == (128, 40)
    assert [json.loads(line)["type"] for line in tail.splitlines()][-1] == "platform.report"


LEVELS = {
    "DEBUG": ["initStart", "initRuntimeDone", "initReport", "start", "runtimeDone", "report"],
    "INFO": ["initStart", "start", "report"],
    "WARN": [],
}


@pytest.mark.parametrize("level", LEVELS)
@story
async def test_the_system_log_level_chooses_among_the_events_in_json(tmp_path: Path, level: str) -> None:
    bench = Bench(tmp_path, LEAN, logs=True)
    async with bench.environment("app.handler", log_format="JSON", system_log_level=level) as environment:
        await environment.run(invocation())
        await free(environment)
    assert [event["type"] for event in told(bench)] == LEVELS[level]


FAILURES = {
    "app.leave": (b"3", "error", "Runtime.ExitError", "failure"),
    "app.sleep": (b"60", "timeout", None, "timeout"),
    "app.fail": (b"1", "error", None, "error"),
}


@pytest.mark.parametrize("handler", FAILURES)
@story
async def test_failures_are_told_at_every_level_in_json(tmp_path: Path, handler: str) -> None:
    event, status, error_type, of_runtime = FAILURES[handler]
    bench = Bench(tmp_path, LEAN, logs=True)
    settings = {"log_format": "JSON", "system_log_level": "WARN", "timeout": 1}
    async with bench.environment(handler, **settings) as environment:
        await environment.run(invocation(event))
        await until(lambda: not environment.busy, "the phase is over")
    done, report = told(bench)
    assert (done["type"], done["status"], done.get("errorType")) == ("runtimeDone", of_runtime, error_type)
    assert (report["type"], report["status"], report.get("errorType")) == ("report", status, error_type)


@story
async def test_the_trace_is_named_where_tracing_is_active_and_the_call_sampled(tmp_path: Path) -> None:
    bench = Bench(tmp_path, LEAN, logs=True)
    root, parent = "1-67891233-abcdef012345678912345678", "53995c3f42cd8ad8"
    async with bench.environment("app.handler", tracing_mode="Active") as environment:
        for sampled in (1, 0):
            trace = f"Root={root};Parent={parent};Sampled={sampled}"
            await environment.run(invocation()._replace(trace_id=trace))
            await free(environment)
    traces = [line for event in bench.log for line in event.splitlines() if line.startswith("XRAY")]
    assert traces == [f"XRAY TraceId: {root}\tSegmentId: {parent}\tSampled: true\t"]


@story
async def test_what_ran_is_told_once_and_exactly_as_reported(tmp_path: Path) -> None:
    bench = Bench(tmp_path, LEAN, logs=True)
    for handler, event in (("app.handler", b"1"), ("app.fail", b"1"), ("app.sleep", b"60"), ("app.leave", b"1")):
        async with bench.environment(handler, timeout=1) as environment:
            for _ in range(2):
                await environment.run(invocation(event))
                await free(environment)
    ran = [usage for usage in bench.used if isinstance(usage, Ran)]
    assert ran == bench.used  # every init is named by an invocation
    assert [usage.status for usage in ran] == ["success"] * 2 + ["error"] * 2 + ["timeout"] * 2 + ["crash"] * 2
    assert [usage.init is not None for usage in ran] == [True, False] * 4
    assert ran[-1].error_type == "Runtime.ExitError"
    reports = "\n".join(line for line in bench.log if line.startswith("REPORT"))
    assert re.findall(r"Billed Duration: (\d+) ms", reports) == [str(usage.billed) for usage in ran]
    assert re.findall(r"\tDuration: ([\d.]+) ms", reports) == [f"{usage.duration:.2f}" for usage in ran]


@story
async def test_an_init_that_no_invocation_names_is_told_too(tmp_path: Path) -> None:
    bench = Bench(tmp_path, LEAN)
    async with bench.environment("app.missing"):
        await until(lambda: bool(bench.used), "the failed init is told")
    async with bench.environment("app.handler"):
        pass
    told = [usage for usage in bench.used if isinstance(usage, Initialized)]
    assert told == bench.used
    assert [usage.status for usage in told] == ["error", "unused"]
    assert all(usage.billed >= usage.duration > 0 for usage in told)


@story
async def test_what_is_initialised_ahead_says_so_and_has_more_time_for_it(tmp_path: Path) -> None:
    bench = Bench(tmp_path, LEAN, init_limit=0.2)
    late = {"LATE": "0.6"}
    ahead = await bench.worker.start(version(handler="app.handler", environment=late), "provisioned-concurrency")
    assert await ahead.initialized()
    assert ahead.warm
    assert bench.sandboxes.specs[-1].variables["AWS_LAMBDA_INITIALIZATION_TYPE"] == "provisioned-concurrency"
    assert (await ahead.run(invocation(b"1"))).error is None
    ran = bench.used[-1]
    assert isinstance(ran, Ran)
    assert ran.initialization == "provisioned-concurrency"
    await ahead.end()
    usual = await bench.worker.start(version(handler="app.handler", environment=late))
    assert not await usual.initialized()
    await usual.end()


@story
async def test_an_init_that_ends_badly_or_is_ended_is_told_to_who_waits(tmp_path: Path) -> None:
    bench = Bench(tmp_path, LEAN)
    leaving = version(handler="app.handler", environment={"LEAVE": "3"})
    ahead = await bench.worker.start(leaving, "provisioned-concurrency")
    assert not await ahead.initialized()
    assert not ahead.warm
    await ahead.end()
    slow = await bench.worker.start(version(environment={"LATE": "60"}), "provisioned-concurrency")
    waiting = asyncio.create_task(slow.initialized())
    await asyncio.sleep(0)
    await slow.end()
    assert not await waiting


@story
async def test_an_idle_environment_is_frozen_and_an_invocation_or_its_end_thaws_it(tmp_path: Path) -> None:
    bench = Bench(tmp_path, LEAN, freeze_after=0.01)
    async with bench.environment("app.count") as environment:
        for calls in (b"1", b"2", b"3"):
            assert (await environment.run(invocation())).payload == calls
            (sandbox,) = bench.sandboxes.started
            await until(lambda sandbox=sandbox: sandbox.frozen, "it is frozen")
            await until(lambda sandbox=sandbox: _stopped(sandbox.process.pid), "its process stands still")
    assert not sandbox.frozen


@story
async def test_an_invocation_that_goes_on_is_not_frozen(tmp_path: Path) -> None:
    bench = Bench(tmp_path, LEAN, freeze_after=0.01)
    async with bench.environment("app.sleep", timeout=60) as environment:
        for seconds in (b"0", b"0.1"):
            assert (await environment.run(invocation(seconds))).error is None


def _stopped(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"
