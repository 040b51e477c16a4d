"""What extensions may ask for: AWS's ranges and defaults, and no destination but the sandbox's own loopback."""

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lamplighter.worker.telemetry_subscription import Invalid, subscription

ASKED = {
    "schemaVersion": "2022-12-13",
    "types": ["platform", "function", "function"],
    "destination": {"protocol": "HTTP", "URI": "http://sandbox.localdomain:8080/in"},
}


def body(**members: object) -> bytes:
    return orjson.dumps(ASKED | members)


def test_what_is_not_said_has_awss_defaults() -> None:
    asked = subscription("telemetry", body())
    assert (asked.types, asked.port, asked.path) == (("platform", "function"), 8080, "/in")
    assert (asked.max_items, asked.max_bytes, asked.timeout) == (10_000, 262_144, 1.0)


def test_tcp_is_a_port() -> None:
    asked = subscription("telemetry", body(destination={"protocol": "TCP", "port": 9000}))
    assert (asked.port, asked.path) == (9000, None)


@pytest.mark.parametrize("schema", ["2022-07-01", "2022-12-13", "2025-01-29"])
def test_each_schema_version_is_taken(schema: str) -> None:
    assert subscription("telemetry", body(schemaVersion=schema)).schema == schema


WRONG = {
    "schemaVersion": ["2020-08-15", None, 5],
    "types": [[], None, "platform", ["logs"], [5]],
    "buffering": [5, {"maxItems": 999}, {"maxItems": 10_001}, {"maxBytes": 262_143}, {"maxBytes": 1_048_577},
                  {"timeoutMs": 24}, {"timeoutMs": 30_001}, {"timeoutMs": "25"}, {"timeoutMs": True}],
    "destination": [
        None,
        {"protocol": "UDP", "port": 80},
        {"protocol": "TCP"},
        {"protocol": "TCP", "port": 9001},
        {"protocol": "TCP", "port": 65_536},
        *({"protocol": "HTTP", "URI": uri} for uri in (
            "http://sandbox.localdomain", "http://sandbox.localdomain:9001", "http://sandbox.localdomain:0",
            "https://sandbox.localdomain:80", "http://127.0.0.1:80", "http://sandbox.localdomain:80@example.com/",
            "http://sandbox.localdomain.example.com:80/", "http://sandbox.localdomain:80/\r\nX: y",
            "http://sandboxxlocaldomain:80/", 5,
        )),
    ],
}  # fmt: skip


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in WRONG.items() for value in values])
def test_what_is_out_of_range_is_refused(name: str, value: object) -> None:
    with pytest.raises(Invalid):
        subscription("telemetry", body(**{name: value}))


def test_all_that_is_wrong_is_named_at_once() -> None:
    with pytest.raises(Invalid, match="types should not be empty; URI port is not provided"):
        subscription("telemetry", body(types=[], destination={"protocol": "HTTP", "URI": "http://sandbox.localdomain"}))


@given(st.binary() | st.recursive(st.none() | st.text() | st.integers(-9, 9), lambda s: st.lists(s)).map(orjson.dumps))
def test_rubbish_is_refused_and_never_crashes(rubbish: bytes) -> None:
    with pytest.raises(Invalid):
        subscription("telemetry", rubbish)
