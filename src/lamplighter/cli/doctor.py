"""`lamplighter doctor`: what this host can do, tried out rather than guessed, and what would give it the rest."""

import re
import sys
from collections.abc import Iterable, Iterator
from itertools import chain

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from lamplighter.cli.host import findings, ptrace_scope, snapshots
from lamplighter.cli.options import settings_of, settings_options
from lamplighter.model.clock import SystemClock
from lamplighter.runtimes import catalogue
from lamplighter.runtimes.interpreters import InstalledRuntime, installed
from lamplighter.sandbox.cgroup import WANTED
from lamplighter.sandbox.contract import Isolation
from lamplighter.sandbox.probe import Finding, Host, disk_for_tmp, probe
from lamplighter.settings.choices import IsolationChoice

NAMES = {  # what controllers are good for
    "memory": "limits for memory",
    "cpu": "limits for CPU",
    "pids": "limits for processes",
    "freezer": "freezing between invocations",
}
_CGROUP_REMEDY = (
    "Start as root, or have systemd delegate a control group: Delegate=yes in the unit, or "
    "`systemd-run --user --scope -p Delegate=yes lamplighter serve`."
)


@click.command(short_help="Show what this host can do, and how to get what is missing.")
@settings_options("isolation", "data_dir", "tmp")
def doctor(**flags: str | None) -> None:
    """Show what this host can do, how to get what is missing, and which isolation `--isolation auto` chooses.

    Each line is tried out, with the rights of whoever runs this: ask as the user who is to run the service. The exit
    code is 0 if the service can run here with the isolation it is set to.

    \b
    Examples:
      lamplighter doctor
      sudo lamplighter doctor                       what it could do as root
      lamplighter doctor --isolation full && lamplighter serve --isolation full
    """
    settings = settings_of(flags)
    wanted = settings.isolation
    host = probe()  # first of all, while this process has one thread
    runtimes = installed()
    console = Console(highlight=False)
    user = "root" if host.root else "a user other than root"
    console.print(f"Linux {host.kernel} on {host.machine}, as {user}\n")
    more = findings(settings.data_dir, host.root, SystemClock().now())
    reasons = list(_obstacles(host, wanted, runtimes))
    isolation = host.best if wanted == "auto" or reasons else wanted
    no_disk = disk_for_tmp(settings.data_dir, isolation)
    if settings.tmp == "disk" and no_disk:
        reasons.append(f"/tmp of functions can't be on the disk: {no_disk}; or choose --tmp auto.")
    if settings.tmp == "memory" and not no_disk:
        no_disk = "it could be, with --tmp auto"
    copies = snapshots(host.machine, isolation, _pythons(runtimes), ptrace_scope())
    console.print(_table(host, runtimes, chain(more, [_tmp(isolation, no_disk), copies])))
    console.print(f"\n--isolation auto chooses [bold]{host.best}[/] here.")
    unheld = host.unheld(isolation)
    if unheld:
        console.print(f"With isolation {isolation}, these promises don't hold here:")
    for sentence in unheld:
        console.print(f"  [yellow]•[/] {sentence}")
    for reason in reasons:
        console.print(f"[red]{reason}[/]")
    if not reasons:
        console.print(f"[green]The service can run here, with isolation {isolation}.[/]")
    sys.exit(1 if reasons else 0)


def _table(host: Host, runtimes: dict[str, InstalledRuntime], more: Iterable[Finding]) -> Table:
    table = Table(box=None, pad_edge=False, show_header=False, padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column()
    table.add_column(overflow="fold")
    for finding in (*host.findings, host.way_out):
        _row(table, finding.name, finding.works, finding.remedy)
    _row(table, f"cgroups: {host.cgroups}", bool(host.controllers), _CGROUP_REMEDY)
    for name in WANTED:
        remedy = _CGROUP_REMEDY if host.controllers else "as for cgroups"
        _row(table, NAMES[name], name in host.controllers, remedy)
    for finding in more:
        _row(table, finding.name, finding.works, finding.remedy)
    for name, runtime in runtimes.items():
        _row(table, f"{name} ({runtime.version})", True, "")
    if not runtimes:
        _row(table, "Python runtimes", False, catalogue.remedy("python3.13"))
    return table


def _tmp(isolation: Isolation, no_disk: str) -> Finding:
    where = "a directory of the host's, of no size" if isolation == "none" else "in memory, and counts as theirs"
    return Finding("/tmp of functions on the disk", not no_disk, no_disk and f"it is {where}: {no_disk}")


def _pythons(runtimes: Iterable[str]) -> list[tuple[int, int]]:
    """Of those that are Python's, the versions."""
    found = (re.fullmatch(r"python(\d+)\.(\d+)", name) for name in runtimes)
    return [(int(match[1]), int(match[2])) for match in found if match]


def _row(table: Table, what: str, works: bool, remedy: str) -> None:
    mark = Text("yes", "green") if works else Text("no", "bold red")
    table.add_row(mark, Text(what), Text("" if works else _sentence(remedy)))


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:].rstrip(".") + "."


def _obstacles(host: Host, wanted: IsolationChoice, runtimes: dict[str, InstalledRuntime]) -> Iterator[str]:
    """Why the service could not do its work with the isolation it is set to."""
    strength: dict[Isolation, int] = {"none": 0, "user": 1, "full": 2}
    if wanted != "auto" and strength[wanted] > strength[host.best]:
        yield f"Isolation {wanted} is not possible here{'' if host.root else ' without root'}: see the lines with no."
    if not runtimes:
        yield "There is no interpreter that functions could run on."
