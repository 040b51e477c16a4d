"""The bill: AWS's prices for a month's account, and rows that add up to them."""

from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lamplighter.model.metering import Key, Totals
from lamplighter.telemetry.metering.bill import bill, shared
from lamplighter.telemetry.metering.prices import ITEMS, PricesUnusable, load

PRICES = load()
GB_SECOND = 1_024_000  # MB times milliseconds

COUNTS = st.integers(0, 10**16)
KEYS = st.builds(
    Key,
    st.sampled_from(["000000000000", "111111111111"]),
    st.just("us-east-1"),
    st.sampled_from(["a", "b", "c", ""]),
    st.sampled_from(["1", "$LATEST"]),
    st.integers(490_000, 490_050),
    st.sampled_from(["x86_64", "arm64"]),
    st.sampled_from(["on-demand", "provisioned"]),
)
USAGE = st.dictionaries(KEYS, st.builds(Totals, *[COUNTS] * len(Totals._fields)), max_size=12)


def key(function: str = "f", architecture: str = "x86_64", kind: str = "on-demand", hour: int = 490_000) -> Key:
    return Key("000000000000", "us-east-1", function, "1", hour, architecture, kind)  # pyright: ignore[reportArgumentType]


def by_function(key: Key) -> str:
    return key.function


@pytest.mark.parametrize(
    ("item", "units", "amount"),
    [
        ("requests", 1_000_000, "0.2"),
        ("duration.x86_64", 6_000_000_000, "100000.2"),
        ("duration.x86_64", 6_000_000_001, "100000.200015"),
        ("duration.x86_64", 16_000_000_000, "248333.6"),
        ("duration.arm64", 7_500_000_000, "100000.5"),
        ("duration.arm64", 20_000_000_000, "248335"),
        ("provisioned_concurrency.x86_64", 1000, "0.0041667"),
        ("ephemeral_storage", 1_000_000, "0.0309"),
        ("streamed", 1000, "8"),
        ("snap_start_cache", 1_000_000, "1.5046"),
        ("snap_start_restore", 10_000, "1.397998"),
    ],
)
def test_prices_are_awss_by_tier(item: str, units: int, amount: str) -> None:
    assert PRICES.amount(item, Decimal(units)) == Decimal(amount)


def test_a_month_of_one_function_costs_what_aws_says_in_its_example() -> None:
    """Three million requests of 120 ms with 1536 MB, less the free tier: 140,000 GB-s at $2.33 and 2 million requests
    at $0.40."""
    usage = [(key(), Totals(requests=3_000_000, billed=360_000_000, memory=360_000_000 * 1536))]
    made = bill(usage, PRICES, True, by_function)
    assert [(line.item, line.amount) for line in made.lines] == [("requests", 400_000), ("duration.x86_64", 2_333_338)]
    assert made.amount == 2_733_338


def test_the_free_tier_is_one_pool_and_not_for_provisioned_concurrency() -> None:
    usage = [
        (key(), Totals(requests=10, memory=300_000 * GB_SECOND)),
        (key(architecture="arm64"), Totals(requests=10, memory=300_000 * GB_SECOND)),
        (key(kind="provisioned"), Totals(requests=7, memory=5 * GB_SECOND, provisioned_memory=9 * GB_SECOND)),
    ]
    made = bill(usage, PRICES, True, by_function)
    left = {line.item: line.units - line.free for line in made.lines}
    assert left == {
        "requests": 7,
        "duration.x86_64": 0,
        "duration.arm64": 200_000,
        "provisioned_duration.x86_64": 5,
        "provisioned_concurrency.x86_64": 9,
    }


@given(USAGE, st.booleans())
def test_rows_add_up_to_the_total_however_the_bill_is_cut(usage: dict[Key, Totals], free: bool) -> None:
    cuts: list[Callable[[Key], str]] = [by_function, lambda key: str(key.hour // 24), lambda key: ""]
    bills = [bill(list(usage.items()), PRICES, free, cut) for cut in cuts]
    for made in bills:
        assert made.lines == bills[0].lines
        assert sum(row.amount for row in made.rows) == made.amount
        assert all(amount >= 0 for row in made.rows for amount in row.amounts.values())
        assert sum(row.requests for row in made.rows) == sum(totals.requests for totals in usage.values())


@given(st.integers(0, 10**9), st.dictionaries(st.text(max_size=3), st.integers(0, 10**9), min_size=1, max_size=20))
def test_shares_are_whole_fair_and_complete(amount: int, parts: dict[str, int]) -> None:
    parts["one"] = parts.get("one", 0) + 1
    shares = shared(amount, parts)
    assert sum(shares.values()) == amount
    whole = sum(parts.values())
    assert all(abs(shares[name] * whole - amount * part) < whole for name, part in parts.items())


def test_a_file_replaces_the_prices_it_has(tmp_path: Path) -> None:
    path = tmp_path / "prices.toml"
    path.write_text('currency = "EUR"\n[requests]\ntiers = [{ up_to = 10, price = 0.5 }, { price = 0.1 }]\n')
    prices = load(path)
    assert prices.currency == "EUR"
    assert prices.amount("requests", Decimal(11)) == Decimal("5.1")
    assert prices.tiers["streamed"] == PRICES.tiers["streamed"]
    assert set(prices.tiers) == set(ITEMS)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[request]\ntiers = [{ price = 1 }]", "request is none of requests"),
        ("[duration.riscv]\ntiers = [{ price = 1 }]", "duration.riscv is none of"),
        ("[requests]\ntiers = []", "requests needs a list of tiers"),
        ("[requests]\ntiers = [{ up_to = 5, price = 1 }]", "must have rising up_to"),
        ("[requests]\ntiers = [{ price = 2 }, { price = 1 }]", "must have rising up_to"),
        ("[requests]\ntiers = [{ price = -1 }]", "must be a number from 0 up"),
        ("[requests]\ntiers = [{ price = nan }]", "no price table"),
        ("[free]\nhours = 1", "free.hours is none of"),
        ("currency = 5", "three letters"),
        ("requests = ", "no price table"),
    ],
)
def test_a_price_table_that_cannot_be_meant_is_refused(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "prices.toml"
    path.write_text(text)
    with pytest.raises(PricesUnusable, match=said):
        load(path)
