"""Our Python runtime client answers as AWS's own: the same sessions through both, compared byte for byte."""

import re
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import pytest

from support.python_clients import Transcript, awslambdaric, ours, task_root
from support.python_corpus import SESSIONS

NAMES = [session.name for session in SESSIONS]
AT_ONCE = 3


@dataclass(frozen=True)
class Pair:
    ours: Future[Transcript]
    theirs: Future[Transcript]


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Pair]]:
    """All sessions with both clients, a few at once; a test waits for its own only."""
    parent = tmp_path_factory.mktemp("tasks").resolve()
    with ThreadPoolExecutor(AT_ONCE) as pool:
        started: dict[str, Pair] = {}
        for session in SESSIONS:
            root = task_root(session, parent)
            started[session.name] = Pair(pool.submit(ours, session, root), pool.submit(awslambdaric, session, root))
        yield started


def test_the_corpus_is_large_enough() -> None:
    cases = {invocation.request_id.partition("-")[2] for session in SESSIONS for invocation in session.invocations}
    assert len(cases) >= 80
    assert len(set(NAMES)) == len(SESSIONS) >= 60


@pytest.mark.parametrize("name", NAMES)
def test_both_clients_send_the_same(name: str, pairs: dict[str, Pair]) -> None:
    mine, theirs = pairs[name].ours.result(), pairs[name].theirs.result()
    assert [request[1] for request in mine.requests] == [request[1] for request in theirs.requests]
    for sent, expected in zip(mine.requests, theirs.requests, strict=True):
        assert sent == expected


@pytest.mark.parametrize("name", NAMES)
def test_both_clients_log_the_same(name: str, pairs: dict[str, Pair]) -> None:
    mine, theirs = pairs[name].ours.result(), pairs[name].theirs.result()
    assert _sections(mine.log) == _sections(theirs.log)


@pytest.mark.parametrize("name", NAMES)
def test_both_clients_end_alike(name: str, pairs: dict[str, Pair]) -> None:
    assert pairs[name].ours.result().exit_code == pairs[name].theirs.result().exit_code


def _sections(log: str) -> list[str]:
    return re.split(r"(?m)^(?==== )", log)
