"""Whether a large text is JSON, found out by slices: of a payload of megabytes nearly all is in a few long strings.

A parser has Python's lock to the end, also in a thread: 6 MB in one go keep the event loop waiting for 6 ms, most of
it for the kernel's pages of the copy that is made and dropped. So long strings are taken out and each is given to the
parser in slices, which fit where the last ones were; then what is left is.
"""

from collections.abc import Iterator
from typing import Final

import orjson

_LONG: Final = 4096  # bytes of a string; shorter ones stay where they are
_SLICE: Final = 64 << 10  # bytes that are parsed in one go
_STRINGS: Final = 4096  # as many, or quotes in them, are looked at one by one
_ESCAPE: Final = 12  # bytes of the longest, two halves of a character
_SEARCHED: Final = 256  # bytes in which a string can be cut, or it isn't


class _Undecided(Exception):
    """It is not of this kind, or no JSON."""


def surely_json_by_slices(body: bytes) -> bool:
    """False: maybe not, or too many strings, or too much beside them."""
    try:
        orjson.loads(_without_long_strings(body))
    except (_Undecided, orjson.JSONDecodeError):
        return False
    return True


def _without_long_strings(body: bytes) -> bytes:
    kept: list[bytes] = []
    size = done = 0
    for begin, end in _strings(body):
        if end - begin < _LONG:
            continue
        for first, last in _slices(body, begin, end):
            orjson.loads(b'"%b"' % body[first:last])
        kept.append(body[done:begin])
        size += begin - done
        done = end
        if size > _SLICE:
            raise _Undecided
    if size + len(body) - done > _SLICE:
        raise _Undecided
    return b"".join((*kept, body[done:]))


def _strings(body: bytes) -> Iterator[tuple[int, int]]:
    """Where each begins behind its quote, and ends before the other."""
    begin = 0  # of the string in hand; 0: there is none
    at = -1
    for _ in range(_STRINGS):
        at = body.find(b'"', at + 1)
        if at < 0:
            if begin:
                raise _Undecided
            return
        if not begin:
            begin = at + 1
        elif not _escaped(body, begin, at):
            yield begin, at
            begin = 0
    raise _Undecided


def _escaped(body: bytes, begin: int, at: int) -> bool:
    """Whether an odd number of backslashes stands before `at`, and after `begin`."""
    before = body[max(begin, at - _SEARCHED) : at]
    number = len(before) - len(before.rstrip(b"\\"))
    if number == _SEARCHED:
        raise _Undecided
    return number % 2 == 1


def _slices(body: bytes, begin: int, end: int) -> Iterator[tuple[int, int]]:
    """Of a string; none begins or ends in the middle of a character or an escape."""
    while end - begin > _SLICE:
        cut = _cut(body, begin + _SLICE)
        yield begin, cut
        begin = cut
    yield begin, end


def _cut(body: bytes, limit: int) -> int:
    """Not far before `limit`, between two characters."""
    for at in range(limit, limit - _SEARCHED, -1):
        if body[at] & 0xC0 != 0x80 and b"\\" not in body[at - _ESCAPE + 1 : at]:
            return at
    raise _Undecided
