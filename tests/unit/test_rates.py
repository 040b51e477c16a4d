"""Rates, and memory as the kernel tells it."""

from hypothesis import given
from hypothesis import strategies as st

from lamplighter.invoke.memory import available, in_meminfo
from lamplighter.invoke.rates import Bucket


def test_a_full_bucket_gives_its_burst_and_then_what_flows_in():
    bucket = Bucket()
    assert [bucket.take(5.0, 10, 10) for _ in range(11)] == [True] * 10 + [False]
    assert not bucket.take(5.05, 10, 10)
    assert bucket.take(5.1, 10, 10)
    assert not bucket.take(5.1, 10, 10)
    assert [bucket.take(100.0, 10, 10) for _ in range(11)] == [True] * 10 + [False]


def test_a_rate_of_nothing_gives_nothing():
    assert not Bucket().take(1.0, 0, 0)


@given(steps=st.lists(st.floats(0, 0.5), max_size=200), rate=st.integers(1, 50))
def test_never_more_is_taken_than_a_burst_and_what_flowed_in(steps: list[float], rate: int):
    bucket, now, taken = Bucket(), 1_000_000.0, 0
    for step in steps:
        now += step
        taken += bucket.take(now, rate, rate)
        assert taken <= rate + (now - 1_000_000.0) * rate + 0.01


@given(text=st.binary(max_size=200))
def test_whatever_meminfo_says_is_a_size_or_nothing(text: bytes):
    for whole in (text, b"MemAvailable:" + text):
        found = in_meminfo(whole)
        assert found is None or found >= 0


def test_meminfo_is_read_in_bytes():
    assert in_meminfo(b"MemTotal:  9 kB\nMemAvailable:     2048 kB\nBuffers: 1 kB\n") == 2 * 1_048_576
    assert in_meminfo(b"") is None
    found = available()
    assert found is None or 0 < found < 1 << 50
