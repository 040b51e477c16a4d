"""The Python runtime client, forked, answers on every interpreter of this host as on the one compared with AWS's.

All of the sessions on the oldest and the newest, a few on those between."""

import re
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from lamplighter.runtimes.catalogue import installed
from support.python_clients import Transcript, forked, ours, task_root
from support.python_corpus import SESSIONS, Session

INTERPRETERS = {name: str(runtime.interpreter) for name, runtime in installed().items() if name.startswith("python")}
SMOKE = (
    "answers of 3.12", "failures in JSON", "logs", "logs in JSON", "framed logs", "contexts", "events",
    "handler in a package", "syntax error", "raises at import", "exit 3", "exit while a thread runs",
    "KeyboardInterrupt", "BaseException", "answer refused", "SIGTERM with a handler",
)  # fmt: skip

SAME_LOG = ("exit 3", "exit while a thread runs", "answer refused", "SIGTERM with a handler")

FEW = ("failures in JSON", "logs in JSON", "contexts", "raises at import", "exit while a thread runs")
COMBINATIONS = [
    (runtime, name)
    for number, runtime in enumerate(INTERPRETERS)
    for name in (SMOKE if number in (0, len(INTERPRETERS) - 1) else FEW)
]

Transcripts = dict[tuple[str, str], Future[Transcript]]


@pytest.fixture(scope="module")
def sessions() -> dict[str, Session]:
    return {session.name: session for session in SESSIONS}


@pytest.fixture(scope="module")
def transcripts(sessions: dict[str, Session], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Transcripts]:
    started: Transcripts = {}
    roots = {name: task_root(sessions[name], tmp_path_factory.mktemp("task").resolve()) for name in SMOKE}
    with ThreadPoolExecutor(3) as pool:
        for name in SMOKE:
            started["reference", name] = pool.submit(ours, sessions[name], roots[name])
        for runtime, name in COMBINATIONS:
            way = ours if sessions[name].terminate else forked
            started[runtime, name] = pool.submit(way, sessions[name], roots[name], INTERPRETERS[runtime])
        yield started


@pytest.mark.parametrize(("runtime", "name"), COMBINATIONS)
def test_each_interpreter_answers_alike(runtime: str, name: str, transcripts: Transcripts) -> None:
    here = transcripts[runtime, name].result()
    there = transcripts["reference", name].result()
    assert here.exit_code == there.exit_code
    assert [request[:2] for request in here.requests] == [request[:2] for request in there.requests]
    for mine, other in zip(here.requests, there.requests, strict=True):
        if mine[1].endswith("/response") and "log_handlers" not in mine[1]:
            assert _timeless(mine[3]) == _timeless(other[3])
    if name in SAME_LOG:
        assert here.log == there.log


def _timeless(answer: bytes) -> bytes:
    """Without the times of log records in it, whole or cut off."""
    return re.sub(rb"\d{4}-\d\d-\d\dT[0-9:.Z]*", b"TIME", answer)


def test_what_the_task_root_holds_wins_over_what_is_loaded(tmp_path: Path, sessions: dict[str, Session]) -> None:
    root = task_root(sessions["handler with names of ours"], tmp_path.resolve())
    for interpreter in INTERPRETERS.values():
        transcript = ours(sessions["handler with names of ours"], root, interpreter)
        assert transcript.requests[0][3] == (
            b'["bootstrap of the function", "client of the function", "runtime_api of the function"]'
        )
