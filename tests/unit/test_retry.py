"""AWS's rules of trying again, as numbers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lamplighter.events.retry import DELAYS, LONGEST, after_error, after_refusal, backoff, stopped
from lamplighter.model.event_invoke import EventRules, from_document

RULES = st.builds(EventRules, retries=st.integers(0, 2), age=st.integers(60, 21_600))
TIMES = st.floats(0, 30_000, allow_nan=False)
ACCEPTED = 1_750_000_000.0


def test_without_a_configuration_it_is_two_retries_and_six_hours():
    assert from_document(None) == EventRules(2, 21_600, {})
    assert from_document({"modified": 1.0, "retries": None, "age": None, "destinations": {}}) == EventRules()
    assert from_document({"retries": 0, "age": 60, "destinations": {"OnFailure": "arn"}}) == EventRules(
        0, 60, {"OnFailure": "arn"}
    )


@pytest.mark.parametrize(("attempts", "expected"), [(1, 60.0), (2, 120.0), (3, "RetriesExhausted")])
def test_the_delays_after_an_error_are_a_minute_and_two(attempts: int, expected: object):
    decided = after_error(EventRules(), ACCEPTED, ACCEPTED, attempts)
    assert decided == (expected if isinstance(expected, str) else ACCEPTED + float(str(expected)))


@given(RULES, TIMES, st.integers(1, 5))
def test_no_retry_comes_too_often_too_early_or_too_late(rules: EventRules, passed: float, attempts: int):
    now = ACCEPTED + passed
    decided = after_error(rules, ACCEPTED, now, attempts)
    if isinstance(decided, str):
        assert (decided == "RetriesExhausted") == (attempts > rules.retries)
    else:
        assert attempts <= rules.retries
        assert decided == now + DELAYS[attempts - 1]
        assert stopped(rules, ACCEPTED, decided, None) is None


@given(RULES, TIMES, st.integers(1, 1000))
def test_refusals_are_spaced_out_up_to_the_events_end(rules: EventRules, passed: float, refusals: int):
    now = ACCEPTED + passed
    due = after_refusal(rules, ACCEPTED, now, refusals)
    assert now <= due <= now + LONGEST
    if due > ACCEPTED + rules.age:
        assert due == now
    if due < now + backoff(refusals) - 1e-3:
        assert stopped(rules, ACCEPTED, due + 1e-3, None) == "EventAgeExceeded"


def test_the_back_off_goes_from_a_second_to_five_minutes():
    assert [backoff(times) for times in range(1, 12)] == [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]
    assert backoff(10**6) == 300


@given(RULES, TIMES, st.one_of(st.none(), st.integers(0, 100)))
def test_an_event_is_stopped_by_its_age_or_by_a_function_that_is_switched_off(
    rules: EventRules, passed: float, reserved: int | None
):
    condition = stopped(rules, ACCEPTED, ACCEPTED + passed, reserved)
    if passed >= rules.age:
        assert condition == "EventAgeExceeded"
    else:
        assert condition == ("ZeroReservedConcurrency" if reserved == 0 else None)
