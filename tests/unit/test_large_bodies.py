import asyncio
import json
from hashlib import sha256

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from lamplighter.bodies.judging import is_json
from lamplighter.bodies.large_bodies import LargeBodies, surely_json
from lamplighter.bodies.long_strings import surely_json_by_slices
from lamplighter.model.invocation import Outcome
from lamplighter.model.pieces import joined, whole

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
    together = b"".join(pieces)
    assert asyncio.run(whole(Outcome(b"", None, b"log", pieces=list(pieces)))) == Outcome(together, None, b"log")
    assert asyncio.run(joined(pieces)) == together
    assert pieces == []


# What a long string may be made of, and what spoils one.
BITS = st.sampled_from(["x", "é", "漢", "\U0001f600", '\\"', "\\\\", "\\n", "\\u6f22", "\\ud83d\\ude00", " ", ","])
SPOILT = st.sampled_from([b"\\", b"\n", b"\x00", b"\xff", b"\xe6\xbc", b"\\u12", b"\\x", b"\\ud83d", b'"'])


@given(st.lists(BITS, min_size=1, max_size=6), st.integers(0, 300), st.data())
def test_a_long_text_is_judged_by_its_slices_as_in_one_piece(bits: list[str], more: int, data: st.DataObject) -> None:
    text = "".join(bits)
    whole = f'{{"a":"{text * (100_000 // len(text) + more)}","b":["{"y" * 5000}",1]}}'.encode()
    if not set(bits) & {'\\"', "\\\\", "\\n", "\\u6f22", "\\ud83d\\ude00"}:
        assert surely_json_by_slices(whole)
    at = data.draw(st.integers(0, len(whole)))
    spoilt = whole[:at] + data.draw(SPOILT) + whole[at + data.draw(st.integers(0, 2)) :]
    for body in (whole, spoilt):
        assert is_json(body) or not surely_json_by_slices(body)


@pytest.mark.parametrize("text", ["x", "ab+/", "漢字", "a line of a page\n", '"so" ' + "x" * 500, "\\ " * 9 + "x" * 99])
def test_a_large_text_is_judged_without_a_parser_that_keeps_the_loop_waiting(text: str) -> None:
    def decide(body: bytes) -> bool:
        raise AssertionError("asked")

    body = json.dumps({"text": text * (600_000 // len(text))}, ensure_ascii=False).encode()
    assert surely_json_by_slices(body)
    assert asyncio.run(LargeBodies().is_json(body, decide))


@given(VALUES, st.booleans())
def test_a_value_with_a_long_text_in_it_is_json_by_its_slices(value: object, ascii: bool) -> None:
    body = json.dumps([value, "x" * 200_000, {"k": value}, "漢" * 50_000], ensure_ascii=False)
    assert surely_json_by_slices(body.encode())


@pytest.mark.parametrize(
    "body",
    [
        b'"' + b"x" * 200_000,
        b'"%b" "%b"' % (b"x" * 200_000, b"y" * 9000),
        b'{"%b"}' % (b"x" * 200_000),
        b'"%b\\"' % (b"x" * 200_000),
        b'"%b"' % (b"\\" * 199_999),
        b"",
    ],
)
def test_what_is_no_json_is_not_by_its_slices(body: bytes) -> None:
    assert not is_json(body)
    assert not surely_json_by_slices(body)
