import asyncio
import json
from hashlib import sha256

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from lamplighter.api.invoke import is_json
from lamplighter.api.large_bodies import LargeBodies, surely_json
from lamplighter.model.pieces import joined

VALUES = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False, allow_infinity=False) | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=4),
    max_leaves=12,
)
# What the two parsers could disagree about: spelling, white space, escapes, numbers, what is behind the end.
PIECES = st.sampled_from(
    [
        *'{}[]:,"\\/+-.0123456789eEtfnuxN\x00\x01\x0b\x0c \t\n\r\x7f\xa0\ufeff',
        "true",
        "null",
        "NaN",
        "\\u",
        "'",
        "//",
        "/**/",
    ]
)


@given(VALUES, st.booleans())
def test_json_is_surely_json(value: object, ascii: bool) -> None:
    assert surely_json(json.dumps(value, ensure_ascii=ascii).encode())


@given(VALUES, st.data())
def test_what_is_surely_json_is_json(value: object, data: st.DataObject) -> None:
    text = json.dumps(value, ensure_ascii=False)
    at = data.draw(st.integers(0, len(text)))
    left = data.draw(st.integers(at, len(text)))
    spoiled = (text[:at] + data.draw(st.lists(PIECES, max_size=4).map("".join)) + text[left:]).encode()
    assert is_json(spoiled) or not surely_json(spoiled)


@given(st.lists(PIECES, max_size=12).map("".join))
@example('"\\u12"')
@example("[01]")
@example('{"a":1,}')
@example("0x10")
@example('{"a":1}\x00{')
@example("\xa01")
def test_nothing_else_is_surely_json(text: str) -> None:
    assert is_json(text.encode()) or not surely_json(text.encode())


@pytest.mark.parametrize("body", [b"\xff" * 9, b"[1,\xff]", b"", b"[" * 100_000])
def test_what_is_no_text_at_all_is_not(body: bytes) -> None:
    assert not surely_json(body)


def test_large_bodies_are_judged_as_small_ones() -> None:
    async def judge(body: bytes) -> bool:
        return await LargeBodies().is_json(body, is_json)

    many = json.dumps([{"number": number} for number in range(20_000)]).encode()
    assert asyncio.run(judge(many))
    assert not asyncio.run(judge(many[:-1]))
    assert asyncio.run(judge(b'"\\ud800' + b"," * 300_000 + b'"'))
    assert asyncio.run(LargeBodies().digest(many)) == sha256(many).hexdigest()


@given(st.lists(st.binary(max_size=5)))
def test_pieces_are_put_together_and_let_go(pieces: list[bytes]) -> None:
    whole = b"".join(pieces)
    assert asyncio.run(joined(pieces)) == whole
    assert pieces == []
