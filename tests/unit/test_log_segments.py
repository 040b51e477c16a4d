"""Segment files: what was written whole is found, whatever happened to the end of the file."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from lamplighter.telemetry.logs import segment
from lamplighter.telemetry.logs.segment import LINES, MESSAGE, Events, Segment, record

# Files and a directory for each example: beside load that is slow, which is no failure.
MANY = settings(max_examples=60, deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow])
NOW = 1_790_000_000_000


def batch(stream: str, *messages: bytes, at: int = NOW) -> Events:
    return Events(stream, at, at, len(messages), b"".join(record(MESSAGE, at, message) for message in messages))


def texts(path: Path, contents: segment.Contents) -> list[tuple[str, bytes]]:
    data = path.read_bytes()
    found: list[tuple[str, bytes]] = []
    for block in contents.blocks:
        stream = contents.streams[block.stream]
        assert stream is not None
        found.append((stream.name, data[block.offset : block.offset + block.length]))
    return found


def written(path: Path, batches: list[Events]) -> Segment:
    made = Segment.create(path)
    for each in batches:
        made.append([each], NOW)
    made.close()
    return made


def test_what_was_appended_is_found(tmp_path: Path) -> None:
    path = tmp_path / segment.name_of(NOW)
    batches = [batch("a", b"1", b"2"), batch("b", b"3", at=NOW + 5), batch("a", b"4", at=NOW - 5)]
    made = written(path, batches)
    found = segment.scan(path, made.contents.size)
    assert texts(path, found) == [(each.stream, each.payload) for each in batches]
    assert (found.first, found.last) == (NOW - 5, NOW + 5)
    assert segment.summary(path) is None


def test_a_sealed_segment_says_what_is_in_it(tmp_path: Path) -> None:
    path = tmp_path / segment.name_of(NOW)
    made = written(path, [batch("a", b"1"), batch("b", b"2", at=NOW + 7)])
    made.declare("empty", NOW)
    made.delete("a", NOW)
    made.seal()
    found = segment.summary(path)
    assert found is not None
    assert (found.first, found.last, found.deleted) == (NOW, NOW + 7, ["a"])
    assert [stream and stream.name for stream in found.streams] == [None, "b", "empty"]
    assert len(segment.scan(path, None).blocks) == 2


@MANY
@given(st.lists(st.sampled_from("abc"), min_size=1, max_size=8), st.integers(0, 999), st.binary(max_size=80))
@example(["a", "b"], 1, b"1")  # the torn byte happens to be written again: nothing was torn, then
@example(["a"], 999, b"")
def test_a_torn_end_costs_only_what_was_torn(
    tmp_path_factory: pytest.TempPathFactory, streams: list[str], torn: int, garbage: bytes
) -> None:
    path = tmp_path_factory.mktemp("torn") / segment.name_of(NOW)
    made = Segment.create(path)
    ends: list[int] = []
    for number, stream in enumerate(streams):
        made.append([batch(stream, b"%d" % number)], NOW)
        ends.append(made.contents.size)
    made.close()
    intact = path.read_bytes()
    left = intact[: max(0, len(intact) - torn)] + garbage
    path.write_bytes(left)
    again = Segment(path, segment.recover(path))
    whole = sum(left[:end] == intact[:end] for end in ends)  # garbage may be what was there
    again.append([batch("new", b"after")], NOW)
    again.close()
    found = texts(path, segment.scan(path, again.contents.size))
    assert found[:whole] == [
        (stream, batch(stream, b"%d" % number).payload) for number, stream in enumerate(streams[:whole])
    ]
    assert found[-1] == ("new", batch("new", b"after").payload)
    assert len(found) == whole + 1
    assert path.stat().st_size == again.contents.size


@MANY
@given(st.data())
def test_a_flipped_byte_is_noticed(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    path = tmp_path_factory.mktemp("flipped") / segment.name_of(NOW)
    batches = [batch("a", b"%d" % number) for number in range(5)]
    made = written(path, batches)
    content = bytearray(path.read_bytes())
    at = data.draw(st.integers(0, len(content) - 1))
    content[at] ^= data.draw(st.integers(1, 255))
    path.write_bytes(content)
    found = texts(path, segment.scan(path, made.contents.size))
    assert found == [(each.stream, each.payload) for each in batches][: len(found)]
    assert len(found) < 5


def test_a_write_that_fails_leaves_the_file_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / segment.name_of(NOW)
    made = written(path, [batch("a", b"1")])
    size = made.contents.size
    whole = segment.os.pwrite

    def full(descriptor: int, data: bytes, at: int) -> int:
        whole(descriptor, bytes(data)[:10], at)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(segment.os, "pwrite", full)
    with pytest.raises(OSError, match="No space"):
        made.append([batch("b", b"2")], NOW)
    monkeypatch.undo()
    assert path.stat().st_size == size
    made.append([batch("b", b"3")], NOW)
    made.close()
    assert [text for _, text in texts(path, segment.scan(path, made.contents.size))] == [
        record(MESSAGE, NOW, b"1"),
        record(MESSAGE, NOW, b"3"),
    ]


def test_scanning_goes_on_where_it_was(tmp_path: Path) -> None:
    path = tmp_path / segment.name_of(NOW)
    made = Segment.create(path)
    known = None
    for number in range(5):
        made.append([Events("a", NOW, NOW, 1, record(LINES, NOW, b"%d\n" % number))], NOW)
        known = segment.scan(path, made.contents.size, known)
        assert len(known.blocks) == number + 1
    made.close()
