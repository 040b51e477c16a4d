"""Segments as spans, documents of SDKs as spans, and their way to a collector."""

import asyncio
import itertools
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.usage import ran, version

from lamplighter.model import causes
from lamplighter.model.usage import Restore, Thrown
from lamplighter.telemetry.traces import documents, exporter, otlp
from lamplighter.telemetry.traces.exporter import Exporter
from lamplighter.telemetry.traces.spans import Span, of_invocation

ROOT, TRACE = "1-5759e988-bd862e3fe1be46a994272793", "5759e988bd862e3fe1be46a994272793"
FUNCTION = version()
HEADER = f"Root={ROOT};Parent=aaaaaaaaaaaaaaaa;Sampled=1;Lineage=a87bd80c:1"
SUBSEGMENT: dict[str, Any] = {
    "id": "bbbbbbbbbbbbbbbb",
    "trace_id": ROOT,
    "parent_id": "aaaaaaaaaaaaaaaa",
    "name": "dynamodb",
    "namespace": "aws",
    "type": "subsegment",
    "start_time": 100.5,
    "end_time": 100.75,
    "annotations": {"table": "users", "rows": 3, "list": [1]},
    "http": {"request": {"method": "POST"}, "response": {"status": 200}},
    "subsegments": [{"id": "cccccccccccccccc", "name": "attempt", "start_time": 100.6, "end_time": 100.7}],
}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(sorted(SUBSEGMENT)), inner, max_size=4),
    max_leaves=10,
)
_NAMES = ["exceptions", "message", "type", "stack", "path", "line", "label"]
_ANYTHING = st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text(max_size=20)
CAUSES = st.recursive(
    _ANYTHING,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(_NAMES), inner, max_size=4),
    max_leaves=10,
).flatmap(
    lambda made: st.sampled_from([made, {"exceptions": [made]}, {"exceptions": [{"type": "T", "stack": [made]}]}])
)


def ids() -> Any:
    numbers = itertools.count(1)
    return lambda: f"{next(numbers):016x}"


def test_an_invocation_has_the_segments_of_aws() -> None:
    spans = of_invocation(ran(FUNCTION, trace=HEADER, above="9" * 16, init=250.0, answered=80.0, duration=100.0), ids())
    service, function, initialization, invocation, overhead = spans
    assert {span.trace for span in spans} == {TRACE}
    assert (service.parent, function.parent, function.id) == ("9" * 16, service.id, "a" * 16)
    assert {span.parent for span in (initialization, invocation, overhead)} == {function.id}
    assert [span.name for span in spans[2:]] == ["Initialization", "Invocation", "Overhead"]
    assert initialization.ended == invocation.began
    assert invocation.ended == overhead.began
    assert [round((span.ended - span.began) * 1000) for span in spans] == [350, 350, 250, 80, 20]
    assert len({span.id for span in spans}) == 5


def test_a_restore_has_a_segment_where_an_init_would_have_one() -> None:
    restored = ran(FUNCTION, trace=HEADER, above="9" * 16, restore=Restore(40.0, 3.0), answered=80.0, duration=100.0)
    service, function, restore, invocation, overhead = of_invocation(restored, ids())
    assert [span.name for span in (restore, invocation, overhead)] == ["Restore", "Invocation", "Overhead"]
    assert (restore.parent, restore.ended) == (function.id, invocation.began)
    assert [round((span.ended - span.began) * 1000) for span in (service, restore)] == [140, 40]
    assert service.attributes["faas.coldstart"] is True
    warm = of_invocation(ran(FUNCTION, trace=HEADER, above="9" * 16), ids())
    assert [span.name for span in warm[2:]] == ["Invocation", "Overhead"]


def test_a_failure_is_told_and_what_is_not_traced_has_no_segments() -> None:
    _, function, *_ = of_invocation(
        ran(FUNCTION, trace=HEADER, above="", status="timeout", error_type="Sandbox.Timedout"), ids()
    )
    assert function.failure == "Sandbox.Timedout"
    assert of_invocation(ran(FUNCTION, trace=HEADER), ids()) == []
    assert of_invocation(ran(FUNCTION, trace="Root=nonsense;Parent=1", above=""), ids()) == []


def test_a_document_is_read_with_all_below_it() -> None:
    first, second = documents.read(SUBSEGMENT)
    assert (first.trace, first.id, first.parent, first.kind) == (TRACE, "b" * 16, "a" * 16, "client")
    assert (first.began, first.ended) == (100.5, 100.75)
    assert first.attributes == {
        "table": "users",
        "rows": 3,
        "http.request.method": "POST",
        "http.response.status": 200,
    }
    assert (second.parent, second.name) == ("b" * 16, "attempt")
    failed = {**SUBSEGMENT, "fault": True, "cause": {"exceptions": [{"message": "no such table"}]}}
    assert documents.read(failed)[0].failure == "no such table"


