"""Our Node.js runtime client answers as AWS's own, whose answers to the same sessions are kept in the repository.

Both of AWS's generations, on whatever Node.js there is here: up to 22 with callbacks, from 24 on without.
"""

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from lamplighter.runtimes.catalogue import RUNTIMES
from support.node_clients import generation, nodes, ours
from support.node_corpus import DIFFERENT, SESSIONS, name_of
from support.node_record import ANSWERS, answers

NODES = nodes()
NAMES = [name_of(session) for session in SESSIONS]
AT_ONCE = 3
RELEASES = [name for name in RUNTIMES if name.startswith("nodejs") and name in (*NODES, "nodejs20.x", "nodejs24.x")]

Transcripts = dict[tuple[str, str], Future[Any]]


@pytest.fixture(scope="module")
def transcripts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Transcripts]:
    """All sessions on each Node.js, a few at once; a test waits for its own only."""
    parent = tmp_path_factory.mktemp("tasks").resolve()

    def plain(release: str, name: str) -> object:
        return ours(SESSIONS[NAMES.index(name)], parent, NODES[release]).plain()

    with ThreadPoolExecutor(AT_ONCE) as pool:
        yield {(release, name): pool.submit(plain, release, name) for release in NODES for name in NAMES}


def test_the_corpus_is_large_enough() -> None:
    handlers = {(session.handler, call.event) for session in SESSIONS for call in session.invocations}
    assert len(handlers) >= 100
    assert len(set(NAMES)) == len(SESSIONS) >= 60


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("release", RELEASES)
def test_ours_does_what_awss_client_did(release: str, name: str, transcripts: Transcripts) -> None:
    if release not in NODES:
        pytest.skip(f"there is no Node.js for {release} here")
    if (generation(release), name) in DIFFERENT:
        pytest.skip("ours differs on purpose, see DIFFERENT")
    mine, theirs = transcripts[release, name].result(), answers(release)[name]
    assert mine["requests"] == theirs["requests"]
    assert mine["log"] == theirs["log"]
    assert mine["exit_code"] == theirs["exit_code"]


@pytest.mark.parametrize("release", RELEASES)
def test_where_ours_differs_it_reports_what_is_wrong(release: str, transcripts: Transcripts) -> None:
    if release not in NODES:
        pytest.skip(f"there is no Node.js for {release} here")
    (failed,) = transcripts[release, "wrongly marked for streaming"].result()["requests"]
    assert failed[3]["errorType"] == "Runtime.MalformedStreamingHandler"
    (failed,) = transcripts[release, "empty"].result()["requests"]
    assert failed[3]["errorType"] == "Runtime.MalformedHandlerName"


@pytest.mark.parametrize("release", RELEASES)
def test_no_answer_is_kept_that_is_not_compared(release: str) -> None:
    assert sorted(answers(release)) == sorted(NAMES)


def test_no_answer_names_a_place_of_the_machine_that_recorded_it() -> None:
    for kept in ANSWERS.iterdir():
        assert str(Path.cwd()) not in kept.read_text()
