"""The table of an environment's life."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lamplighter.worker.lifecycle import NEXT, OutOfTurn, Signal, State, follow

WARM = [Signal.GIVEN, Signal.ANSWERED, Signal.ASKED]


def walk(signals: list[Signal]) -> State:
    state = State.INIT
    for signal in signals:
        state = follow(state, signal)
    return state


def test_a_warm_environment_goes_round_for_ever() -> None:
    assert walk([Signal.ASKED, *WARM, *WARM, *WARM]) is State.READY


def test_an_init_that_failed_is_repeated_in_the_next_invocation_and_again_in_the_one_after() -> None:
    assert walk([Signal.INIT_FAILED, Signal.REPEATED, Signal.ASKED]) is State.READY
    assert walk([Signal.INIT_FAILED, Signal.REPEATED, Signal.INIT_FAILED]) is State.RESET
    assert walk([Signal.INIT_FAILED, Signal.REPEATED, Signal.INIT_FAILED, Signal.REPEATED]) is State.SUPPRESSED_INIT


@pytest.mark.parametrize("signal", [Signal.EXITED, Signal.TIMED_OUT])
@pytest.mark.parametrize("before", [WARM[:1], WARM[:2]])
def test_what_goes_wrong_in_an_invocation_is_followed_by_a_new_init_in_the_next(
    before: list[Signal], signal: Signal
) -> None:
    assert walk([Signal.ASKED, *before, signal]) is State.RESET
    assert walk([Signal.ASKED, *before, signal, Signal.REPEATED, Signal.ASKED, *WARM]) is State.READY
    assert walk([Signal.ASKED, *before, signal, Signal.ENDED]) is State.DEAD


@given(st.sampled_from(State), st.sampled_from(Signal))
def test_a_pair_outside_of_the_table_is_refused(state: State, signal: Signal) -> None:
    if (state, signal) in NEXT:
        assert follow(state, signal) is NEXT[state, signal]
    else:
        with pytest.raises(OutOfTurn, match=state.name):
            follow(state, signal)


@given(st.lists(st.sampled_from(Signal), max_size=60))
def test_whatever_happens_it_can_be_ended_and_the_dead_stay_dead(signals: list[Signal]) -> None:
    state, died = State.INIT, False
    for signal in signals:
        if (state, signal) in NEXT:
            state = follow(state, signal)
        died = died or state is State.DEAD
        assert not died or state is State.DEAD
    assert follow(state, Signal.ENDED) is State.DEAD


def test_only_an_environment_that_waits_is_given_an_event() -> None:
    assert [state for state, signal in NEXT if signal is Signal.GIVEN] == [State.READY]