def test_what_a_failure_came_from_is_kept_within_bounds() -> None:
    frames = [{"path": f"/var/task/{number}.py", "line": number, "label": "call"} for number in range(200)]
    many = {"exceptions": [{"type": "T" * 5000, "message": "m" * 5000, "stack": frames}] * 20}
    kept = causes.read_header(orjson.dumps(many))
    assert len(kept) == causes.EXCEPTIONS
    assert (len(kept[0].type), len(kept[0].message)) == (1000, 1000)
    assert 3900 < len(kept[0].stack) <= 4000
    assert kept[0].stack.startswith("at call (/var/task/0.py:0)\nat call (/var/task/1.py:1)\n")
    assert causes.read_header(orjson.dumps(many).ljust(causes.LIMIT + 1)) == ()
    assert causes.read_header(b"{") == causes.read_header(b"[" * 100_000) == causes.read_header(b"") == ()
    failed = {**SUBSEGMENT, "fault": True, "cause": {"exceptions": [{"message": "no such table", "type": "Missing"}]}}
    assert documents.read(failed)[0].thrown == (Thrown("Missing", "no such table", ""),)


@given(CAUSES)
def test_any_cause_is_read_and_can_be_written(cause: Any) -> None:
    thrown = causes.read_header(orjson.dumps(cause, option=orjson.OPT_NON_STR_KEYS))
    orjson.loads(otlp.request([(FUNCTION, [Span(TRACE, "a" * 16, "", "f", "server", 1.0, 2.0, {}, "bad", thrown)])]))


@given(st.dictionaries(st.sampled_from(sorted(SUBSEGMENT)), JSON))
def test_any_document_is_read_and_can_be_written(wrong: dict[str, Any]) -> None:
    spans = documents.read({**SUBSEGMENT, **wrong})
    assert all(len(span.id) == 16 and len(span.trace) == 32 for span in spans)
    orjson.loads(otlp.request([(FUNCTION, spans)]))


def test_a_deep_document_costs_no_more_than_its_bound() -> None:
    deep: dict[str, Any] = dict(SUBSEGMENT)
    for _ in range(5000):
        deep = {**SUBSEGMENT, "subsegments": [deep]}
    assert len(documents.read(deep)) == documents.PARTS


def test_spans_are_written_as_the_protocol_says() -> None:
    span = Span(TRACE, "a" * 16, "", "f", "server", 100.5, 101.0, {"yes": True, "n": 1, "x": 0.5, "s": "t"}, "bad")
    (group,) = orjson.loads(otlp.request([(FUNCTION, [span])]))["resourceSpans"]
    assert {"key": "service.name", "value": {"stringValue": FUNCTION.id.name}} in group["resource"]["attributes"]
    (written,) = group["scopeSpans"][0]["spans"]
    assert written == {
        "traceId": TRACE,
        "spanId": "a" * 16,
        "name": "f",
        "kind": 2,
        "startTimeUnixNano": "100500000000",
        "endTimeUnixNano": "101000000000",
        "attributes": [
            {"key": "yes", "value": {"boolValue": True}},
            {"key": "n", "value": {"intValue": "1"}},
            {"key": "x", "value": {"doubleValue": 0.5}},
            {"key": "s", "value": {"stringValue": "t"}},
        ],
        "status": {"code": 2, "message": "bad"},
    }


def test_what_a_collector_does_not_take_waits_in_order_and_within_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exporter, "WAITING", 8)
    monkeypatch.setattr(exporter, "BATCH", 4)
    monkeypatch.setattr(exporter, "PAUSE", 0.001)
    takes, bodies = asyncio.Event(), list[bytes]()

    async def post(body: bytes) -> bool:
        if takes.is_set():
            bodies.append(body)
        return takes.is_set()

    async def story() -> None:
        async with Exporter(post, ids()) as exporting:
            for number in range(20):
                document = {**SUBSEGMENT, "name": str(number), "subsegments": []}
                exporting.datagram(FUNCTION, b'{"format":"json","version":1}\n' + orjson.dumps(document))
                await asyncio.sleep(0)
            takes.set()

    asyncio.run(story())
    names = [
        span["name"]
        for body in bodies
        for group in orjson.loads(body)["resourceSpans"]
        for span in group["scopeSpans"][0]["spans"]
    ]
    assert names == [str(number) for number in range(12, 20)]


@pytest.mark.parametrize("data", [b"", b"\n", b"{}", b"[]\n{}", b'{"format":"json","version":2}\n{}', b"\xff\n\xff"])
def test_a_datagram_that_is_none_of_an_sdk_is_nothing(data: bytes) -> None:
    async def post(body: bytes) -> bool:
        raise AssertionError("nothing is to be sent")

    async def story() -> None:
        async with Exporter(post, ids()) as exporting:
            exporting.datagram(FUNCTION, data)

    asyncio.run(story())
