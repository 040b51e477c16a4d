"""What functions reach of the network, attacked from a function, with an internet made for the test."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from lamplighter.sandbox.privileges import SERVICE_UID
from lamplighter.sandbox.probe import way_out
from support.outside import ALLOWED, DEAD, HOST, LOCAL_SIX, METADATA, OWN, OWN_SIX, PRIVATE, PUBLIC, REFUSED, SIX, WIRE
from support.service import clean_environment

OUTSIDE = Path(__file__).parents[1] / "support" / "outside.py"
NETWORK = ("--reachable-networks", "10.9.0.0/16", "--unreachable-networks", "9.9.9.0/24")
AT_ONCE, RESET, NOBODY, OWN_LOOPBACK = "EHOSTUNREACH", "ECONNRESET", "ECONNREFUSED", "ECONNREFUSED"
NEVER = (
    PRIVATE, METADATA, WIRE, REFUSED, LOCAL_SIX, f"::ffff:{PRIVATE}", f"::ffff:{METADATA}", "169.254.170.2",
    "fd00:ec2::254", "64:ff9b::a9fe:a9fe", "172.16.0.1", "192.168.1.1", "100.64.0.1", "198.18.0.1", "240.0.0.1",
)  # fmt: skip
PLACES: dict[tuple[str, str, int], object] = {
    ("tcp", PUBLIC, 80): PUBLIC,
    ("tcp", ALLOWED, 80): ALLOWED,
    ("tcp", SIX, 80): SIX,
    ("tcp", f"::ffff:{PUBLIC}", 80): PUBLIC,
    ("bulk", PUBLIC, 80): 9_000_000,
    ("bulk", SIX, 80): 9_000_000,
    ("udp", PUBLIC, 123): PUBLIC,
    ("udp", PUBLIC, 4433): PUBLIC,
    ("udp", ALLOWED, 123): ALLOWED,
    ("udp", SIX, 4433): SIX,
    # Nobody listens there.
    ("tcp", PUBLIC, 81): NOBODY,
    ("tcp", SIX, 81): NOBODY,
    ("wait", DEAD, 80): "timed out",
    # Private networks, metadata, what the operator refuses, and what is no place.
    **{("tcp", host, 80): AT_ONCE for host in NEVER},
    ("tcp", "255.255.255.255", 80): AT_ONCE,
    ("tcp", "224.0.0.1", 80): AT_ONCE,
    ("udp", PRIVATE, 123): AT_ONCE,
    ("udp", METADATA, 123): AT_ONCE,
    ("udp", "255.255.255.255", 123): AT_ONCE,
    ("udp", "224.0.0.251", 5353): AT_ONCE,
    # The host, by its public addresses; and what a function has on its own loopback instead of the host's.
    ("tcp", OWN, 80): AT_ONCE,
    ("tcp", OWN_SIX, 80): AT_ONCE,
    ("tcp", "0.0.0.0", 80): OWN_LOOPBACK,
    ("tcp", "::ffff:127.0.0.1", 80): OWN_LOOPBACK,
    ("tcp", "127.0.0.1", 9040): RESET,
    # Names, whatever they lead to.
    ("name", "public.example", 80): PUBLIC,
    ("tcp", "public.example", 80): PUBLIC,
    ("tcp", "six.example", 80): SIX,
    ("tcp", "private.example", 80): AT_ONCE,
    ("tcp", "own.example", 80): AT_ONCE,
    **{("tcp", f"{name}.example", 80): AT_ONCE for name in ("metadata", "mapped", "metadata-six")},
    ("tcp", "several.example", 80): PUBLIC,  # its first address is the host's
    ("name", "rebound.example", 80): PUBLIC,
    ("tcp", "rebound.example", 80): AT_ONCE,  # metadata, when it is asked for again
    ("tcp", "loop.example", 80): OWN_LOOPBACK,
    ("tcp", "zero.example", 80): OWN_LOOPBACK,
}

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="making an internet takes root"),
    pytest.mark.skipif(shutil.which("ip") is None, reason="making an internet takes iproute2"),
    pytest.mark.skipif(not way_out().works, reason=way_out().remedy),
]


@dataclass(frozen=True)
class Tried:
    """What came of it, and the service's log."""

    result: dict[str, Any]
    log: str


def outside(*options: str, places: list[tuple[str, str, int]], flood: int | None = None) -> Tried:
    done = subprocess.run(
        [sys.executable, str(OUTSIDE), *options],
        env=clean_environment(PYTHONPATH=str(OUTSIDE.parents[1])),
        input=json.dumps([places, flood]),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return Tried(json.loads(done.stdout), done.stderr)


@pytest.fixture(scope="module", params=["full", "user"])
def tried(request: pytest.FixtureRequest) -> Tried:
    """Everything in one world, as making one takes seconds."""
    options = (*NETWORK, "--isolation", request.param)
    return outside(*options, places=list(PLACES), flood=3 if request.param == "full" else 0)


def test_a_function_reaches_the_internet_and_what_is_allowed_and_nothing_else(tried: Tried) -> None:
    """By TCP and UDP, IPv4 and IPv6: neither private networks, nor metadata, nor the host by any address or name, nor
    the service's port."""
    assert tried.result["found"] == {f"{kind} {host} {port}": result for (kind, host, port), result in PLACES.items()}
    own = {f"tcp {host} ": OWN_LOOPBACK if host not in (OWN, OWN_SIX, f"::ffff:{OWN}") else AT_ONCE for host in HOST}
    assert {place.rpartition(" ")[0] + " ": result for place, result in tried.result["service"].items()} == own


def test_the_relay_has_no_right_but_to_connect(tried: Tried) -> None:
    """Started by root, whatever the isolation: no root, no capability, guests' system calls."""
    rights = tried.result["rights"]
    assert rights["Uid"].split() == [str(SERVICE_UID)] * 4
    assert rights["Groups"].strip() == ""
    assert {rights[name] for name in ("CapInh", "CapPrm", "CapEff", "CapAmb")} == {"0" * 16}
    assert (rights["NoNewPrivs"], rights["Seccomp"]) == ("1", "2")


def test_another_relay_takes_over_when_one_is_killed(tried: Tried) -> None:
    """For environments that were there before, too; and the log says what was lost."""
    assert tried.result["after"] == {f"tcp {PUBLIC} 80": PUBLIC}
    assert tried.result["another"]
    assert "the relay died (signal 9)" in tried.log


def test_a_flood_of_connections_leaves_room_for_others(tried: Tried) -> None:
    """The flooding function takes all it can; another's call gets through, each time."""
    for answer in tried.result.get("others", []):
        assert answer == {f"tcp {PUBLIC} 80": PUBLIC, f"udp {PUBLIC} 123": PUBLIC}
    assert tried.result.get("others", [0])


def test_without_a_network_a_function_reaches_nothing() -> None:
    places = [place for place in PLACES if place[0] != "bulk" and not place[1].endswith("example")]
    found = outside("--network", "none", places=[*places, ("name", "public.example", 80)]).result["found"]
    assert set(found.values()) == {"ENETUNREACH", OWN_LOOPBACK, "[Errno -3] Temporary failure in name resolution"}
