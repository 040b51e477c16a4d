"""The Python runtime client on every interpreter of this host answers as on the one that is compared with AWS's."""

import sys
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from lamplighter.runtimes.catalogue import installed
from support.python_clients import Transcript, ours, task_root
from support.python_corpus import SESSIONS, Session

INTERPRETERS = {name: str(runtime.interpreter) for name, runtime in installed().items()}
SMOKE = (
    "answers of 3.12", "failures in JSON", "logs", "logs in JSON", "framed logs", "contexts", "events",
    "handler in a package", "syntax error", "raises at import", "exit 3", "exit while a thread runs",
    "KeyboardInterrupt", "BaseException", "answer refused", "SIGTERM with a handler",
)  # fmt: skip

Transcripts = dict[tuple[str, str], Future[Transcript]]


@pytest.fixture(scope="module")
def sessions() -> dict[str, Session]:
    return {session.name: session for session in SESSIONS}


@pytest.fixture(scope="module")
def transcripts(sessions: dict[str, Session], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Transcripts]:
    started: Transcripts = {}
    roots = {name: task_root(sessions[name], tmp_path_factory.mktemp("task").resolve()) for name in SMOKE}
    with ThreadPoolExecutor(3) as pool:
        for interpreter in {sys.executable, *INTERPRETERS.values()}:
            for name in SMOKE:
                started[interpreter, name] = pool.submit(ours, sessions[name], roots[name], interpreter)
        yield started


@pytest.mark.parametrize("runtime", INTERPRETERS)
@pytest.mark.parametrize("name", SMOKE)
def test_each_interpreter_answers_alike(runtime: str, name: str, transcripts: Transcripts) -> None:
    here = transcripts[INTERPRETERS[runtime], name].result()
    there = transcripts[sys.executable, name].result()
    assert here.exit_code == there.exit_code
    assert [request[:2] for request in here.requests] == [request[:2] for request in there.requests]
    for mine, other in zip(here.requests, there.requests, strict=True):
        if mine[1].endswith("/response") and "log_handlers" not in mine[1]:
            assert mine[3] == other[3]


def test_what_the_task_root_holds_wins_over_what_is_loaded(tmp_path: Path, sessions: dict[str, Session]) -> None:
    root = task_root(sessions["handler with names of ours"], tmp_path.resolve())
    for interpreter in INTERPRETERS.values():
        transcript = ours(sessions["handler with names of ours"], root, interpreter)
        assert transcript.requests[0][3] == (
            b'["bootstrap of the function", "client of the function", "runtime_api of the function"]'
        )
