"""What functions do at this time: counts, and percentiles that are told from steps."""

from hypothesis import given
from hypothesis import strategies as st

from lamplighter.model.usage import Refused
from lamplighter.telemetry.activity import Activity, end_of, percentile, step_of
from support.usage import NOON, ran, version


@given(st.floats(0, 900_000))
def test_a_duration_is_in_the_step_that_ends_above_it_by_a_quarter_at_most(duration: float) -> None:
    step = step_of(duration)
    assert duration < end_of(step) <= duration * 1.25 + 0.2
    assert step == 0 or end_of(step - 1) <= duration


@given(st.lists(st.floats(0, 900_000), min_size=1), st.sampled_from([0.5, 0.9, 0.99]))
def test_a_percentile_is_told_to_within_a_quarter(durations: list[float], share: float) -> None:
    found = percentile([(step_of(duration), 1) for duration in durations], share)
    assert found is not None
    below = sum(duration < found for duration in durations)
    assert below >= share * len(durations)


def test_what_ran_and_what_was_throttled_is_counted_by_function() -> None:
    activity = Activity()
    one, two = version("one", memory_size=256), version("two")
    activity.observe(ran(one, init=30.0, memory_peak=5 << 20))
    activity.observe(ran(one, status="timeout", duration=3000.0))
    activity.observe(Refused(two.id, "1", two.arn, NOON, "throttled"))
    activity.observe(Refused(two.id, "1", two.arn, NOON, "recursive"))
    found = activity.functions[one.id]
    assert (found.invocations, found.errors, found.throttles, found.cold, found.memory_size) == (2, 1, 0, 1, 256)
    assert found.durations() == {step_of(1.5): 1, step_of(3000.0): 1}
    assert activity.functions[two.id].throttles == 1


def test_memory_is_bounded_by_forgetting_who_came_first() -> None:
    activity = Activity(bound=3)
    for number in range(10):
        activity.observe(ran(version(f"f{number}")))
    assert [id.name for id in activity.functions] == ["f7", "f8", "f9"]


def test_of_nothing_there_is_no_percentile() -> None:
    assert percentile([], 0.5) is None
