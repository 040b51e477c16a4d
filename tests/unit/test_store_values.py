"""Values on their way into columns."""

import pytest

from lamplighter.store.values import number


def test_versions_are_ordered_as_numbers_behind_latest() -> None:
    ordered = ["$LATEST", "1", "2", "9", "10", "999999999999999999", "9" * 19, "9" * 5000]
    assert [number(version) for version in ordered] == sorted(number(version) for version in ordered)


@pytest.mark.parametrize("text", ["", "$LATEST", "live", "-1", "1.5", "1e3", " 1"])
def test_what_is_no_number_is_in_front(text: str) -> None:
    assert number(text) == 0


@pytest.mark.parametrize("digits", [18, 19, 20, 5000])
def test_no_number_is_too_large_for_a_column(digits: int) -> None:
    assert 0 < number("9" * digits) < 2**63
