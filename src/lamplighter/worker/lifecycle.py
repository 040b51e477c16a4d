"""The life of an environment as a table, and nothing else: which state follows which signal (AWS: spec 3.1).

No I/O, no clock, no payloads here. `environment.py` asks `follow` before it acts; a pair that is not in the table is a
bug of ours, never of a guest's (what guests may ask for, and when, is settled by `runtime_api.py`).
"""

from enum import IntEnum  # IntEnum: its hash is the int's, which the warm path notices


class State(IntEnum):
    INIT = 1  # the runtime is starting, no invocation is running yet
    FAILED_INIT = 2  # that went wrong; the next invocation repeats it in its own time ("suppressed init")
    SUPPRESSED_INIT = 3  # the repetition
    READY = 4  # the runtime waits for an event
    BUSY = 5  # it has one
    ANSWERED = 6  # it has answered, but not yet asked for the next: the phase is not over
    RESET = 7  # an invocation went wrong and took the sandbox with it; the next begins with a new one's init
    DEAD = 8


class Signal(IntEnum):
    REPEATED = 11  # init begins again, inside an invocation
    ASKED = 12  # the runtime asked for the next event
    GIVEN = 13  # it was given one
    ANSWERED = 14  # it posted a response or an error
    INIT_FAILED = 15  # it posted an init error, exited or took too long before it first asked
    EXITED = 16  # the runtime process is gone
    TIMED_OUT = 17  # the function's time is up
    ENDED = 18  # we take it down


NEXT: dict[tuple[State, Signal], State] = {
    (State.INIT, Signal.ASKED): State.READY,
    (State.INIT, Signal.INIT_FAILED): State.FAILED_INIT,
    (State.INIT, Signal.ENDED): State.DEAD,
    (State.FAILED_INIT, Signal.REPEATED): State.SUPPRESSED_INIT,
    (State.FAILED_INIT, Signal.ENDED): State.DEAD,
    (State.SUPPRESSED_INIT, Signal.ASKED): State.READY,
    (State.SUPPRESSED_INIT, Signal.INIT_FAILED): State.RESET,
    (State.SUPPRESSED_INIT, Signal.TIMED_OUT): State.RESET,
    (State.SUPPRESSED_INIT, Signal.ENDED): State.DEAD,
    (State.READY, Signal.GIVEN): State.BUSY,
    (State.READY, Signal.EXITED): State.DEAD,
    (State.READY, Signal.ENDED): State.DEAD,
    (State.BUSY, Signal.ANSWERED): State.ANSWERED,
    (State.BUSY, Signal.EXITED): State.RESET,
    (State.BUSY, Signal.TIMED_OUT): State.RESET,
    (State.BUSY, Signal.ENDED): State.DEAD,
    (State.ANSWERED, Signal.ASKED): State.READY,
    (State.ANSWERED, Signal.EXITED): State.RESET,
    (State.ANSWERED, Signal.TIMED_OUT): State.RESET,
    (State.ANSWERED, Signal.ENDED): State.DEAD,
    (State.RESET, Signal.REPEATED): State.SUPPRESSED_INIT,
    (State.RESET, Signal.ENDED): State.DEAD,
    (State.DEAD, Signal.ENDED): State.DEAD,
}


class OutOfTurn(Exception):
    """A signal that the state does not know."""

    def __init__(self, state: State, signal: Signal) -> None:
        super().__init__(f"an environment in state {state.name} cannot take the signal {signal.name}")


def follow(state: State, signal: Signal) -> State:
    """The state after `signal`; raises OutOfTurn for a pair that is not in the table."""
    try:
        return NEXT[state, signal]
    except KeyError:
        raise OutOfTurn(state, signal) from None
