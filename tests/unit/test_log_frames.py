"""Framed log records: whatever a guest writes, in whatever pieces, is bounded and told apart."""

import struct

from hypothesis import given
from hypothesis import strategies as st

from lamplighter.worker.log_frames import LEVELS, RECORD_LIMIT, LogFrames, Record

TYPES = {0xA55A0002 + json + (level << 2): name for level, name in LEVELS.items() for json in (0, 1)}


def frame(kind: int, text: bytes, time: int = 1_700_000_000_000_000) -> bytes:
    return struct.pack(">IIQ", kind, len(text), time) + text


def pieces(data: bytes, sizes: list[int]) -> list[bytes]:
    cut: list[bytes] = []
    for size in sizes:
        cut.append(data[:size])
        data = data[size:]
    return [*cut, data]


@given(st.lists(st.tuples(st.sampled_from(sorted(TYPES)), st.binary(max_size=50))), st.lists(st.integers(1, 40)))
def test_records_come_out_as_they_went_in_however_they_were_cut(
    written: list[tuple[int, bytes]], sizes: list[int]
) -> None:
    frames, taken = LogFrames(), list[Record]()
    for piece in pieces(b"".join(frame(kind, text) for kind, text in written), sizes):
        records, other = frames.take(piece)
        taken += records
        assert other == b""
    assert [(record.level, record.text) for record in taken] == [(TYPES[kind], text) for kind, text in written]
    assert {record.time for record in taken} <= {1_700_000_000.0}


@given(st.lists(st.binary(max_size=60)))
def test_garbage_is_taken_for_lines_and_nothing_is_lost_or_kept(written: list[bytes]) -> None:
    frames, out = LogFrames(), b""
    begun = b"\0" * 16  # no frame begins like this
    for piece in (begun, *written):
        records, other = frames.take(piece)
        assert records == []
        out += other
    assert out == begun + b"".join(written)


def test_a_frame_that_is_too_long_is_cut_and_the_next_one_found() -> None:
    frames = LogFrames()
    long = frame(0xA55A0003, b"x" * (3 * RECORD_LIMIT)) + frame(0xA55A0003, b"next")
    taken: list[Record] = []
    for at in range(0, len(long), 65536):
        records, other = frames.take(long[at : at + 65536])
        assert other == b""
        taken += records
    assert [len(record.text) for record in taken] == [RECORD_LIMIT, 4]


def test_what_a_killed_runtime_began_to_write_is_not_lost() -> None:
    frames = LogFrames()
    frames.take(frame(0xA55A0003, b"half of it")[:-3])
    assert frames.rest() == b"half of"
