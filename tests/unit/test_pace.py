"""How fast a stream may go, with a clock that a test moves."""

from hypothesis import given
from hypothesis import strategies as st

from lamplighter.invoke.pace import BURST, RATE, Pace
from support.environments import HeldClock


def test_the_first_six_megabytes_wait_for_nothing() -> None:
    pace = Pace(HeldClock())
    assert [pace.delay(65_536) for _ in range(BURST // 65_536)] == [0.0] * 96


def test_after_them_it_is_two_megabytes_a_second() -> None:
    clock = HeldClock()
    pace = Pace(clock)
    pace.delay(BURST)
    began = clock.time
    for _ in range(100):
        clock.move(pace.delay(RATE // 10))
    assert abs(clock.time - began - 9.9) < 0.001  # the last of them is still to be paid


def test_time_that_was_not_used_is_not_saved_up() -> None:
    clock = HeldClock()
    pace = Pace(clock)
    pace.delay(BURST)
    clock.move(60)
    assert pace.delay(RATE) == 0.0
    assert pace.delay(1) == 1.0


@given(st.lists(st.tuples(st.integers(1, 300_000), st.floats(0, 0.5)), max_size=60))
def test_it_is_never_faster_than_allowed(pieces: list[tuple[int, float]]) -> None:
    """At any time: no more than the burst, one piece that goes now, and the rate times the time since."""
    clock = HeldClock()
    pace = Pace(clock, burst=500_000, rate=100_000)
    began = clock.time
    sent = 0
    for size, pause in pieces:
        clock.move(pause)
        clock.move(pace.delay(size))
        assert sent <= 500_000 + 100_000 * (clock.time - began) + 0.001 * 100_000
        sent += size
