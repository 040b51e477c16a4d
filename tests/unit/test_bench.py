"""The benchmark measures what it says: its statistics, its floor and its load generator."""

import http.client
import json
import sys
from collections.abc import Generator
from pathlib import Path

import pytest
from bench.figures import Figure, Samples, Spread, at_most, percentile, ratio_at_least, ratio_at_most, verdict
from bench.floor import Floor, floor
from bench.load import HOST, LoadError, Plan, perform
from bench.measurements import MEASUREMENTS
from bench.memory import megabytes, tree
from bench.program import Program, Unavailable
from bench.report import Row, reasons, table, write
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

NUMBERS = st.lists(st.integers(0, 10**12), min_size=1)


@given(NUMBERS, st.floats(0.001, 1))
def test_a_percentile_is_the_smallest_value_with_that_share_at_or_below_it(values: list[int], share: float) -> None:
    found = percentile(values, share)
    assert sum(value <= found for value in values) >= share * len(values)
    assert sum(value < found for value in values) < share * len(values)


def test_percentiles_of_a_hundred_are_their_numbers() -> None:
    values = list(range(100, 0, -1))
    assert (percentile(values, 0.5), percentile(values, 0.99), percentile(values, 1)) == (50, 99, 100)


def test_a_ratio_compares_medians_and_spreads_over_rounds() -> None:
    samples = Samples(ours=(2.0, 6.0, 4.0), base=(2.0, 2.0, 1.0))
    assert samples.ratio == Spread(2.0, 1.0, 4.0)


@pytest.mark.parametrize(
    ("ours", "expected"), [((1.0, 1.0), "goal"), ((3.0, 3.0), "promise"), ((5.0, 5.0), "missed"), ((), "—")]
)
def test_a_verdict_is_the_best_that_is_kept(ours: tuple[float, ...], expected: str) -> None:
    base = (2.0, 2.0) if ours else ()
    by_ratio = Figure("latency", "ms", ratio_at_most(2), ratio_at_most(1))
    by_value = Figure("latency", "ms", at_most(4), at_most(2))
    upwards = Figure("speed", "/s", ratio_at_least(-2), ratio_at_least(-1))
    assert verdict(by_ratio, Samples(ours, base)) == expected
    assert verdict(by_value, Samples(ours)) == expected
    assert verdict(upwards, Samples(tuple(-value for value in ours), base)) == expected


def test_a_ratio_without_a_base_is_no_kept_promise() -> None:
    assert verdict(Figure("latency", "ms", ratio_at_most(2)), Samples((1.0,))) == "missed"


@pytest.fixture(scope="module")
def running() -> Generator[Floor]:
    with floor(["first", "second"], runtimes=2) as started:
        yield started


def post(port: int, name: str, body: bytes) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection(HOST, port, timeout=20)
    try:
        connection.request("POST", f"/2015-03-31/functions/{name}/invocations", body)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


@pytest.mark.parametrize(
    "event", [{}, None, {"greeting": "Grüße"}, "x" * 3_000_000], ids=["{}", "null", "text", "3 MB"]
)
def test_the_floor_gives_back_what_the_function_answers(running: Floor, event: object) -> None:
    status, body = post(running.port, "second", json.dumps(event).encode())
    assert (status, json.loads(body)) == (200, event)


def test_the_floor_knows_its_functions(running: Floor) -> None:
    assert post(running.port, "third", b"{}")[0] == 404


def test_the_floor_runs_under_awslambdaric_too() -> None:
    with floor(["function"], runtimes=1, client="awslambdaric", handler="handlers.client") as started:
        assert post(started.port, "function", b"{}") == (200, b'"awslambdaric"')


def test_more_callers_than_runtimes_are_all_answered(running: Floor) -> None:
    bodies = [b"%d" % number for number in range(7)]
    result = perform(Plan(running.port, running.requests(["first", "second"], bodies), 9, seconds=20, count=200))
    assert len(result.latencies) == 200
    assert 0 < percentile(result.latencies, 1) / 1e9 <= result.seconds


def test_a_run_ends_by_time_and_leaves_the_warm_up_out(running: Floor) -> None:
    requests = running.requests(["first"], [b"1"])
    result = perform(Plan(running.port, requests, 1, seconds=0.5, warm_up=0.1))
    assert 0.2 < result.seconds < 10
    assert result.bytes_both_ways == len(result.latencies) * (len(requests[0]) + len(ANSWER_TO_ONE))


ANSWER_TO_ONE = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 1\r\n\r\n1"


def test_a_refusal_is_no_figure(running: Floor) -> None:
    with pytest.raises(LoadError, match="3 calls failed: 3 times: 404 Not Found"):
        perform(Plan(running.port, running.requests(["third"], [b"1"]), count=3))


def test_a_program_that_ends_before_it_is_ready_says_why() -> None:
    command = [sys.executable, "-c", "raise SystemExit('the port is taken')"]
    with pytest.raises(Unavailable, match="the port is taken"), Program(command, "ready"):
        pass


def test_the_memory_of_a_process_and_its_children_is_counted() -> None:
    inner = "import sys; print('ready', flush=True); sys.stdin.read()"
    outer = f"from subprocess import *; import sys; Popen([sys.executable, '-c', {inner!r}], stdin=PIPE).wait()"
    with Program([sys.executable, "-c", outer], "ready") as program:
        pids = tree(program.pid)
        assert len(pids) == 2
        assert 1 < megabytes(pids) < megabytes(pids, "Rss") < 200


def test_what_is_missing_is_a_row_and_a_reason(tmp_path: Path) -> None:
    figures = [figure for measurement in MEASUREMENTS for figure in measurement.figures]
    rows = [Row(figure, Samples(base=(3.0, 4.0, 5.0), missing="it is not there")) for figure in figures]
    rows.append(Row(Figure("one", "ms", ratio_at_most(2)), Samples((1.0,), (2.0,))))
    console = Console(width=200)
    with console.capture() as captured:
        console.print(table(rows))
    assert captured.get().count("not available") == len(figures)
    assert reasons(rows) == ["; ".join(figure.name for figure in figures) + ": it is not there"]
    written = json.loads(write(rows, quick=True, directory=tmp_path).read_text())
    assert written["figures"][0]["missing"] == "it is not there"
    assert written["figures"][-1] | {"ours": None, "base": None} == {
        "figure": "one",
        "unit": "ms",
        "ours": None,
        "base": None,
        "ratio": {"median": 0.5, "low": 0.5, "high": 0.5},
        "promise": {"sense": "≤", "number": 2, "of": "ratio"},
        "goal": None,
        "met": "promise",
        "missing": None,
    }
