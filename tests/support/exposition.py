"""Reads what Prometheus would read, and is stricter: what the format forbids or leaves open is an AssertionError."""

import math
import re
from typing import NamedTuple

SAMPLE = re.compile(r"([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? (\S+)")
LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\["\\n])*)"(?:,|$)')
SUFFIXES = {"counter": ("",), "gauge": ("",), "histogram": ("_bucket", "_sum", "_count")}

Labels = tuple[tuple[str, str], ...]  # sorted


class Family(NamedTuple):
    kind: str
    samples: dict[tuple[str, Labels], float]  # by the suffix of the name, and the labels


def read(text: str) -> dict[str, Family]:
    assert text.endswith("\n")
    found: dict[str, Family] = {}
    name, helped = "", ""
    for line in text.splitlines():
        if line.startswith("# HELP "):
            helped = line.split(" ", 3)[2]
            assert helped not in found
        elif line.startswith("# TYPE "):
            _, _, name, kind = line.split(" ")
            assert name == helped
            assert (kind == "counter") == name.endswith("_total")
            found[name] = Family(kind, {})
        else:
            _sample(line, name, found[name])
    for family in found.values():
        assert family.samples
        if family.kind == "histogram":
            _check_histogram(family.samples)
    return found


def _sample(line: str, name: str, family: Family) -> None:
    match = SAMPLE.fullmatch(line)
    assert match, line
    suffix = match[1].removeprefix(name)
    assert match[1].startswith(name) and suffix in SUFFIXES[family.kind], line
    labels = _labels(match[2] or "")
    assert (suffix, labels) not in family.samples, line
    family.samples[suffix, labels] = float(match[3].replace("Inf", "inf"))


def _labels(text: str) -> Labels:
    found: dict[str, str] = {}
    at = 0
    while at < len(text):
        match = LABEL.match(text, at)
        assert match and match[1] not in found, text
        found[match[1]] = re.sub(r"\\(.)", lambda escape: {"n": "\n"}.get(escape[1], escape[1]), match[2])
        at = match.end()
    return tuple(sorted(found.items()))


def _check_histogram(samples: dict[tuple[str, Labels], float]) -> None:
    series: dict[Labels, list[tuple[float, float]]] = {}
    for (suffix, labels), value in samples.items():
        if suffix == "_bucket":
            bound = float(dict(labels)["le"].replace("Inf", "inf"))
            series.setdefault(tuple(each for each in labels if each[0] != "le"), []).append((bound, value))
    assert series
    for labels, buckets in series.items():
        assert buckets == sorted(buckets) and len({bound for bound, _ in buckets}) == len(buckets)
        assert [count for _, count in buckets] == sorted(count for _, count in buckets)
        assert buckets[-1] == (math.inf, samples["_count", labels])
        assert ("_sum", labels) in samples
