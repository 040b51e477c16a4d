"""How many events of a queue run at once."""

from hypothesis import given
from hypothesis import strategies as st

from lamplighter.events.window import FIRST, Window


def backlog_of(window: Window, duration_of: dict[int, float] | None = None, seconds: float = 1.0, rounds: int = 30):
    """Attempts that end, round after round; how long each takes may depend on how many run."""
    now = 0.0
    for _ in range(rounds):
        size = window.size
        took = seconds if duration_of is None else duration_of[min(size, max(duration_of))]
        now += took
        for _ in range(size):
            window.ended(now, took, True)
    return window.size


def test_what_is_no_slower_for_it_gets_more_until_there_is_no_more():
    assert backlog_of(Window(0.0, largest=200)) == 200


def test_what_shares_processors_gets_few():
    shared = {size: size / 2 for size in range(1, 1001)}  # two processors
    assert backlog_of(Window(0.0), shared) <= 3 * FIRST


def test_what_is_fast_is_not_given_more_because_of_a_few_that_were_faster_still():
    window, now = Window(0.0), 0.0
    for _ in range(20_000):  # 4 s
        now += 0.0002
        window.ended(now, 0.0002 * window.size, True)
    assert window.size <= 3 * FIRST


def test_what_is_held_up_by_something_else_is_not_given_more():
    window, now = Window(0.0), 0.0
    for _ in range(20_000):
        now += 0.0005
        window.ended(now, 0.002, True, full=False)
    assert window.size == FIRST


def test_without_a_backlog_it_stays_as_it_is():
    window = Window(0.0)
    for number in range(1000):
        window.ended(number, 0.1, False)
    assert window.size == FIRST


def test_that_environments_are_slow_to_make_is_no_reason_to_make_more():
    window, now = Window(0.0), 0.0
    for _ in range(FIRST):  # these waited for their environments
        now += 0.25
        window.ended(now, 2.0, True)
    for _ in range(2 * FIRST):  # since then, the processors are the limit
        now += 0.025
        window.ended(now, 0.025 * window.size, True)
    assert window.size <= FIRST * 3 // 2


def test_what_takes_its_time_is_given_more_before_any_of_it_ends():
    window = Window(0.0)
    for now in range(1, 11):
        window.quiet(float(now))
    assert window.size == 11 * FIRST


def test_a_limit_is_kept_to():
    window = Window(0.0)
    window.throttled(0.0, 3)
    assert window.size == 3
    window.throttled(0.0, 0)
    assert window.size == 1


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("ended"), st.floats(0, 900), st.booleans()),
            st.tuples(st.just("quiet"), st.floats(0, 5)),
            st.tuples(st.just("throttled"), st.integers(0, 2000)),
        ),
        max_size=300,
    )
)
def test_it_is_never_less_than_one_nor_more_than_allowed(told: list[tuple[object, ...]]):
    window, now = Window(0.0, largest=100), 0.0
    for what, number, *more in told:
        assert isinstance(number, (int, float))
        if what == "throttled":
            window.throttled(now, min(int(number), window.size))
        elif what == "quiet":
            now += number
            window.quiet(now)
        else:
            now += number
            window.ended(now, number, bool(more[0]))
        assert 1 <= window.size <= 100
