"""Which calls are traced, and what their header says."""

from hypothesis import given
from hypothesis import strategies as st
from tests.support.environments import HeldClock

from lamplighter.invoke.sampling import Sampling
from lamplighter.model.ids import Ids

ROOT = "Root=1-5759e988-bd862e3fe1be46a994272793"
HEX = st.text("0123456789abcdef", min_size=16, max_size=16)


def sampling(chance: float = 0.99) -> tuple[Sampling, HeldClock]:
    clock = HeldClock()
    return Sampling(clock, Ids(clock), lambda: chance), clock


def test_the_first_call_of_a_second_is_traced_and_a_share_of_the_others() -> None:
    deciding, clock = sampling(chance=0.5)
    assert [deciding.decide(ROOT, True).above is not None for _ in range(3)] == [True, False, False]
    clock.move(1.0)
    assert deciding.decide(ROOT, True).above is not None
    lucky, _ = sampling(chance=0.04)
    assert all(lucky.decide(ROOT, True).above is not None for _ in range(3))


def test_without_active_tracing_a_header_is_handed_on() -> None:
    deciding, _ = sampling()
    given = f"{ROOT};Parent=53995c3f42cd8ad8;Sampled=1"
    assert deciding.decide(given, False) == (given, None)
    assert deciding.decide(ROOT, False) == (f"{ROOT};Sampled=0", None)


@given(HEX, st.sampled_from(["", ";Lineage=a87bd80c:1"]))
def test_a_callers_decision_holds(parent: str, more: str) -> None:
    deciding, _ = sampling()
    for _ in range(3):
        taken = deciding.decide(f"{ROOT};Parent={parent};Sampled=1{more}", True)
        assert taken.above == parent
        assert taken.trace.startswith(f"{ROOT}{more};Parent=")
        assert taken.trace.endswith(";Sampled=1")
        assert parent not in taken.trace or parent in ROOT, "the function sees a segment of its own"
        assert deciding.decide(f"{ROOT};Parent={parent};Sampled=0{more}", True).above is None


@given(st.text(max_size=200), st.booleans())
def test_any_header_is_decided(header: str, active: bool) -> None:
    deciding, _ = sampling()
    decided = deciding.decide(header, active)
    assert "Sampled=" in decided.trace
    assert decided.above is None or active
