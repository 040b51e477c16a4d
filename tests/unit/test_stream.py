"""The bounded buffer between a guest that streams and a caller that reads."""

import asyncio
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lamplighter.worker import stream as streams
from lamplighter.worker.stream import Stream, Upload


class Socket:
    """A transport of which only the reading matters."""

    def __init__(self) -> None:
        self.reading = True

    def is_closing(self) -> bool:
        return False

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True


def upload(stream: Stream) -> tuple[Upload, Socket]:
    socket = Socket()
    return Upload(stream, cast(Any, socket)), socket


PIECES = st.lists(st.one_of(st.binary(min_size=1, max_size=40), st.integers(1, 60)), max_size=60)


@given(PIECES)
def test_bytes_come_out_as_they_went_in_and_never_too_many_wait(steps: list[bytes | int]) -> None:
    """A piece of bytes is fed if the guest is read at all; a number takes so many."""

    async def stream_it() -> None:
        stream = Stream(room=100)
        guest, socket = upload(stream)
        fed, taken = b"", b""
        for step in steps:
            if isinstance(step, int):
                taken += stream.take(step)
            elif socket.reading:
                guest.take(step)
                fed += step
            assert fed.startswith(taken)
            assert len(fed) - len(taken) < 100 + 40
            assert socket.reading or len(fed) - len(taken) > 50, "who is told to stop is told to go on"
        while piece := stream.take(7):
            taken += piece
        assert (taken, socket.reading) == (fed, True)

    asyncio.run(stream_it())


def test_who_takes_no_more_does_not_stop_the_guest() -> None:

    async def stream_it() -> None:
        stream = Stream(room=10)
        guest, socket = upload(stream)
        guest.take(b"x" * 20)
        assert not socket.reading
        stream.drop()
        assert socket.reading
        guest.take(b"x" * 1000)
        assert (socket.reading, stream.take(1000)) == (True, b"")

    asyncio.run(stream_it())


def test_what_goes_beyond_the_limit_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "STREAM_LIMIT", 10)

    async def stream_it() -> None:
        stream = Stream()
        guest, _ = upload(stream)
        guest.take(b"0123456789")
        assert not guest.too_large
        guest.take(b"abc")
        guest.take(b"def")
        assert guest.too_large
        assert stream.take(100) == b"0123456789"

    asyncio.run(stream_it())


def test_news_are_heard_also_if_they_came_before() -> None:
    async def hear() -> None:
        stream = Stream()
        stream.begin()
        await asyncio.wait_for(stream.news(), 5)
        stream.feed(b"1")
        stream.wake()
        await asyncio.wait_for(stream.news(), 5)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(stream.news(), 0.01)

    asyncio.run(hear())


def test_a_content_type_of_any_length_is_not_passed_on() -> None:
    stream = Stream()
    stream.declare(b"text/" + b"x" * 2000)
    assert stream.content_type is None
    stream.declare(b"text/plain")
    assert stream.content_type == "text/plain"
