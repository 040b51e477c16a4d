"""Lines from a pipe: whole ones, of bounded length, whatever the pieces they come in."""

from hypothesis import given, settings
from hypothesis import strategies as st

from lamplighter.worker.lines import LONGEST, Lines

MANY = settings(max_examples=200, deadline=None, database=None)
LIMIT = 8


@MANY
@given(st.lists(st.text("ab\n", max_size=LIMIT - 1), max_size=12))
def test_lines_come_out_whole_and_in_their_order_and_longer_ones_in_pieces(data: list[str]) -> None:
    lines = Lines(LIMIT)
    given = [piece.encode() for piece in data]
    out = b"".join([*(lines.take(piece) for piece in given), lines.finish()])
    expected: list[bytes] = []
    for line in b"".join(given).split(b"\n"):
        while len(line) >= LIMIT:
            expected.append(line[: LIMIT - 1])
            line = line[LIMIT - 1 :]
        expected.append(line)
    if not expected[-1]:
        expected.pop()
    assert out == b"".join(line + b"\n" for line in expected)


@MANY
@given(st.lists(st.text("ab\n", max_size=LIMIT - 1), max_size=12))
def test_what_is_given_are_whole_lines_and_what_is_kept_is_bounded(data: list[str]) -> None:
    lines = Lines(LIMIT)
    for piece in data:
        given = lines.take(piece.encode())
        assert not given or given.endswith(b"\n")
        assert len(lines.partial) < LIMIT
        assert b"\n" not in lines.partial


def test_a_line_without_an_end_becomes_events_of_the_largest_size() -> None:
    lines = Lines()
    events = b"".join(lines.take(b"x" * 65_536) for _ in range(64)).splitlines(keepends=True)
    assert [len(event) for event in events] == [LONGEST] * 4
    assert len(lines.partial) == 64 * 65_536 - 4 * (LONGEST - 1)
