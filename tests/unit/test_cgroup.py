"""Cgroups of versions 1, 2 and both, on directories that look like the kernel's."""

import errno
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lamplighter.sandbox.cgroup import Cgroup, Cgroups, Hierarchy, cpu_quota, hierarchies
from lamplighter.sandbox.sizes import MB_PER_CPU, limits


def host(tmp_path: Path, membership: str, mounts: list[str], unified: str = "") -> list[Hierarchy]:
    """Hierarchies of a process whose /proc/self says this; `$` in a mount stands for the test's directory."""
    proc = tmp_path / "proc"
    proc.mkdir()
    (proc / "cgroup").write_text(membership)
    (proc / "mountinfo").write_text("".join(line.replace("$", str(tmp_path)) + "\n" for line in mounts))
    (tmp_path / "unified").mkdir()
    (tmp_path / "unified" / "cgroup.controllers").write_text(unified)
    return hierarchies(proc)


V1 = [
    "30 24 0:26 / $/memory rw,relatime - cgroup cgroup rw,memory",
    "31 24 0:27 / $/cpu rw,relatime - cgroup cgroup rw,cpu,cpuacct",
    "32 24 0:28 / $/pids rw - cgroup cgroup rw,pids",
    "33 24 0:29 / $/freezer rw - cgroup cgroup rw,freezer",
    "34 24 0:30 / /proc rw shared:2 - proc proc rw",
]
UNIFIED = "35 24 0:31 / $/unified rw - cgroup2 cgroup2 rw"


def test_version_1_gives_each_controller_from_its_own_hierarchy(tmp_path: Path) -> None:
    found = host(tmp_path, "5:freezer:/\n4:memory:/service\n3:cpu,cpuacct:/\n2:pids:/a/b\n0::/x\n", V1)
    assert found == [
        Hierarchy(tmp_path / "memory/service", tmp_path / "memory", 1, ("memory",)),
        Hierarchy(tmp_path / "cpu", tmp_path / "cpu", 1, ("cpu",)),
        Hierarchy(tmp_path / "pids/a/b", tmp_path / "pids", 1, ("pids",)),
        Hierarchy(tmp_path / "freezer", tmp_path / "freezer", 1, ("freezer",)),
    ]


def test_version_2_gives_them_all_from_one(tmp_path: Path) -> None:
    found = host(tmp_path, "0::/system.slice/our.service\n", [UNIFIED], "cpuset cpu io memory pids\n")
    own = tmp_path / "unified/system.slice/our.service"
    assert found == [Hierarchy(own, tmp_path / "unified", 2, ("memory", "cpu", "pids", "freezer"))]


def test_a_hybrid_host_gives_from_version_2_what_version_1_lacks(tmp_path: Path) -> None:
    found = host(tmp_path, "4:memory:/\n0::/session\n", [UNIFIED, V1[0]], "pids\n")
    given = [(hierarchy.version, hierarchy.controllers) for hierarchy in found]
    assert given == [(1, ("memory",)), (2, ("pids", "freezer"))]


def test_a_hybrid_host_freezes_by_version_1_which_thaws_without_waiting(tmp_path: Path) -> None:
    found = host(tmp_path, "4:freezer:/\n0::/session\n", [UNIFIED, V1[3]], "pids\n")
    given = [(hierarchy.version, hierarchy.controllers) for hierarchy in found]
    assert given == [(1, ("freezer",)), (2, ("pids",))]


def test_in_a_container_the_mount_shows_only_a_part_of_the_hierarchy(tmp_path: Path) -> None:
    mounts = ["30 24 0:26 /docker/abc $/memory ro - cgroup cgroup rw,memory"]
    (found,) = host(tmp_path, "4:memory:/docker/abc/inner\n", mounts)
    assert found.own == tmp_path / "memory/inner"


def test_a_host_without_usable_cgroups_limits_nothing(tmp_path: Path) -> None:
    found = host(tmp_path, "1:name=systemd:/\n", [UNIFIED], "")
    assert found == []
    assert Cgroups.open("lamplighter-test", found).controllers == frozenset()


