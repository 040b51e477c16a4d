"""What was measured, for people (a table) and for programs (JSON)."""

import json
import os
import platform
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.table import Table

from bench.figures import Figure, Limit, Samples, Spread, Verdict, verdict

RESULTS = Path(__file__).parent / "results"
COLOURS: dict[Verdict, str] = {"goal": "green", "promise": "green", "missed": "red", "—": "dim"}


@dataclass(frozen=True, slots=True)
class Row:
    figure: Figure
    samples: Samples


def table(rows: list[Row]) -> Table:
    """Medians, and in brackets between what the rounds lie."""
    shown = Table(title="Lamplighter beside the floor")
    shown.add_column("figure")
    for heading in ("ours", "floor or base", "ratio", "promise", "goal"):
        shown.add_column(heading, justify="right")
    shown.add_column("met")
    for row in rows:
        figure, samples = row.figure, row.samples
        if samples.missing:
            shown.add_row(
                figure.name, "[dim]not available[/]", _values(samples.base, figure), "", *_limits(figure), "[dim]—[/]"
            )
        else:
            met = verdict(figure, samples)
            ratio = samples.ratio
            shown.add_row(
                figure.name,
                _values(samples.ours, figure),
                _values(samples.base, figure),
                _spread(ratio) + " x" if ratio else "",
                *_limits(figure),
                f"[{COLOURS[met]}]{met}[/]",
            )
    return shown


def reasons(rows: list[Row]) -> list[str]:
    """Why figures are missing, each reason once."""
    found: dict[str, list[str]] = {}
    for row in rows:
        if row.samples.missing:
            found.setdefault(row.samples.missing, []).append(row.figure.name)
    return [f"{'; '.join(names)}: {reason}" for reason, names in found.items()]


def write(rows: list[Row], quick: bool, directory: Path = RESULTS) -> Path:
    """One file per run, named by when it ended."""
    now = datetime.now(UTC)
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / f"{now:%Y%m%dT%H%M%SZ}.json"
    machine = {
        "cpus": os.cpu_count(),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "load": os.getloadavg(),
        "memory_mb": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") >> 20,
    }
    document = {"ended": now.isoformat(), "quick": quick, "machine": machine, "figures": [_plain(row) for row in rows]}
    path.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n")
    return path


def _plain(row: Row) -> dict[str, Any]:
    figure, samples = row.figure, row.samples
    return {
        "figure": figure.name,
        "unit": figure.unit,
        "ours": _plain_values(samples.ours),
        "base": _plain_values(samples.base),
        "ratio": asdict(samples.ratio) if samples.ratio else None,
        "promise": asdict(figure.promise) if figure.promise else None,
        "goal": asdict(figure.goal) if figure.goal else None,
        "met": verdict(figure, samples),
        "missing": samples.missing or None,
    }


def _plain_values(values: tuple[float, ...]) -> dict[str, Any] | None:
    return {**asdict(Spread.of(values)), "rounds": values} if values else None


def _values(values: tuple[float, ...], figure: Figure) -> str:
    return f"{_spread(Spread.of(values))} {figure.unit}" if values else ""


def _spread(spread: Spread) -> str:
    if spread.low == spread.high:
        return _number(spread.median)
    return f"{_number(spread.median)} ({_number(spread.low)}…{_number(spread.high)})"


def _number(value: float) -> str:
    """Three digits that mean something."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _limits(figure: Figure) -> tuple[str, str]:
    return _limit(figure.promise, figure), _limit(figure.goal, figure)


def _limit(limit: Limit | None, figure: Figure) -> str:
    if limit is None:
        return ""
    return f"{limit.sense} {limit.number:g} {figure.unit if limit.of == 'value' else 'x'}"
