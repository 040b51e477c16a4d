"""Invocations that are told many at once leave the same lines, times and figures as those that are told one by one."""

import asyncio
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from hypothesis import given, settings
from hypothesis import strategies as st

from lamplighter.model.functions import FunctionVersion
from lamplighter.model.usage import Ran, Runs, Usage
from lamplighter.telemetry.tally import Tally
from lamplighter.worker import log_lines
from lamplighter.worker.figures import Figures
from lamplighter.worker.logs import Logs
from lamplighter.worker.notes import Notebook
from lamplighter.worker.pipe import Allowance
from lamplighter.worker.platform_log import PlatformLog
from support.environments import HeldClock, invocation, version
from support.sandbox_server import story

STREAMS = ("[$LATEST]a", "[$LATEST]b")


class Said(NamedTuple):
    """`read`: the loop finds time to read it at once; else whoever looks at the pipe next does."""

    text: bytes
    read: bool


class Call(NamedTuple):
    """`members`: of the invocation. `looks`: somebody writes or asks while it runs. `status`: how it ends."""

    stream: int
    before: Sequence[Said]
    during: Sequence[Said]
    duration: float
    failed: bool = False
    looks: bool = False
    asks: bool = False  # somebody does afterwards
    ended: Literal["answered", "crashed"] = "answered"
    init: bool = False
    members: tuple[tuple[str, object], ...] = ()


said = st.lists(
    st.builds(Said, st.sampled_from([b"one\n", b"two\nthree\n", b"part", b" of it", b"end\nbegin"]), st.booleans()),
    max_size=2,
)
calls = st.builds(
    Call,
    st.integers(0, 1),
    st.one_of(st.just(()), said),
    st.one_of(st.just(()), said),
    st.one_of(st.floats(0.0, 5.0), st.floats(0.0, 70_000.0)),
    st.booleans(),
    st.booleans(),
    st.booleans(),
    st.sampled_from(["answered"] * 7 + ["crashed"]),
    st.sampled_from([False] * 7 + [True]),
    st.sampled_from(
        [
            *[()] * 6,
            (("log_tail", True),),
            (("source", "async"),),
            (("above", ""),),
            (("invoked_arn", "arn:aws:lambda:us-east-1:000000000000:function:f:live"),),
            (("request_id", "short"),),
        ]
    ),
)


@dataclass
class Sink:
    """Keeps lines with their times."""

    entries: list[tuple[int, bytes]] = field(default_factory=list[tuple[int, bytes]])

    def lines(self, now: float, data: bytes) -> None:
        self.entries += [(int(now * 1000), line) for line in data.splitlines(keepends=True)]

    def message(self, now: float, data: bytes) -> None:
        self.entries.append((int(now * 1000), data))

    def many(self, entries: Sequence[tuple[float, bytes]]) -> None:
        for now, data in entries:
            self.lines(now, data)