def test_a_place_we_may_not_write_to_is_left_out(tmp_path: Path) -> None:
    nowhere = Hierarchy(tmp_path / "absent/own", tmp_path / "absent", 1, ("memory",))
    assert Cgroups.open("lamplighter-test", [nowhere]).controllers == frozenset()


VERSION_1_FILES = {
    "memory.limit_in_bytes": str(256 << 20),
    "memory.memsw.limit_in_bytes": str(256 << 20),
    "memory.swappiness": "0",
    "cpu.shares": "143",
    "pids.max": "1025",
}
VERSION_2_FILES = {"memory.max": str(256 << 20), "memory.swap.max": "0", "cpu.weight": "14", "pids.max": "1025"}


@pytest.mark.parametrize(("version", "files"), [(1, VERSION_1_FILES), (2, VERSION_2_FILES)])
def test_limits_are_written_where_the_version_has_them(tmp_path: Path, version: int, files: dict[str, str]) -> None:
    hierarchy = Hierarchy(tmp_path, tmp_path, 1 if version == 1 else 2, ("memory", "cpu", "pids"))
    (tmp_path / "cgroup.subtree_control").write_text("memory cpu pids")
    parent = tmp_path / "lamplighter-test"
    parent.mkdir()
    (parent / "cgroup.subtree_control").write_text("memory cpu pids")
    child = parent / "0-1"
    _like_the_kernel(child, [*files, "cgroup.procs", "tasks"])
    groups = Cgroups.open("lamplighter-test", [hierarchy])
    assert groups.controllers == {"memory", "cpu", "pids"}
    child_files = {path.name: path for path in child.iterdir()}
    group = _group_at(groups, child)
    weight = next(child / name for name in files if name.startswith("cpu"))
    assert 2 <= int(weight.read_text()) < int(files[weight.name])  # what waits for a start comes after what starts
    group.limit(limits(256))
    for name, value in files.items():
        assert child_files[name].read_text() == value
    group.close()


def _like_the_kernel(directory: Path, names: list[str]) -> None:
    directory.mkdir()
    for name in names:
        (directory / name).write_text("")


def _group_at(groups: Cgroups, directory: Path) -> Cgroup:
    """The group whose directory the kernel, had it been one, would have filled."""
    files = {path.name: path.read_text() for path in directory.iterdir()}
    for path in directory.iterdir():
        path.unlink()
    directory.rmdir()
    original = Path.mkdir

    def mkdir(path: Path) -> None:
        original(path)
        if path == directory:
            for name, text in files.items():
                (path / name).write_text(text)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Path, "mkdir", mkdir)
        return groups.make(directory.name)


@given(st.integers(128, 10240))
def test_the_cpu_quota_grows_with_memory_one_core_per_1769_mb(memory: int) -> None:
    quota = int(cpu_quota(1, limits(memory)))
    assert abs(quota / 100_000 - memory / MB_PER_CPU) < 0.001
    assert cpu_quota(2, limits(memory)) == b"%d 100000" % quota


def test_lifting_the_cpu_quota_says_so_in_each_versions_words() -> None:
    assert (cpu_quota(1, None), cpu_quota(2, None)) == (b"-1", b"max 100000")


def test_a_service_that_moves_to_a_group_of_its_own_outweighs_all_functions_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "unified/service"
    place.mkdir(parents=True)
    (place / "cgroup.procs").write_text(str(os.getpid()))
    leaf = place / "lamplighter-service"
    original, tried = os.write, list[bytes]()

    def write(descriptor: int, data: bytes) -> int:
        """As a group that has processes: it refuses, until they are gone."""
        if data.startswith(b"+"):
            tried.append(data)
            if len(tried) == 1:
                leaf.mkdir()
                for name in ("cgroup.procs", "cpu.weight"):
                    (leaf / name).touch()
                raise OSError(errno.EBUSY, "busy")
        return original(descriptor, data)

    (place / "cgroup.subtree_control").touch()
    monkeypatch.setattr(os, "write", write)
    Cgroups.open("ours", [Hierarchy(place, place, 2, ("cpu", "freezer"))])
    assert (leaf / "cgroup.procs").read_text() == str(os.getpid())
    assert int((leaf / "cpu.weight").read_text()) > 100  # what every other group has
