"""Application log levels: what a function in JSON form prints is kept or not, line by line."""

from dataclasses import replace

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lamplighter.worker.application_levels import least_level, passing
from support.environments import version

ORDER = ["TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL"]


def least(level: str | None) -> int | None:
    return least_level(replace(version(), log_format="JSON", application_log_level=level))


@given(st.sampled_from(ORDER), st.lists(st.sampled_from(ORDER)), st.booleans())
def test_a_record_is_kept_if_its_level_is_high_enough(wanted: str, levels: list[str], upper: bool) -> None:
    lines = [orjson.dumps({"level": level if upper else level.lower(), "message": "x"}) + b"\n" for level in levels]
    bound = least(wanted)
    kept = b"".join(lines) if bound is None else passing(b"".join(lines), bound)
    assert kept == b"".join(
        line for line, level in zip(lines, levels, strict=True) if ORDER.index(level) >= ORDER.index(wanted)
    )


@pytest.mark.parametrize("line", [b"plain", b'{"level": 5}', b'{"level": "LOUD"}', b'{"level": ', b"[]", b'{"a":1}'])
def test_what_has_no_valid_level_counts_as_info(line: bytes) -> None:
    info, warn = least("INFO"), least("WARN")
    assert info is not None
    assert warn is not None
    assert passing(line, info) == line
    assert passing(line + b"\n", warn) == b""


def test_text_is_never_filtered() -> None:
    assert least_level(replace(version(), application_log_level="ERROR")) is None