class Life:
    """Two environments of a function, and what is told of them."""

    def __init__(self, function: FunctionVersion, logs: bool, at_once: int | None) -> None:
        self.clock, self.told = HeldClock(), list[Usage]()
        self.tally = Tally(self.told.append)
        self.book = None if at_once is None else Notebook(self.tally.count, self.tally.observe, at_once)
        self.sinks = [Sink() for _ in STREAMS]
        self.tails: list[bytes | None] = []
        self._function = function
        self._reads: list[int] = []
        self._parts: list[tuple[Logs, PlatformLog, Figures, int]] = []
        for stream, sink in zip(STREAMS, self.sinks, strict=True):
            reads, writes = os.pipe2(os.O_NONBLOCK)
            own = Logs(self.clock, sink if logs else None, Allowance(1e9))
            own.attach(reads)
            platform = PlatformLog(function, own, self.clock, stream)
            observe = self.tally.observe
            figures = Figures(function, own, platform, self.clock, observe, "on-demand", self.book)
            self._parts.append((own, platform, figures, writes))
            self._reads.append(reads)

    def run(self, call: Call, number: int) -> None:
        """As Course does it."""
        logs, platform, figures, pipe = self._parts[call.stream]
        members = {"request_id": f"{number:08x}-0000-4000-8000-000000000001", **dict(call.members)}
        given = invocation()._replace(**members)  # pyright: ignore[reportArgumentType]
        self._say(logs, pipe, call.before)
        self.clock.move(0.001)
        if call.init:
            figures.init_begins()
            self.clock.move(0.01)
            figures.init_done()
        later = figures.begin(given)
        if given.log_tail:
            logs.collect_tail()
        if not later and (logs.wanted or platform.detailed):
            platform.started(given)
        self._say(logs, pipe, call.during)
        self.clock.move(call.duration / 1000)
        if call.looks:
            self._look()
        if call.ended == "crashed":
            logs.drain()
            platform.crashed(given.request_id, "gone")
            figures.end(given, None, None, "error", "Runtime.ExitError", True, self.clock.monotonic())
        else:
            figures.answered(1, call.failed, None)
            figures.end(given, None, None, "success", None, False, self.clock.monotonic())
        if given.log_tail:
            self.tails.append(logs.tail())
        if call.asks:
            self._look()

    def close(self) -> None:
        for logs, _, _, pipe in self._parts:
            logs.detach()
            os.close(pipe)
        for reads in self._reads:
            os.close(reads)
        self._look()

    def _say(self, logs: Logs, pipe: int, texts: Sequence[Said]) -> None:
        for text, read in texts:
            self.clock.move(0.001)
            os.write(pipe, text)
            if read:
                logs.drain()

    def _look(self) -> None:
        if self.book is not None:
            self.book.catch_up()
        self.tally.settle()

    def figures(self) -> object:
        """Everything that is summed."""
        found: dict[tuple[str, str, int], list[float]] = {}
        errors = init = 0
        for told in self.told:
            assert isinstance(told, Ran | Runs)
            key = told.invoked_arn, told.initialization, int(told.began // 60)
            found.setdefault(key, []).extend([told.duration] if isinstance(told, Ran) else told.durations)
            errors += int(told.status != "success") if isinstance(told, Ran) else told.errors
            init += int(isinstance(told, Ran) and told.init is not None)
        return {key: sorted(durations) for key, durations in found.items()}, errors, init


async def lived(
    function: FunctionVersion, logs: bool, at_once: int | None, lives: Sequence[Call]
) -> tuple[object, ...]:
    life = Life(function, logs, at_once)
    for number, call in enumerate(lives):
        life.run(call, number)
    life.close()
    return [sink.entries for sink in life.sinks], life.tails, life.figures()


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from(["Text", "Text", "JSON"]),
    st.sampled_from(["PassThrough", "PassThrough", "Active"]),
    st.sampled_from([True, True, True, False]),
    st.integers(1, 12),
    st.lists(calls, max_size=20),
)
def test_told_together_calls_leave_the_lines_times_tails_and_figures_of_calls_told_one_by_one(
    log_format: str, tracing_mode: str, logs: bool, at_once: int, lives: list[Call]
) -> None:
    function = version(log_format=log_format, tracing_mode=tracing_mode)
    together = asyncio.run(lived(function, logs, at_once, lives))
    assert together == asyncio.run(lived(function, logs, None, lives))


@story
async def test_lines_of_plain_calls_wait_until_somebody_looks_or_there_are_many() -> None:
    life = Life(version(), True, at_once=3)
    entries = life.sinks[0].entries
    for number in range(2):
        life.run(Call(0, (), (), 1.0), number)
    assert not entries
    life.run(Call(1, (), (), 1.0), 2)
    assert [line.split()[0] for _, line in entries] == [b"START", b"END", b"REPORT"] * 2, "three are there"
    life.run(Call(0, (), (), 1.0), 3)
    assert len(entries) == 6
    life.run(Call(0, (Said(b"between\n", True),), (), 1.0), 4)
    assert [line.split()[0] for _, line in entries[6:]] == [b"START", b"END", b"REPORT", b"between"]
    assert life.book is not None
    life.book.catch_up()
    assert [line.split()[0] for _, line in entries[10:]] == [b"START", b"END", b"REPORT"]
    life.close()


@given(
    st.one_of(st.floats(0.0, 5.0), st.floats(0.0, 900_000.0)),
    st.integers(128, 10240),
    st.one_of(st.none(), st.integers(0, 1 << 34)),
)
def test_lines_made_of_many_are_those_that_are_made_of_one(duration: float, size: int, peak: int | None) -> None:
    id = invocation().request_id
    assert log_lines.plain_start(id.encode(), b"7") == log_lines.start(id, "7")
    one = log_lines.end_and_report(id, duration, size, peak, None, "")
    assert log_lines.plain_end(id.encode(), duration, size, peak) == one
