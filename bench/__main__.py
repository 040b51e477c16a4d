"""`python -m bench [--quick] [--floor-only] [names…]`: measure, print the table, write the JSON."""

import argparse
import os
import sys

from rich.console import Console

from bench.figures import Samples
from bench.load import LoadError
from bench.measurements import MEASUREMENTS, Measurement
from bench.program import Unavailable
from bench.report import Row, reasons, table, write
from bench.stage import Stage


def measure(stage: Stage, measurement: Measurement) -> list[Row]:
    """A row for each figure, whatever happens: a missing feature is a reason, not a crash."""
    try:
        samples = measurement.measure(stage)
    except (Unavailable, LoadError) as error:
        samples = (Samples(missing=str(error)),) * len(measurement.figures)
    return [Row(figure, sample) for figure, sample in zip(measurement.figures, samples, strict=True)]


def main() -> None:
    known = {measurement.name: measurement for measurement in MEASUREMENTS}
    parser = argparse.ArgumentParser(prog="python -m bench", description="Measure Lamplighter beside the floor.")
    parser.add_argument("names", nargs="*", metavar="name", help=f"all, or some of: {', '.join(known)}")
    parser.add_argument("--quick", action="store_true", help="few and short rounds: see that it works, in a minute")
    parser.add_argument("--floor-only", action="store_true", help="don't start the service")
    options = parser.parse_args()
    names: list[str] = options.names or list(known)
    if unknown := set(names) - known.keys():
        parser.error(f"no such measurement: {', '.join(sorted(unknown))}; there are {', '.join(known)}")
    console = Console() if sys.stdout.isatty() else Console(width=160)  # a log has no width of its own
    load = os.getloadavg()[0]
    if load > (os.cpu_count() or 1) / 2:
        console.print(f"This machine is busy already (load {load:.1f}): trust ratios, not numbers.", highlight=False)
    rows: list[Row] = []
    with Stage(options.quick, options.floor_only) as stage:
        try:
            for name in names:
                console.print(f"[dim]{name} …[/]", highlight=False)
                rows += measure(stage, known[name])
        except KeyboardInterrupt:
            console.print("interrupted; so far:")
    console.print(table(rows))
    for reason in reasons(rows):
        console.print(f"not available: {reason}", markup=False, highlight=False)
    console.print(f"written to {write(rows, options.quick)}", highlight=False)


if __name__ == "__main__":
    main()
