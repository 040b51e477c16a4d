"""The text that Prometheus reads (exposition format 0.0.4): families of samples, each with its help and its type.

Names are ours, values of labels may be anybody's, so these are escaped. Nothing here knows what is measured.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, Literal, NamedTuple

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
Labels = Mapping[str, str]


class Histogram(NamedTuple):
    """`buckets`: by upper bound, how many there are up to there; without the infinite one, which has `number`."""

    buckets: Sequence[tuple[float, int]]
    total: float
    number: int


class Family(NamedTuple):
    name: str
    kind: Literal["counter", "gauge", "histogram"]
    help: str
    samples: Sequence[tuple[Labels, float | Histogram]]


def exposed(families: Iterable[Family]) -> str:
    """A family without samples is left out."""
    lines: list[str] = []
    for family in families:
        samples = [line for labels, value in family.samples for line in _lines(family.name, labels, value)]
        if samples:
            lines += [f"# HELP {family.name} {_help(family.help)}", f"# TYPE {family.name} {family.kind}", *samples]
    return "\n".join(lines) + "\n"


def _lines(name: str, labels: Labels, value: float | Histogram) -> Sequence[str]:
    inner = ",".join(f'{key}="{_label(text)}"' for key, text in labels.items())
    braced = f"{{{inner}}}" if inner else ""
    if not isinstance(value, Histogram):
        return (f"{name}{braced} {_number(value)}",)
    start = f"{name}_bucket{{{inner}," if inner else f"{name}_bucket{{"
    return (
        *(f'{start}le="{_number(bound)}"}} {count}' for bound, count in value.buckets),
        f'{start}le="+Inf"}} {value.number}',
        f"{name}_sum{braced} {_number(value.total)}",
        f"{name}_count{braced} {value.number}",
    )


def _number(value: float) -> str:
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    return "NaN" if math.isnan(value) else repr(value)


def _label(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _help(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n")
