"""Answers become the JSON text that AWS's encoder (simplejson, as awslambdaric sets it up) makes of them."""

import collections
import decimal
from typing import Any, NamedTuple

import pytest
import simplejson
from awslambdaric.lambda_runtime_marshaller import Encoder as AwsEncoder
from hypothesis import given
from hypothesis import strategies as st

from lamplighter.runtimes.python._lamplighter import answers


class Pair(NamedTuple):
    first: Any
    second: Any


keys = st.text() | st.integers() | st.floats() | st.booleans() | st.none() | st.binary() | st.just((1,))
plain = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
odd = st.decimals() | st.binary() | st.sets(st.integers()) | st.complex_numbers() | st.dates() | st.just(object)
values = st.recursive(
    plain | odd,
    lambda inner: (
        st.lists(inner)
        | st.lists(inner).map(tuple)
        | st.dictionaries(keys, inner)
        | st.builds(Pair, inner, inner)
        | st.dictionaries(st.text(), inner).map(collections.OrderedDict)
    ),
)


@given(values, st.booleans())
def test_every_value_is_written_or_refused_as_on_aws(value: Any, escape: bool) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_EXECUTION_ENV", "AWS_Lambda_python3.11" if escape else "AWS_Lambda_python3.12")
        theirs = _outcome(AwsEncoder().encode, value)
    assert _outcome(answers.Encoder(escape).encode, value) == theirs


@given(st.recursive(plain, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)))
def test_plain_values_are_written_the_same_by_both_of_our_encoders(value: Any) -> None:
    fast = answers.Encoder(escape=False).encode(value)
    slow = answers.Encoder(escape=False).encode([value, decimal.Decimal(1)])
    assert slow == f"[{fast}, 1]"


texts = st.text() | st.recursive(plain, st.lists).map(lambda value: AwsEncoder().encode(value))


@given(st.binary() | texts.map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_events_are_read_as_on_aws_or_refused(event: bytes) -> None:
    try:
        expected = simplejson.loads(event)
    except ValueError:
        with pytest.raises(ValueError):
            answers.load(event)
    else:
        assert repr(answers.load(event)) == repr(expected)


def _outcome(encode: Any, value: Any) -> Any:
    try:
        return encode(value)
    except Exception as error:
        return type(error).__name__, str(error)
