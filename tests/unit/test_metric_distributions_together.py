"""Values that are counted together come to the same as one after the other."""

from hypothesis import given
from hypothesis import strategies as st

from lamplighter.telemetry.metrics.distribution import EXACT, Distribution

values = st.lists(
    st.floats(0.01, 1e6) | st.sampled_from([0.0, 1.0, 2.5, -3.0]),
    min_size=1,
    max_size=3 * EXACT,
)


@given(values, values)
def test_together_is_as_one_after_the_other(first: list[float], second: list[float]) -> None:
    together, alone = Distribution(), Distribution()
    for found in (first, second):
        together.add_all(found)
        for value in found:
            alone.add(value)
    assert (together.count, together.minimum, together.maximum) == (alone.count, alone.minimum, alone.maximum)
    assert abs(together.total - alone.total) <= 1e-6 * max(1.0, sum(map(abs, first + second)))
    assert sum(together.values.values()) == together.count
    for share in (0.01, 0.5, 0.9, 0.99, 1.0):
        one, other = together.percentile(share), alone.percentile(share)
        assert (one is None) == (other is None)
        if one is not None and other is not None:
            assert abs(one - other) <= 0.021 * max(abs(one), abs(other))


@given(st.integers(EXACT + 1, 500))
def test_many_different_values_are_kept_by_few(count: int) -> None:
    found = Distribution()
    found.add_all([1.0 + number / 1000 for number in range(count)])
    assert found.count == count == sum(found.values.values())
    assert len(found.values) <= 30
