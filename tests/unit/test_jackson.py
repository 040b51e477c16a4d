"""Texts that are not JSON, in the words of AWS's parser (AWS: spec 2.1)."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lamplighter.api.jackson import parse_failure
from lamplighter.bodies.judging import is_json

WHERE = " at [Source: REDACTED (`StreamReadFeature.INCLUDE_SOURCE_IN_LOCATION` disabled); line: {}, column: {}]"
VALUES = "(JSON String, Number, Array, Object or token 'null', 'true' or 'false')"

FAILURES = {
    b"test": (f"Unrecognized token 'test': was expecting {VALUES}", 1, 5),
    b"{test}": ("Unexpected character ('t' (code 116)): was expecting double-quote to start field name", 1, 2),
    b'{"a":}': (f"Unexpected character ('}}' (code 125)): expected a valid value {VALUES}", 1, 6),
    b'{"a" 1}': (
        "Unexpected character ('1' (code 49)): was expecting a colon to separate field name and value",
        1,
        6,
    ),
    b'{"a":1 "b":2}': ("Unexpected character ('\"' (code 34)): was expecting comma to separate Object entries", 1, 8),
    b"[1 2]": ("Unexpected character ('2' (code 50)): was expecting comma to separate Array entries", 1, 4),
    b"[1,\n2": (
        "Unexpected end-of-input: expected close marker for Array (start marker at" + WHERE[3:].format(1, 1) + ")",
        2,
        2,
    ),
    b'"\t': (
        "Illegal unquoted character ((CTRL-CHAR, code 9)): has to be escaped using backslash to be included in "
        "string value",
        1,
        2,
    ),
}


@pytest.mark.parametrize("payload", FAILURES)
def test_the_failure_says_what_and_where(payload: bytes) -> None:
    message, line, column = FAILURES[payload]
    assert parse_failure(payload) == message + "\n" + WHERE.format(line, column)


@given(st.binary(max_size=60) | st.text(alphabet='{}[]":,01truefalsn\\ \n', max_size=40).map(str.encode))
def test_whatever_is_not_json_gets_one_reason(payload: bytes) -> None:
    if not is_json(payload):
        message = parse_failure(payload)
        assert message.count("\n at [Source: REDACTED") >= 1


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_json_is_json(value: object) -> None:
    assert is_json(json.dumps(value).encode())


@pytest.mark.parametrize("payload", [b"NaN", b"[Infinity]", b"", b"{'a': 1}", b"\xff", b"[" * 100_000])
def test_what_python_or_others_would_take_is_not_json(payload: bytes) -> None:
    assert not is_json(payload)
    assert parse_failure(payload)


def test_half_a_surrogate_pair_is_taken_as_aws_takes_it() -> None:
    assert is_json(b'"\\ud800"')
