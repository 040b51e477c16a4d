"""`lamplighter queue`: what waits, is retried or died, read from a data directory of this machine, so that its service
need not answer, or told by the service of another machine."""

import json
from collections.abc import Mapping
from typing import Any, Final

import click
from rich.table import Table

from lamplighter.cli.console import for_tables
from lamplighter.cli.options import Refusal, settings_of
from lamplighter.cli.owner import Flags, Owner, elsewhere, service_options, without_endpoint
from lamplighter.model.clock import SystemClock
from lamplighter.store.contract import QueueCounts
from lamplighter.store.directory import DataDirectory
from lamplighter.store.looking import CannotLook, Queues, queues

PATH: Final = "/_lamplighter/queues"
KINDS: Final = {"invoke": "function", "deliver": "target"}


@click.command(short_help="Show the events that wait, are retried or died.")
@click.option("--json", "as_json", is_flag=True, help="For programs: one JSON array, ages in seconds.")
@service_options("data_dir")
def queue(as_json: bool, **flags: str | None) -> None:
    """Show the asynchronous events that the service keeps: for each function those that wait for a first attempt and
    for another one, and for each destination and dead-letter queue those that are still to be brought there.

    Died are events that ended without success since the data directory was made, by reason. The age is that of the
    oldest event. A service of this machine may run or not; one of another must.

    \b
    Examples:
      lamplighter queue
      watch lamplighter queue --data-dir /srv/lamplighter
      lamplighter queue --json | jq '.[] | select(.oldest_seconds > 3600)'
      lamplighter queue --endpoint-url https://lambda.example
    """
    found, now = _look(flags)
    if as_json:
        click.echo(json.dumps([_as_json(counts, found, now) for counts in found.counts], indent=2))
        return
    console = for_tables()
    if not found.counts:
        console.print("No event waits, and none has died.")
        return
    console.print(_table(found, now))


def _look(flags: Flags) -> tuple[Queues, float]:
    """What there is, and the time then by the clock that its times are by. Raises Misuse or Refusal."""
    there = elsewhere(flags)
    if there is not None:
        return _told(Owner(there).page(PATH))
    try:
        found = queues(DataDirectory(settings_of(without_endpoint(flags)).data_dir).events)
    except CannotLook as error:
        raise Refusal(error) from None
    return found, SystemClock().now()


def _told(answer: Mapping[str, Any]) -> tuple[Queues, float]:
    if answer["names"] != list(QueueCounts._fields):
        raise Refusal("The service is of another release: it counts other things. Use the command of that release.")
    return Queues([QueueCounts(*row) for row in answer["rows"]], answer["due"]), answer["at"]


def _table(found: Queues, now: float) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0))
    table.add_column("for", overflow="fold")
    for name in ("waiting", "retrying", "size", "oldest", "next"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("died", overflow="fold")
    for counts in found.counts:
        due = found.due.get(counts.queue)
        table.add_row(
            _title(counts.queue),
            f"{counts.waiting:,}",
            f"{counts.retrying:,}",
            _bytes(counts.size),
            "" if counts.oldest is None else _duration(now - counts.oldest),
            "" if due is None else "now" if due <= now else f"in {_duration(due - now)}",
            ", ".join(f"{count:,} {reason}" for reason, count in counts.died.items()),
        )
    return table


def _as_json(counts: QueueCounts, found: Queues, now: float) -> dict[str, Any]:
    kind, arn = _parts(counts.queue)
    due = found.due.get(counts.queue)
    return {
        "kind": kind,
        "arn": arn,
        "waiting": counts.waiting,
        "retrying": counts.retrying,
        "bytes": counts.size,
        "oldest_seconds": None if counts.oldest is None else round(now - counts.oldest, 3),
        "next_seconds": None if due is None else round(max(0.0, due - now), 3),
        "died": dict(counts.died),
    }


def _parts(name: str) -> tuple[str, str]:
    """What a queue is for, and the ARN of that."""
    prefix, _, arn = name.partition(":")
    return KINDS.get(prefix, prefix), arn


def _title(name: str) -> str:
    """For people: `function hello`, `sqs my-queue`."""
    kind, arn = _parts(name)
    parts = arn.split(":", 5)
    if len(parts) < 6:
        return name
    service, rest = parts[2], parts[5]
    return f"function {rest.removeprefix('function:')}" if kind == "function" else f"{service} {rest}"


def _duration(seconds: float) -> str:
    """Two units at most: 0 s, 59 s, 2 min 5 s, 5 h 59 min, 3 d 4 h."""
    whole = max(0, round(seconds))
    for (name, size), (smaller, part) in (
        (("d", 86_400), ("h", 3600)),
        (("h", 3600), ("min", 60)),
        (("min", 60), ("s", 1)),
    ):
        if whole >= size:
            rest = whole % size // part
            return f"{whole // size} {name}" + (f" {rest} {smaller}" if rest else "")
    return f"{whole} s"


def _bytes(size: int) -> str:
    for name, unit in (("GB", 1 << 30), ("MB", 1 << 20), ("KB", 1 << 10)):
        if size >= unit:
            return f"{size / unit:.1f} {name}"
    return f"{size} B"
