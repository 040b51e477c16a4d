"""The bill at its edges: of months, wherever the clock stands, and of tiers, whoever used what is below them."""

import asyncio
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from pathlib import Path
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lamplighter.model.metering import Key, Totals, month_of
from lamplighter.store.directory import DataDirectory
from lamplighter.store.usage import UsageLedger
from lamplighter.store.used import used
from lamplighter.telemetry.metering.bill import bill
from lamplighter.telemetry.metering.meter import Meter
from lamplighter.telemetry.metering.prices import load
from support.usage import ran, version

BORDERS: Final = [datetime(year, month, 1, tzinfo=UTC) for year, month in ((2023, 12), (2024, 1), (2024, 3), (2025, 3))]
STEP: Final = timedelta(milliseconds=125)  # which floating point has exactly
GB_SECOND: Final = 1_024_000  # MB times milliseconds
PRICES: Final = load()

# AWS: spec 10.4. What a tier ends at, and what a GB-second in it costs.
TIERS: Final = {
    "x86_64": ((6 * 10**9, "0.0000166667"), (15 * 10**9, "0.0000150000"), (10**18, "0.0000133334")),
    "arm64": ((75 * 10**8, "0.0000133334"), (1875 * 10**7, "0.0000120001"), (10**18, "0.0000106667")),
}


def test_an_invocation_is_in_the_bill_of_the_month_in_which_it_ended_and_in_no_other(tmp_path: Path) -> None:
    """In UTC, at the end of a year and of a February, of a leap year as well."""
    ends = [border + step * STEP for border in BORDERS for step in (-30_000, -1, 0, 1, 30_000)]
    with DataDirectory(tmp_path / "data") as directory:

        async def main() -> None:
            async with Meter(UsageLedger(directory.usage)) as meter:
                for number, end in enumerate(ends):
                    began = (end - STEP).timestamp()
                    meter.observe(ran(version(f"f{number}"), duration=125.0, began=began))

        asyncio.run(main())
        found: dict[str, list[str]] = {}
        for year in (2023, 2024, 2025):
            for month in range(1, 13):
                hours = month_of(f"{year}-{month:02}")
                assert hours is not None
                for key, totals in used(directory, *hours, tagged=False).usage:
                    assert totals.requests == 1
                    found.setdefault(key.function, []).append(f"{year}-{month:02}")
    assert found == {f"f{number}": [end.strftime("%Y-%m")] for number, end in enumerate(ends)}


@pytest.mark.parametrize("name", ["2024-00", "2024-13", "2024-1", "24-01", "2024-01-01", "", "\uff12024-01", "1969-12"])
def test_what_is_no_month_is_none(name: str) -> None:
    assert month_of(name) is None


def of_tiers(architecture: str, units: Fraction) -> Fraction:
    amount, begin = Fraction(0), 0
    for end, price in TIERS[architecture]:
        amount += max(Fraction(0), min(units, Fraction(end)) - begin) * Fraction(price)
        begin = end
    return amount


MEMORIES: Final = st.one_of(
    st.integers(0, 3 * 10**10 * GB_SECOND),
    st.sampled_from([end for tiers in TIERS.values() for end, _ in tiers[:2]]).flatmap(
        lambda end: st.integers(-3, 3).map(lambda more: end * GB_SECOND + more)
    ),
)


@given(
    st.lists(
        st.tuples(st.sampled_from("ab"), st.sampled_from(sorted(TIERS)), st.sampled_from(["eu", "us"]), MEMORIES),
        max_size=6,
    ),
    st.booleans(),
)
def test_tiers_and_the_free_tier_are_for_all_functions_of_an_account_in_a_region_together(
    ran: list[tuple[str, str, str, int]], free: bool
) -> None:
    usage: dict[Key, Totals] = {}
    for function, architecture, region, memory in ran:
        key = Key("000000000000", region, function, "1", 500_000, architecture, "on-demand")
        usage[key] = Totals(memory=usage.get(key, Totals()).memory + memory)
    made = bill(list(usage.items()), PRICES, free, lambda key: key.function)
    told = {(line.region, line.item): line.amount for line in made.lines}
    expected: dict[tuple[str, str], Fraction] = {}
    for region in ("eu", "us"):
        left = Fraction(400_000 if free else 0)
        for architecture in ("x86_64", "arm64"):  # the dearer one is free first
            memory = sum(each[3] for each in ran if each[1:3] == (architecture, region))
            units = Fraction(memory, GB_SECOND)
            spared = min(left, units)
            left -= spared
            if memory:
                expected[region, f"duration.{architecture}"] = of_tiers(architecture, units - spared) * 10**6
    assert told.keys() == expected.keys()
    assert all(abs(told[item] - expected[item]) <= Fraction(1, 2) for item in told)
    assert made.amount == sum(row.amount for row in made.rows)
