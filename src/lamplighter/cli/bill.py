"""`lamplighter bill`: a month's bill, made of the usage in a data directory of this machine, so that its service need
not answer, or of what the service of another machine tells."""

import csv
import io
import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import click
from rich.console import Console
from rich.table import Table

from lamplighter.cli.console import for_tables
from lamplighter.cli.options import Misuse, Refusal, settings_of
from lamplighter.cli.owner import Flags, Owner, elsewhere, service_options, without_endpoint
from lamplighter.model.clock import SystemClock
from lamplighter.model.metering import HOUR, Key, Totals, month_of
from lamplighter.store.directory import DataDirectory
from lamplighter.store.looking import CannotLook
from lamplighter.store.used import Used, used
from lamplighter.telemetry.metering.bill import DIGITS, Bill, Row, Usage
from lamplighter.telemetry.metering.bill import bill as make
from lamplighter.telemetry.metering.prices import ITEMS, PricesUnusable, load

PATH: Final = "/_lamplighter/usage"
UNTOLD: Final = "(functions not told apart)"  # counted while the disk was full
UNTAGGED: Final = "(no tag)"
_GB_SECOND: Final = 1_024_000

Tags = Mapping[tuple[str, str, str], Mapping[str, str]]  # by account, region and name of the function


@click.command(short_help="Show what a month's functions would cost on AWS.")
@click.option("--month", metavar="YYYY-MM", help="Which month, in UTC. [default: this one]")
@click.option("--by", type=click.Choice(["function", "tag", "day"]), default="function", help="What rows are of.")
@click.option("--tag", metavar="KEY", help="With --by tag: rows are of this tag's values. [default: of all tags]")
@click.option("--free-tier", is_flag=True, help="Take off what AWS gives each account for nothing.")
@click.option("--prices", metavar="FILE", type=Path, help="A TOML file with other prices than AWS's in us-east-1.")
@click.option("--format", "form", type=click.Choice(["table", "csv", "json"]), default="table", help="How to show it.")
@service_options("data_dir")
def bill(
    month: str | None, by: str, tag: str | None, free_tier: bool, prices: Path | None, form: str, **flags: str | None
) -> None:
    """Show what a month's functions would cost on AWS, by AWS's rules and list prices.

    Counted is what has run here, to the millisecond of the REPORT lines; what ran in the last seconds may be missing.
    Deleted functions stay in the bill, with the tags they had last; others have those of now. A service of this
    machine may run or not; one of another must.

    \b
    Examples:
      lamplighter bill
      lamplighter bill --month 2026-11 --by day --free-tier
      lamplighter bill --by tag --tag team --format csv
      lamplighter bill --format json | jq '.rows[] | select(.requests > 1000)'
      lamplighter bill --endpoint-url https://lambda.example
    """
    if tag is not None and by != "tag":
        raise Misuse("--tag: it goes with --by tag.")
    name = month or datetime.fromtimestamp(SystemClock().now(), UTC).strftime("%Y-%m")
    try:
        found = _used(flags, name, by == "tag")
        made = make(found.usage, load(prices), free_tier, _label(by, tag, found.tags, found.usage))
    except (CannotLook, PricesUnusable) as error:
        raise Refusal(error) from None
    if form == "json":
        click.echo(json.dumps(_as_json(made, name, by, free_tier), indent=2))
    elif form == "csv":
        click.echo(_as_csv(made, by), nl=False)
    else:
        _show(made, name, by, for_tables())


def _used(flags: Flags, month: str, tagged: bool) -> Used:
    """Raises Misuse, Refusal or CannotLook."""
    hours = month_of(month)
    if hours is None:
        raise Misuse(f"--month: {month!r} is not a month, such as 2026-11.")
    there = elsewhere(flags)
    if there is not None:
        return _told(Owner(there).page(f"{PATH}?month={month}"))
    directory = DataDirectory(settings_of(without_endpoint(flags)).data_dir)
    if not directory.path.is_dir():
        raise CannotLook(f"There is no data directory {directory.path}; name it with --data-dir.")
    return used(directory, *hours, tagged)


