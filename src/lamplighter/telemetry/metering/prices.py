"""The price table: what is sold, by which unit, and for how much. A file, since prices change and differ by place."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from importlib import resources
from pathlib import Path
from typing import Any, Final, NamedTuple, cast

from lamplighter.model.metering import Key, Totals

_GB_SECOND: Final = 1024 * 1000  # MB times milliseconds
_ARCHITECTURES: Final = ("x86_64", "arm64")
_BY_ARCHITECTURE: Final = ("duration", "provisioned_duration", "provisioned_concurrency")

# Name of what is sold -> the unit that its price is for, and how many of what is counted make one.
ITEMS: Final[Mapping[str, tuple[str, int]]] = {
    "requests": ("requests", 1),
    **{f"{name}.{architecture}": ("GB-s", _GB_SECOND) for name in _BY_ARCHITECTURE for architecture in _ARCHITECTURES},
    "ephemeral_storage": ("GB-s", _GB_SECOND),
    "streamed": ("GB", 1 << 30),
    "snap_start_cache": ("GB-s", _GB_SECOND),
    "snap_start_restore": ("GB", 1024),
}
_FREE: Final = ("requests", "gb_seconds", "streamed_gb")


class PricesUnusable(Exception):
    """The text is one sentence for the operator."""


class Tier(NamedTuple):
    """`up_to`: units from the beginning of the month; None: no end."""

    up_to: Decimal | None
    price: Decimal  # of one unit


@dataclass(frozen=True, slots=True)
class Prices:
    """`tiers` by item, `free` by the names of the table's [free]."""

    currency: str
    tiers: Mapping[str, tuple[Tier, ...]]
    free: Mapping[str, Decimal]

    def amount(self, item: str, units: Decimal) -> Decimal:
        """What so many units of a whole account's month cost, exactly."""
        amount, below = Decimal(0), Decimal(0)
        for tier in self.tiers[item]:
            end = units if tier.up_to is None else min(units, tier.up_to)
            if end > below:
                amount += (end - below) * tier.price
                below = end
        return amount


def counted(key: Key, totals: Totals) -> Mapping[str, int]:
    """What there is of each item, in the units in which it is counted."""
    architecture = key.architecture if key.architecture in _ARCHITECTURES else _ARCHITECTURES[0]
    ran = "provisioned_duration" if key.kind == "provisioned" else "duration"
    return {
        "requests": totals.requests,
        f"{ran}.{architecture}": totals.memory,
        f"provisioned_concurrency.{architecture}": totals.provisioned_memory,
        "ephemeral_storage": totals.storage,
        "streamed": totals.streamed,
        "snap_start_cache": totals.cached_memory,
        "snap_start_restore": totals.restored_memory,
    }


def load(path: Path | None = None) -> Prices:
    """The shipped prices, with what `path` has instead. Raises PricesUnusable."""
    shipped = resources.files("lamplighter.telemetry.metering").joinpath("prices.toml").read_text("utf-8")
    prices = _read(tomllib.loads(shipped, parse_float=Decimal), Prices("", {}, {}))
    if path is None:
        return prices
    try:
        return _read(tomllib.loads(path.read_text("utf-8"), parse_float=Decimal), prices)
    except OSError as error:
        raise PricesUnusable(f"The prices in {path} cannot be read: {error.strerror} (errno {error.errno}).") from None
    except (ValueError, ArithmeticError) as error:
        raise PricesUnusable(f"{path} is no price table: {error}.") from None


def _read(document: Mapping[str, Any], base: Prices) -> Prices:
    """Raises ValueError with what is wrong."""
    tiers, found = dict(base.tiers), replace(base)
    for name, value in document.items():
        if name == "currency":
            if not isinstance(value, str) or not value.isalpha() or len(value) != 3:
                raise ValueError(f"currency must be three letters, not {value!r}")
            found = replace(found, currency=value)
        elif name == "free":
            given = {unit: _number(amount, f"free.{unit}") for unit, amount in _table(value, name).items()}
            if unknown := given.keys() - set(_FREE):
                raise ValueError(f"free.{min(unknown)} is none of {', '.join(_FREE)}")
            found = replace(found, free={**base.free, **given})
        elif name in _BY_ARCHITECTURE:
            for architecture, each in _table(value, name).items():
                tiers[_item(f"{name}.{architecture}")] = _tiers(each, f"{name}.{architecture}")
        else:
            tiers[_item(name)] = _tiers(value, name)
    return replace(found, tiers=tiers)


def _item(name: str) -> str:
    if name not in ITEMS:
        raise ValueError(f"{name} is none of {', '.join(ITEMS)}")
    return name


def _tiers(value: object, name: str) -> tuple[Tier, ...]:
    rows = _table(value, name).get("tiers")
    if not isinstance(rows, list) or not rows:
        raise ValueError(f"{name} needs a list of tiers")
    tiers: list[Tier] = []
    for row in cast(list[object], rows):
        members = _table(row, f"{name}.tiers")
        end = members.get("up_to")
        tiers.append(
            Tier(
                None if end is None else _number(end, f"{name}: up_to"), _number(members.get("price"), f"{name}: price")
            )
        )
    ends = [tier.up_to for tier in tiers[:-1]]
    known = [end for end in ends if end is not None]
    if tiers[-1].up_to is not None or len(known) < len(ends) or known != sorted(set(known)):
        raise ValueError(f"the tiers of {name} must have rising up_to, and the last one none")
    return tuple(tiers)


def _table(value: object, name: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"{name} must be a table")
    return cast(dict[str, Any], value)


def _number(value: object, name: str) -> Decimal:
    if isinstance(value, bool) or not isinstance(value, int | Decimal) or not 0 <= (number := Decimal(value)) < 10**18:
        raise ValueError(f"{name} must be a number from 0 up, not {value!r}")
    return number
