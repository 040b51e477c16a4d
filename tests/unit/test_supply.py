from hypothesis import given
from hypothesis import strategies as st

from lamplighter.sandbox.supply import FEWEST, LATELY, MOST, Supply

TIMES = st.lists(st.floats(0, 1000), max_size=40).map(sorted)


def test_each_start_is_a_reason_for_one_more_for_a_while() -> None:
    supply = Supply()
    for number in range(5):
        supply.note(number / 10)
    assert supply.wanted(0.5) == 5
    assert supply.wanted(LATELY + 0.15) == 3
    assert supply.wanted(LATELY + 0.5) == FEWEST


@given(TIMES, st.floats(1000, 1020))
def test_there_are_never_too_few_or_too_many(times: list[float], now: float) -> None:
    supply = Supply()
    for time in times:
        supply.note(time)
    lately = sum(now - time < LATELY for time in times)
    assert supply.wanted(now) == min(MOST, max(FEWEST, lately))