def _told(answer: Mapping[str, Any]) -> Used:
    if answer["names"] != [*Key._fields, *Totals._fields]:
        raise Refusal("The service is of another release: it counts other things. Use the command of that release.")
    split = len(Key._fields)
    usage = [(Key(*row[:split]), Totals(*row[split:])) for row in answer["rows"]]
    return Used(usage, {tuple(owner): tags for *owner, tags in answer["tags"]})


def _label(by: str, tag: str | None, known: Tags, usage: Usage) -> Callable[[Key], str]:
    several = len({(key.account, key.region) for key, _ in usage}) > 1

    def of_function(key: Key) -> str:
        name = key.function or UNTOLD
        return f"{key.account} {key.region} {name}" if several else name

    def of_day(key: Key) -> str:
        return datetime.fromtimestamp(key.hour * HOUR, UTC).strftime("%Y-%m-%d")

    def of_tags(key: Key) -> str:
        found = known.get((key.account, key.region, key.function), {})
        if tag is not None:
            return found.get(tag, UNTAGGED)
        return ", ".join(f"{name}={value}" for name, value in sorted(found.items())) or UNTAGGED

    return {"function": of_function, "day": of_day, "tag": of_tags}[by]


def _money(millionths: int) -> str:
    return f"{Decimal(millionths).scaleb(-DIGITS):,.{DIGITS}f}"


def _exact(millionths: int) -> str:
    """A text, for programs: a floating-point number would not be exact."""
    return f"{Decimal(millionths).scaleb(-DIGITS):f}"


def _gb_seconds(memory: int) -> str:
    return f"{Decimal(memory) / _GB_SECOND:,.3f}"


def _show(made: Bill, month: str, by: str, console: Console) -> None:
    if not made.rows:
        console.print(f"Nothing ran in {month}.")
        return
    rows = _table(by, "requests", "billed ms", "GB-s", made.currency)
    for row in made.rows:
        label = "".join(letter if letter.isprintable() else "?" for letter in row.label)
        rows.add_row(label, f"{row.requests:,}", f"{row.billed:,}", _gb_seconds(row.memory), _money(row.amount))
    items = _table("for", "quantity", "unit", "of it free", made.currency)
    for line in made.lines:
        unit, size = ITEMS[line.item]
        shown = 0 if size == 1 else 3
        name, _, architecture = line.item.partition(".")
        name = name.replace("_", " ") + (f", {architecture}" if architecture else "")
        items.add_row(name, f"{line.units:,.{shown}f}", unit, f"{line.free:,.{shown}f}", _money(line.amount))
    console.print(f"{month} (UTC)\n")
    console.print(rows)
    console.print()
    console.print(items)
    console.print(f"\nTotal {made.currency} {_money(made.amount)}")


def _table(first: str, *names: str) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0))
    table.add_column(first, overflow="fold")
    for name in names:
        table.add_column(name, justify="left" if name == "unit" else "right", no_wrap=True)
    return table


def _plain(row: Row) -> dict[str, Any]:
    return {
        "requests": row.requests,
        "billed_ms": row.billed,
        "gb_seconds": f"{Decimal(row.memory) / _GB_SECOND:f}",
        "amount": _exact(row.amount),
    }


def _as_json(made: Bill, month: str, by: str, free_tier: bool) -> dict[str, Any]:
    return {
        "month": month,
        "currency": made.currency,
        "free_tier": free_tier,
        "total": _exact(made.amount),
        "by": by,
        "rows": [
            {
                by: row.label,
                **_plain(row),
                "items": {item: _exact(amount) for item, amount in row.amounts.items()},
            }
            for row in made.rows
        ],
        "items": [
            {
                "account": line.account,
                "region": line.region,
                "item": line.item,
                "unit": ITEMS[line.item][0],
                "quantity": f"{line.units:f}",
                "free": f"{line.free:f}",
                "amount": _exact(line.amount),
            }
            for line in made.lines
        ],
    }


def _as_csv(made: Bill, by: str) -> str:
    """One line for each row, and of each item a column."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(
        [by, "requests", "billed_ms", "gb_seconds", "amount", "currency", *(f"amount_{item}" for item in ITEMS)]
    )
    for row in made.rows:
        amounts = [_exact(row.amounts.get(item, 0)) for item in ITEMS]
        writer.writerow([row.label, *_plain(row).values(), made.currency, *amounts])
    return text.getvalue()
