"""`python -m bench.soak [seconds]`: soak a service, tell what is wrong with it, and fail if anything is."""

import argparse
import os
import sys
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic

import uvloop
from rich.console import Console
from rich.table import Table

from bench.program import Unavailable
from bench.service import Service, service_on
from bench.soak.crowd import crowds
from bench.soak.holdings import Holdings, alive, cgroups, processes
from bench.soak.laps import Lap
from bench.soak.ledger import Ledger
from bench.soak.rest import Place
from bench.soak.subjects import deployable
from lamplighter.runtimes import catalogue

LAP = 60.0  # seconds of calls in a lap, at most
LEAST = 2  # laps: the first is what the others are compared with
OVERHEAD = 10.0  # seconds of a lap in which nothing is called: for what was accepted to run, and for rest
# MB that an idle service may have grown from the first lap to the last: a leak grows with the laps, memory that
# is kept to be used again doesn't.
GROWTH = {"service": 12.0, "sandbox server": 4.0, "fork server": 8.0, "carrier": 4.0}
TOLD = 12  # faults that are told in full
OPTIONS = ("--idle-timeout", "5", "--max-environment-age", "60", "--log-level", "warning")


class Soak:
    def __init__(self, console: Console, isolation: str) -> None:
        self._console = console
        self.isolation = isolation
        self.faults: list[str] = []
        self.log: list[str] = []  # what the service has to say
        self.pids: set[int] = set()

    def heard(self, line: str) -> None:
        if "Lamplighter is ready" not in line:
            self.log.append(line)

    def say(self, text: str) -> None:
        self._console.print(text, highlight=False, markup=False)

    async def laps(self, service: Service, place: Place, seconds: float) -> None:
        number = max(LEAST, round(seconds / (LAP + OVERHEAD)))
        calling = max(3.0, seconds / number - OVERHEAD)
        subjects = deployable(catalogue.installed(), self.isolation)
        rested: list[Holdings] = []
        ledgers: list[Ledger] = []
        counts: Counter[str] = Counter()
        for lap in range(number):
            running = Lap(
                lap, service, place, subjects, lambda text, lap=lap: self.say(f"lap {lap + 1}/{number}: {text}")
            )
            ledgers.append(running.ledger)
            self.pids |= {pid for pid, _ in processes(service.pid)}
            rested.append(await running.run(calling, rested[0] if rested else None))
            counts += running.counts
            self.say(
                f"lap {lap + 1}/{number}: " + ", ".join(f"{role} {mb:.0f} MB" for role, mb in rested[-1].memory.items())
            )
            self.faults += running.ledger.faults
            self.faults += [f"lap {lap + 1} left: {what}" for what in rested[-1].leftovers(rested[0])]
            self.pids |= rested[-1].pids
        for role, most in GROWTH.items():
            grown = rested[-1].memory.get(role, 0.0) - rested[0].memory.get(role, 0.0)
            if grown > most:
                self.faults.append(f"the {role} has grown by {grown:.1f} MB in {number - 1} laps")
        self._console.print(_calls(ledgers))
        self._console.print(_control(counts))

    def check_end(self, place: Place) -> None:
        """The service has been stopped."""
        for pid in self.pids:
            if alive(pid):
                self.faults.append(f"process {pid} is left")
        if left := list(cgroups(place.cgroups)):
            self.faults.append(f"{len(left)} cgroups are left, such as {left[0]}")
        if place.run.exists():
            self.faults.append(f"{place.run} is left")

    def verdict(self) -> int:
        for line, count in Counter(self.log).most_common(TOLD):
            self.say(f"the service said{f', {count} times' if count > 1 else ''}: {line[:500]}")
        told = Counter(self.faults)
        for fault, count in told.most_common(TOLD):
            self.say(f"FAULT{f', {count} times' if count > 1 else ''}: {fault[:600]}")
        if len(told) > TOLD:
            self.say(f"… and {len(told) - TOLD} more")
        self.say(f"{sum(told.values())} faults" if told else "no fault found")
        return 1 if told else 0


def _calls(ledgers: list[Ledger]) -> Table:
    shown = Table(title="Calls")
    names = ("right", "refused", "hung up", "wrong", "runs")
    shown.add_column("kind")
    for name in ("calls", *names):
        shown.add_column(name, justify="right")
    total: dict[str, Counter[str]] = {}
    for ledger in ledgers:
        for kind, row in ledger.rows():
            total.setdefault(kind, Counter()).update(row)
    for kind, row in [*total.items(), ("all", sum(total.values(), Counter[str]()))]:
        calls = row.total() - row["runs"]
        shown.add_row(kind, f"{calls:,}", *(f"{row[name]:,}" if row[name] else "" for name in names))
    return shown


def _control(counts: Counter[str]) -> Table:
    shown = Table(title="Changes")
    shown.add_column("what")
    shown.add_column("times", justify="right")
    for what, count in sorted(counts.items()):
        shown.add_row(what, f"{count:,}")
    return shown


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m bench.soak", description="Soak a service; fail if it keeps any of it."
    )
    parser.add_argument("seconds", nargs="?", type=float, default=600.0, help="about how long (default: 600)")
    parser.add_argument("--environments", type=int, metavar="NUMBER", help="only start and end so many, in batches")
    parser.add_argument(
        "--isolation", choices=("full", "user", "none"), default="full" if os.geteuid() == 0 else "user"
    )
    options = parser.parse_args()
    console = Console() if sys.stdout.isatty() else Console(width=120)
    soak = Soak(console, options.isolation)
    begun = monotonic()
    with TemporaryDirectory(prefix="lamplighter-soak-") as data:
        Path(data).chmod(0o755)
        place = Place.of(data, options.isolation)
        try:
            with service_on(data, *OPTIONS, "--isolation", options.isolation, heard=soak.heard) as service:
                if options.environments:
                    soak.faults += uvloop.run(crowds(service, place, options.environments, soak.say)).faults
                else:
                    uvloop.run(soak.laps(service, place, options.seconds))
        except ConnectionError as error:
            soak.faults.append(f"the service is gone: {error}")
        except Unavailable as error:
            soak.say(f"no service to soak: {error}")
            return 2
        soak.check_end(place)
    soak.say(f"{monotonic() - begun:.0f} s, isolation {options.isolation}")
    return soak.verdict()


if __name__ == "__main__":
    sys.exit(main())
