"""What `lamplighter doctor` says of a host, for hosts that lack something."""

import dataclasses
import errno
import platform
import resource
import socket
import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lamplighter import startup
from lamplighter.cli import host as checks
from lamplighter.cli.doctor import NAMES
from lamplighter.sandbox import linux, netlink, probe
from lamplighter.sandbox.cgroup import WANTED
from lamplighter.sandbox.contract import Isolation
from lamplighter.sandbox.probe import Finding, Host
from lamplighter.sandbox.reach import Reach
from lamplighter.settings.choices import Settings

BARE = Host("6.1.0", "x86_64", False, "none", frozenset(), Finding("network", False), ())


@pytest.mark.parametrize("isolation", ["full", "user", "none"])
@pytest.mark.parametrize("name", WANTED)
def test_what_each_controller_would_hold_is_said_where_it_is_missing(isolation: Isolation, name: str) -> None:
    without = BARE.unheld(isolation)
    there = dataclasses.replace(BARE, controllers=frozenset([name])).unheld(isolation)
    assert len(without) == len(there) + 1
    assert name in NAMES


@given(st.tuples(st.integers(2, 9), st.integers(0, 30)), st.sampled_from(["", ".0", ".18-amd64", "-rc1"]))
def test_a_kernel_is_judged_by_its_number(number: tuple[int, int], more: str) -> None:
    assert checks.kernel(f"{number[0]}.{number[1]}{more}").works == (number >= checks.KERNEL)


def test_snapstart_is_promised_only_where_copies_can_be_made() -> None:
    pythons = [(3, 11), (3, 12)]
    assert checks.snapshots("x86_64", "full", pythons, 1).works
    assert checks.snapshots("x86_64", "user", pythons, 2).works


@pytest.mark.parametrize(
    "finding",
    [
        checks.snapshots("aarch64", "full", [(3, 13)], 0),
        checks.snapshots("x86_64", "none", [(3, 13)], 0),
        checks.snapshots("x86_64", "full", [(3, 13)], 3),
        checks.snapshots("x86_64", "user", [(3, 9)], 0),
        checks.kernel("4.19.0"),
        checks.kernel("?"),
        checks.descriptors(1024),
        checks.processes({"sysctl kernel.pid_max": 32768, "LimitNPROC= in the unit, or ulimit -u,": 100}),
        checks.clock(1_800_000_000.0, synchronised=False),
        checks.clock(0.0, synchronised=True),
    ],
    ids=lambda finding: finding.name,
)
def test_what_is_missing_has_a_remedy(finding: Finding) -> None:
    assert not finding.works
    assert finding.remedy


def test_what_is_there_needs_none() -> None:
    for finding in (
        checks.kernel("6.1.0-13-amd64"),
        checks.descriptors(resource.RLIM_INFINITY),
        checks.descriptors(1 << 20),
        checks.processes({"sysctl kernel.pid_max": 4_194_304}),
        checks.processes({}),
        checks.clock(1_800_000_000.0, synchronised=True),
    ):
        assert finding.works and not finding.remedy


def test_the_least_limit_of_processes_is_the_one_to_raise() -> None:
    finding = checks.processes({"sysctl kernel.pid_max": 32768, "sysctl kernel.threads-max": 1000})
    assert "threads-max" in finding.remedy


def test_room_is_looked_for_where_the_data_directory_will_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = {finding.name: finding for finding in checks.findings(tmp_path / "not" / "yet", True, 1_800_000_000.0)}
    assert any(str(tmp_path) in name for name in found)
    monkeypatch.setattr(checks, "SPACE", 1 << 80)
    assert "--data-dir" in checks.space(tmp_path).remedy


def test_limits_that_nobody_tells_are_none(tmp_path: Path) -> None:
    assert checks.process_limits(root=True, proc=tmp_path) == {}


WAY_OUT = probe.way_out()
can_have_a_way_out = pytest.mark.skipif(not WAY_OUT.works, reason=WAY_OUT.remedy)


@can_have_a_way_out
@pytest.mark.parametrize(
    ("family", "protocol", "error", "remedy"),
    [
        (socket.AF_PACKET, 0, errno.EAFNOSUPPORT, "packet sockets (CONFIG_PACKET)"),
        (socket.AF_NETLINK, 12, errno.EPROTONOSUPPORT, "nf_tables with tproxy (CONFIG_NF_TABLES, CONFIG_NFT_TPROXY)"),
    ],
    ids=["packet sockets", "nf_tables"],
)
def test_a_kernel_without_sockets_of_a_kind_is_told_of_them(
    monkeypatch: pytest.MonkeyPatch, family: int, protocol: int, error: int, remedy: str
) -> None:
    """A filter in the child that tries it refuses them as a kernel does that was built without."""
    number = 41 if platform.machine() == "x86_64" else 198
    steps = [  # struct sock_filter: return `error` for socket(family, …, protocol)
        (0x20, 0, 0, 0), (0x15, 0, 5, number),
        (0x20, 0, 0, 16), (0x15, 0, 3, family),
        (0x20, 0, 0, 32), (0x15, 0, 1, protocol),
        (0x06, 0, 0, 0x00050000 | error), (0x06, 0, 0, 0x7FFF0000),
    ]  # fmt: skip
    try_it = probe._way_out  # pyright: ignore[reportPrivateUsage]

    def try_it_without(directory: str) -> None:
        linux.prctl(linux.PR_SET_NO_NEW_PRIVS, 1)
        linux.install_seccomp(b"".join(struct.pack("=HBBI", *step) for step in steps))
        try_it(directory)

    monkeypatch.setattr(probe, "_way_out", try_it_without)
    finding = probe.way_out()
    assert not finding.works
    assert finding.remedy == f"the kernel needs {remedy}"


@can_have_a_way_out
@pytest.mark.parametrize("expression", ["bitwise", "tproxy"])
def test_an_nf_tables_that_lacks_an_expression_is_told_of_it(monkeypatch: pytest.MonkeyPatch, expression: str) -> None:
    """The kernel is asked for one that it doesn't know in its place."""
    unknown = expression.upper()
    plan = netlink.plan(Reach())
    table = plan.table.replace(expression.encode(), unknown.encode())
    assert table != plan.table
    monkeypatch.setattr(netlink, "plan", lambda _: dataclasses.replace(plan, table=table))
    finding = probe.way_out()
    assert not finding.works
    assert finding.remedy == "nf_tables of this kernel needs bitwise and tproxy (CONFIG_NFT_TPROXY)"


def test_a_start_without_a_way_out_says_what_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(startup, "way_out", lambda: Finding("network", False, "the kernel needs packet sockets"))
    assert startup.reach(Settings(tmp_path), "full") is None
    assert "no network (network is internet): the kernel needs packet sockets." in caplog.text
    caplog.clear()
    assert startup.reach(Settings(tmp_path, network="none"), "full") is None
    assert caplog.text == ""
