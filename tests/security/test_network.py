"""What functions reach of the network, attacked from a function, with an internet made for the test."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from lamplighter.sandbox.probe import way_out_works
from support.service import clean_environment

OUTSIDE = Path(__file__).parents[1] / "support" / "outside.py"
FOUND = {"8.8.8.8": "8.8.8.8" * 1000, "10.9.9.9": "10.9.9.9" * 1000, "a.name.example": "8.8.8.8" * 1000}

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="making an internet takes root"),
    pytest.mark.skipif(shutil.which("ip") is None, reason="making an internet takes iproute2"),
]


def reached(network: str, isolation: str) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, str(OUTSIDE), network, isolation],
        env=clean_environment(PYTHONPATH=str(OUTSIDE.parents[1])),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    return {host: text for host, text in found.items() if text != "refused"}


@pytest.mark.skipif(not way_out_works(), reason="this kernel has no nf_tables with tproxy")
@pytest.mark.parametrize("isolation", ["full", "user"])
def test_a_function_reaches_the_internet_and_what_is_allowed_and_nothing_else(isolation: str) -> None:
    """Neither private networks, nor metadata, nor the host by its public address or its loopback, nor UDP."""
    assert reached("internet", isolation) == FOUND


def test_without_a_network_a_function_reaches_nothing() -> None:
    assert reached("none", "full") == {}
