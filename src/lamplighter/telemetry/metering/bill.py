"""The bill of a month: prices for what an account used of each item, and each row's share of that.

Tiers and the free tier are for the month of an account in a region, so each item is priced once, on its total; rows (of
functions, tags, days) get shares of that amount by what they used. Amounts are whole millionths, shared out by largest
remainder: rows add up to the total, however they are cut.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import ROUND_HALF_UP, Context, Decimal, localcontext
from typing import Final

from lamplighter.model.metering import Key, Totals
from lamplighter.telemetry.metering.prices import ITEMS, Prices, counted

DIGITS: Final = 6  # of amounts after the point
_MILLIONTH: Final = Decimal(10) ** DIGITS
_EXACT: Final = Context(prec=60)

Usage = Sequence[tuple[Key, Totals]]
Place = tuple[str, str]  # account and region


@dataclass(frozen=True, slots=True)
class Line:
    """One item of one account and region. `units`: in the item's unit; `amount`: millionths."""

    account: str
    region: str
    item: str
    units: Decimal
    free: Decimal  # of the units
    amount: int


@dataclass(slots=True)
class Row:
    """`amounts`: millionths, by item."""

    label: str
    requests: int = 0
    billed: int = 0  # milliseconds
    memory: int = 0  # MB times milliseconds
    amounts: dict[str, int] = field(default_factory=dict[str, int])

    @property
    def amount(self) -> int:
        return sum(self.amounts.values())


@dataclass(frozen=True, slots=True)
class Bill:
    currency: str
    lines: Sequence[Line]
    rows: Sequence[Row]  # by label

    @property
    def amount(self) -> int:
        """Millionths."""
        return sum(line.amount for line in self.lines)


def bill(usage: Usage, prices: Prices, free_tier: bool, label: Callable[[Key], str]) -> Bill:
    """`label`: which row something belongs to."""
    rows: dict[str, Row] = {}
    used: dict[tuple[Place, str], dict[str, int]] = {}  # by item: what each row has of it
    paid: dict[Place, int] = {}  # requests that are never free
    for key, totals in usage:
        name, place = label(key), (key.account, key.region)
        row = rows.setdefault(name, Row(name))
        row.requests += totals.requests
        row.billed += totals.billed + totals.unnamed
        row.memory += totals.memory
        if key.kind == "provisioned":
            paid[place] = paid.get(place, 0) + totals.requests
        for item, count in counted(key, totals).items():
            if count:
                shares = used.setdefault((place, item), {})
                shares[name] = shares.get(name, 0) + count
    lines: list[Line] = []
    with localcontext(_EXACT):
        for place in sorted({place for place, _ in used}):
            units = {item: Decimal(sum(used[place, item].values())) / ITEMS[item][1] for item in _of(place, used)}
            free = _free(units, prices, paid.get(place, 0)) if free_tier else {}
            for item, count in units.items():
                spared = free.get(item, Decimal(0))
                amount = int((prices.amount(item, count - spared) * _MILLIONTH).to_integral_value(ROUND_HALF_UP))
                lines.append(Line(*place, item, count, spared, amount))
                for name, share in shared(amount, used[place, item]).items():
                    row = rows[name]
                    row.amounts[item] = row.amounts.get(item, 0) + share
    return Bill(prices.currency, lines, [rows[name] for name in sorted(rows)])


def _of(place: Place, used: Iterable[tuple[Place, str]]) -> list[str]:
    """The items that were used there, in the order of the table."""
    there = {item for each, item in used if each == place}
    return [item for item in ITEMS if item in there]


def _free(units: Mapping[str, Decimal], prices: Prices, paid: int) -> dict[str, Decimal]:
    """What the free tier takes of each item. Duration is one pool, of which the dearer architecture is taken first."""
    given, none = prices.free, Decimal(0)
    free = {
        "requests": min(given.get("requests", none), units.get("requests", none) - paid),
        "streamed": min(given.get("streamed_gb", none), units.get("streamed", none)),
    }
    left = given.get("gb_seconds", none)
    durations = [item for item in units if item.startswith("duration.")]
    for item in sorted(durations, key=lambda item: prices.tiers[item][0].price, reverse=True):
        free[item] = min(left, units[item])
        left -= free[item]
    return free


def shared(amount: int, parts: Mapping[str, int]) -> dict[str, int]:
    """`amount` in shares proportional to `parts`, which are not all 0; they add up to it. Largest remainder; of equal
    ones the first name's."""
    whole = sum(parts.values())
    shares = {name: amount * part // whole for name, part in parts.items()}
    missing = amount - sum(shares.values())
    for name in sorted(parts, key=lambda name: (-(amount * parts[name] % whole), name))[:missing]:
        shares[name] += 1
    return shares
