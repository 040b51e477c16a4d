"""`lamplighter top`: what functions do right now, asked of the running service, which may be on another machine."""

import json
import sys
import time
from collections.abc import Iterator, Mapping
from typing import Any, Final, cast

import click
from rich.console import Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from lamplighter.cli.console import for_tables
from lamplighter.cli.owner import Owner, owner_of, service_options
from lamplighter.telemetry.activity import percentile

PATH: Final = "/_lamplighter/state"
FIRST: Final = 1.0  # seconds that --once looks at
RATES: Final = ("invocations", "errors", "throttles", "cold_starts")
STAGES: Final = ("starting", "ready", "busy")
COLUMNS: Final = (*STAGES, "in flight", "/s", "errors", "throttled", "cold", "p50", "p99", "memory", "queued")
SHOWN: Final = 50  # functions in the table
NAME: Final = 12  # columns of names that are left to them on a narrow terminal

State = Mapping[str, Any]


@click.command(short_help="Show what functions do right now.")
@click.option("--once", is_flag=True, help="One look, of a second, instead of going on until Ctrl-C.")
@click.option(
    "--interval",
    metavar="SECONDS",
    type=click.FloatRange(0.2, 3600),
    default=2.0,
    show_default=True,
    help="Between looks.",
)
@click.option(
    "--format",
    "form",
    type=click.Choice(["table", "json"]),
    default="table",
    help="For people, or a JSON object a look.",
)
@service_options("data_dir", "host", "port", "region")
def top(once: bool, interval: float, form: str, **flags: str | None) -> None:
    """Show functions by what they do right now: environments by state, rates, latencies, memory and what waits.

    Rates and latencies are those of the time since the look before. The busiest come first. The service must be
    running, here or elsewhere; only who has its credentials may ask.

    \b
    Examples:
      lamplighter top
      lamplighter top --interval 10
      lamplighter top --endpoint-url https://lambda.example
      lamplighter top --once --format json | jq '.functions[] | select(.errors_per_second > 0) | .name'
    """
    looks = _looks(owner_of(flags), FIRST if once else interval)
    try:
        if form == "json":
            for look in looks:
                click.echo(json.dumps(look))
                if once:
                    return
        console = for_tables()
        if once or not console.is_terminal:
            console.print(shown(next(looks)))
            return
        with Live(Text("…"), console=console, screen=True, auto_refresh=False) as live:
            for look in looks:
                live.update(shown(look), refresh=True)
    except KeyboardInterrupt:
        sys.exit(0)


def _looks(owner: Owner, interval: float) -> Iterator[dict[str, Any]]:
    before = owner.page(PATH)
    while True:
        time.sleep(interval)
        state = owner.page(PATH)
        yield compared(before, state)
        before = state


def compared(before: State, after: State) -> dict[str, Any]:
    """What happened between two looks at one service. What has counted less than before has begun anew since."""
    earlier_functions: list[State] = before["functions"]
    waiting: Mapping[str, int] = after["waiting"]
    seconds = after["at"] - before["at"]
    if seconds <= 0 or after["uptime_seconds"] < seconds:  # another start of the service
        earlier_functions, seconds = [], max(after["uptime_seconds"], 0.001)
    known = {_arn(function): function for function in earlier_functions}
    functions: list[dict[str, Any]] = []
    nothing: State = {**dict.fromkeys(RATES, 0), "durations": {}}
    for function in after["functions"]:
        arn = _arn(function)
        earlier = known.get(arn, nothing)
        if earlier["invocations"] > function["invocations"]:
            earlier = nothing
        counts = cast(dict[str, int], function["durations"])
        new = [(int(step), count - earlier["durations"].get(step, 0)) for step, count in counts.items()]
        functions.append(
            {
                "name": function["name"],
                "arn": arn,
                "running": function["running"],
                "environments": {stage: function["environments"].get(stage, 0) for stage in STAGES},
                **{f"{name}_per_second": round((function[name] - earlier[name]) / seconds, 3) for name in RATES},
                "p50_ms": percentile(new, 0.5),
                "p99_ms": percentile(new, 0.99),
                "memory_peak_bytes": function["memory_peak_bytes"],
                "memory_size_mb": function["memory_size_mb"],
                "queued": waiting.get(arn, 0),
            }
        )
    missing = waiting.keys() - {function["arn"] for function in functions}
    return {
        "uptime_seconds": after["uptime_seconds"],
        "memory_bytes": after["memory_bytes"],
        "concurrency": after["concurrency"],
        "queued": sum(waiting.values()),
        "queued_elsewhere": sum(waiting[arn] for arn in missing),
        "functions": functions,
    }


def _arn(function: Mapping[str, Any]) -> str:
    return f"arn:aws:lambda:{function['region']}:{function['account']}:function:{function['name']}"


def shown(look: Mapping[str, Any]) -> Group:
    """For people."""
    functions = sorted(
        look["functions"],
        key=lambda each: (-each["running"], -each["invocations_per_second"], -each["queued"], each["name"]),
    )
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("function", overflow="ellipsis", no_wrap=True, min_width=NAME)
    for name in (
        "starting",
        "ready",
        "busy",
        "in flight",
        "/s",
        "errors",
        "throttled",
        "cold",
        "p50",
        "p99",
        "memory",
        "queued",
    ):
        table.add_column(name, justify="right", no_wrap=True)
    for each in functions[:SHOWN]:
        table.add_row(
            each["name"],
            *(str(each["environments"][stage] or "") for stage in STAGES),
            str(each["running"] or ""),
            _rate(each["invocations_per_second"]),
            Text(_rate(each["errors_per_second"]), "red"),
            Text(_rate(each["throttles_per_second"]), "yellow"),
            _rate(each["cold_starts_per_second"]),
            _milliseconds(each["p50_ms"]),
            _milliseconds(each["p99_ms"]),
            _memory(each["memory_peak_bytes"], each["memory_size_mb"]),
            str(each["queued"] or ""),
        )
    total = sum(each["invocations_per_second"] for each in functions)
    concurrency = look["concurrency"]
    head = (
        f"up {look['uptime_seconds']:,.0f} s · {total:,.1f} invocations/s · "
        f"{concurrency['running']:,} of {concurrency['limit']:,} running · {look['queued']:,} events wait"
    )
    if look["memory_bytes"] is not None:
        head += f" · the service has {look['memory_bytes'] / 1048576:,.0f} MB"
    left = len(functions) - SHOWN
    return Group(Text(head), Text(""), table, Text(f"and {left:,} more" if left > 0 else ""))


def _rate(value: float) -> str:
    return f"{value:,.1f}" if value else ""


def _milliseconds(value: float | None) -> str:
    return "" if value is None else f"{value:,.1f} ms" if value < 100 else f"{value:,.0f} ms"


def _memory(peak: int | None, size: int | None) -> str:
    if size is None:
        return ""
    return f"{size:,} MB" if peak is None else f"{peak / 1048576:,.0f} of {size:,} MB"
