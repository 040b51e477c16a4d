"""The short form of `make soak`: two laps, the second of which must leave nothing that the first did not."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SECONDS = 34


@pytest.mark.root
def test_after_crashes_floods_changes_and_deletions_nothing_is_left_and_every_call_had_one_answer() -> None:
    command = [sys.executable, "-m", "bench.soak", str(SECONDS), "--isolation", "full"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=170)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    assert "no fault found" in done.stdout
