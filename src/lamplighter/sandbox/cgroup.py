"""Control groups of sandboxes, on hosts with version 1, version 2 or both.

Each sandbox gets one group per hierarchy that has a controller we use, below a parent of ours, which lies below the
group the server itself runs in: so whatever limits the operator set on the service hold for all functions together.
Nothing here parses anything a guest can write.
"""

import contextlib
import errno
import os
import signal
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, Self

from lamplighter.sandbox.channel import close_all
from lamplighter.sandbox.gauge import Pages
from lamplighter.sandbox.sizes import Limits

MB = 1 << 20
WANTED = ("memory", "cpu", "pids", "freezer")
CPU_PERIOD = 100_000  # microseconds, the kernel's default
_UNLIMITED = {1: "-1", 2: "max"}
FREEZER = {1: ("freezer.state", b"FROZEN", b"THAWED"), 2: ("cgroup.freeze", b"1", b"0")}  # file, and what to write
STILL = "still"  # an empty group that is always frozen, see Cgroups.open
_WEIGHT_OF_EMPTY = {1: ("cpu.shares", "40"), 2: ("cpu.weight", "4")}  # of 128 MB: 71 and 7
_CLEARING = 2.0  # seconds in which what is killed should be gone
_RETRY = 0.005  # seconds
_PRECEDENCE = "600"  # of the service before all functions together, where niceness does not count: between groups (v2)

Version = Literal[1, 2]


@dataclass(frozen=True, slots=True)
class Hierarchy:
    """A mounted hierarchy: the directory of our own group in it, and which of the wanted controllers it gives us."""

    own: Path
    top: Path
    version: Version
    controllers: tuple[str, ...]


def hierarchies(proc: Path = Path("/proc/self")) -> list[Hierarchy]:
    """What this process can see: each wanted controller once (the kernel gives a controller to one version only).

    Version 2 can freeze without one. Where both can, version 1 does: its groups thaw without waiting for a lock that
    whoever joins a group may hold for 20 ms."""
    membership: dict[str, str] = {}  # "" is version 2
    for line in (proc / "cgroup").read_text().splitlines():
        _, names, path = line.split(":", 2)
        membership.update(dict.fromkeys(names.split(","), path))
    found: list[Hierarchy] = []
    for line in (proc / "mountinfo").read_text().splitlines():
        before, _, after = line.partition(" - ")
        kind, _, options = after.split(" ", 2)
        root, mounted = before.split(" ")[3:5]
        top = Path(mounted.replace("\\040", " "))
        if kind == "cgroup":
            names = set(options.split(" ")[-1].split(","))
            version, controllers = 1, tuple(name for name in WANTED if name in names)
        elif kind == "cgroup2":
            controllers = tuple(name for name in WANTED if name in _words(top / "cgroup.controllers"))
            version, controllers = 2, (*controllers, "freezer")
        else:
            continue
        path = membership.get(controllers[0] if version == 1 and controllers else "")
        if not controllers or path is None:
            continue
        relative = os.path.relpath(path, root)
        own = top if relative.startswith("..") else top / relative
        found.append(Hierarchy(own, top, version, controllers))
    return _each_once(sorted(found, key=lambda hierarchy: hierarchy.version))


def _each_once(found: list[Hierarchy]) -> list[Hierarchy]:
    """The first to have a controller gives it; a hierarchy that some are mounted from twice gives them once."""
    given: set[str] = set()
    useful: list[Hierarchy] = []
    for hierarchy in found:
        controllers = tuple(name for name in hierarchy.controllers if name not in given)
        given.update(controllers)
        if controllers:
            useful.append(replace(hierarchy, controllers=controllers))
    return useful


class Cgroup:
    """One sandbox's groups. `procs`: open descriptors; a process of one thread that writes "0" to each joins."""

    def __init__(self, directories: list[tuple[Hierarchy, Path]]) -> None:
        self._directories = directories
        self.procs: list[int] = []

    @classmethod
    def make(cls, parents: list[tuple[Hierarchy, Path]], name: str) -> Self:
        """An empty group, whose limits come later. Until then its weight is less than that of the smallest function."""
        group = cls([(hierarchy, parent / name) for hierarchy, parent in parents])
        try:
            for hierarchy, directory in group._directories:
                directory.mkdir()
                if "cpu" in hierarchy.controllers:
                    file, weight = _WEIGHT_OF_EMPTY[hierarchy.version]
                    _write(directory / file, weight)
                group.procs.append(_open_procs(hierarchy, directory))
        except BaseException:
            group.close()
            group.remove()
            raise
        return group

    def limit(self, limits: Limits) -> None:
        """Once per group: what is in it is still small."""
        for hierarchy, directory in self._directories:
            for file, value in _settings(hierarchy, limits):
                _write(directory / file, value)

    def again(self) -> None:
        """Take processes once more, now that the ones before are gone. What was charged to it and is still there stays
        charged; the most used begins anew (v2: from Linux 6.12 on), and so does full speed."""
        self.thaw()
        for hierarchy, directory in self._directories:
            self.procs.append(_open_procs(hierarchy, directory))
            if "memory" in hierarchy.controllers and hierarchy.version == 1:
                _write(directory / "memory.max_usage_in_bytes", "0")
            if "cpu" in hierarchy.controllers:
                _write(
                    directory / ("cpu.cfs_quota_us" if hierarchy.version == 1 else "cpu.max"),
                    _UNLIMITED[hierarchy.version],
                )

    def memory_gauge(self, anew: bool = True) -> int | None:
        """A descriptor to read the most memory used so far from, in bytes (v2 before Linux 5.19: used now). anew: v2
        from Linux 6.12 on, not what was used before now."""
        for name in ("memory.max_usage_in_bytes", "memory.peak", "memory.current"):
            path = self._file("memory", name)
            if path and anew and name == "memory.peak":
                return _from_now_on(path)
            if path:
                return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        return None

    def memory_pages(self) -> int | None:
        """A descriptor to read what the memory is used for from (gauge.Pages)."""
        path = self._file("memory", "memory.stat")
        return path and os.open(path, os.O_RDONLY | os.O_CLOEXEC)

    def memory_seen(self, by_kind: bool) -> tuple[int, tuple[int, int] | None] | None:
        """The most memory used so far in bytes; and if wanted what files on a disk have of it now, and all else."""
        gauge, pages = self.memory_gauge(anew=False), self.memory_pages() if by_kind else None
        if gauge is None:
            return None
        try:
            now = None if pages is None else Pages.of(os.pread(pages, 4096, 0))
            return int(os.pread(gauge, 32, 0)), now and (now.files, now.others)
        finally:
            close_all([gauge] if pages is None else [gauge, pages])

    def ran_out(self) -> bool:
        """Whether the kernel ever killed a process in it for want of memory."""
        for name in ("memory.oom_control", "memory.events"):
            path = self._file("memory", name)
            if path:
                return "oom_kill 0" not in path.read_text()
        return False

    def cpu_control(self) -> tuple[int, Version] | None:
        """A descriptor that takes what `cpu_quota` gives for this version; it can change this sandbox's share only."""
        for name, version in (("cpu.cfs_quota_us", 1), ("cpu.max", 2)):
            path = self._file("cpu", name)
            if path:
                return os.open(path, os.O_WRONLY | os.O_CLOEXEC), 1 if version == 1 else 2
        return None

    def freezer(self) -> tuple[int, Version] | None:
        """A descriptor that takes what FREEZER has for this version; it can still this sandbox only."""
        for version, (name, _, _) in FREEZER.items():
            path = self._file("freezer", name)
            if path:
                return os.open(path, os.O_WRONLY | os.O_CLOEXEC), 1 if version == 1 else 2
        return None

    def thaw(self) -> None:
        """Let what is in it run: a process that is frozen by version 1 does not even die of SIGKILL."""
        for hierarchy, directory in self._directories:
            if "freezer" in hierarchy.controllers:
                _thaw(hierarchy, directory)

    def take_procs(self) -> list[int]:
        """The descriptors in `procs`, now the caller's to close."""
        taken, self.procs = self.procs, []
        return taken

    def close(self) -> None:
        """Close the descriptors in `procs`."""
        while self.procs:
            os.close(self.procs.pop())

    def remove(self) -> bool:
        """Remove the groups; False when a process in them hasn't ended yet (try again later)."""
        return all(_remove(directory) for _, directory in self._directories)

    def _file(self, controller: str, name: str) -> Path | None:
        for hierarchy, directory in self._directories:
            if controller in hierarchy.controllers and (directory / name).exists():
                return directory / name
        return None


class Cgroups:
    """The parent groups of one server; `make` hands out a group per sandbox."""

    def __init__(self, parents: list[tuple[Hierarchy, Path]]) -> None:
        self._parents = parents

    @classmethod
    def open(cls, name: str, found: list[Hierarchy]) -> Self:
        """Make the parents, or take over those that a killed server of the same name left, ending what is in them.

        Hierarchies we may not write to are left out: `controllers` tells what can be limited.
        """
        parents: list[tuple[Hierarchy, Path]] = []
        for hierarchy in found:
            for place in dict.fromkeys((hierarchy.own, hierarchy.top)):
                parent = place / name
                try:
                    if hierarchy.version == 2:
                        _enable(place, hierarchy.controllers)
                    parent.mkdir(exist_ok=True)
                    if hierarchy.version == 2:
                        _enable(parent, hierarchy.controllers)
                except OSError:
                    continue  # not ours to use: the next place, or none
                parents.append((hierarchy, parent))
                break
        groups = cls(parents)
        groups.clear()
        groups._keep_one_frozen()
        return groups

    @property
    def controllers(self) -> frozenset[str]:
        return frozenset(name for hierarchy, _ in self._parents for name in hierarchy.controllers)

    def make(self, name: str) -> Cgroup:
        return Cgroup.make(self._parents, name)

    def clear(self) -> None:
        """Kill whatever runs in groups below ours, frozen or not, and remove them."""
        below = [
            (hierarchy, entry) for hierarchy, parent in self._parents for entry in parent.iterdir() if entry.is_dir()
        ]
        deadline = time.monotonic() + _CLEARING
        while below:
            found = False
            for hierarchy, directory in below:
                for pid in _words(directory / "cgroup.procs"):
                    found = True
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(int(pid), signal.SIGKILL)
                if "freezer" in hierarchy.controllers:
                    _thaw(hierarchy, directory)
            below = [(hierarchy, directory) for hierarchy, directory in below if not _remove(directory)]
            if not found or time.monotonic() > deadline:
                return  # what does not die of that hangs in the kernel
            time.sleep(_RETRY if below else 0)

    def _keep_one_frozen(self) -> None:
        """Version 1: while nothing at all is frozen the kernel leaves the look for it out of its own code, and to put
        it in again interrupts every processor. With this group a thaw takes a quarter of the time."""
        for hierarchy, parent in self._parents:
            if hierarchy.version == 1 and "freezer" in hierarchy.controllers:
                (parent / STILL).mkdir(exist_ok=True)
                name, freeze, _ = FREEZER[1]
                _write(parent / STILL / name, freeze.decode())

    def remove(self) -> None:
        """Give the parents back, as far as they are empty."""
        self.clear()
        for _, parent in self._parents:
            _remove(parent)


def cpu_quota(version: Version, limits: Limits | None) -> bytes:
    """What to write to hold the CPU share (None: lift it)."""
    quota = None if limits is None else max(1000, round(limits.cpu * CPU_PERIOD))
    if version == 1:
        return b"-1" if quota is None else b"%d" % quota
    return b"max %d" % CPU_PERIOD if quota is None else b"%d %d" % (quota, CPU_PERIOD)


def _settings(hierarchy: Hierarchy, limits: Limits) -> list[tuple[str, str]]:
    """Files and values for a new group. The CPU quota comes later, once INIT is over; until then the weight keeps
    starts of small functions from crowding out large ones."""
    memory, one = str(limits.memory * MB), hierarchy.version == 1
    settings: list[tuple[str, str]] = []
    if "memory" in hierarchy.controllers:
        settings += (
            [("memory.limit_in_bytes", memory), ("memory.memsw.limit_in_bytes", memory), ("memory.swappiness", "0")]
            if one
            else [("memory.max", memory), ("memory.swap.max", "0")]
        )
    if "cpu" in hierarchy.controllers:
        weight = max(1, round(limits.cpu * 100))
        settings.append(("cpu.shares", str(max(2, weight * 1024 // 100))) if one else ("cpu.weight", str(weight)))
    if "pids" in hierarchy.controllers:
        settings.append(("pids.max", str(limits.processes)))
    return settings


def _open_procs(hierarchy: Hierarchy, directory: Path) -> int:
    """Of version 1 the file for threads: a thread that moves itself need not wait until all processors have noticed.
    That takes up to 20 ms."""
    return os.open(directory / ("tasks" if hierarchy.version == 1 else "cgroup.procs"), os.O_WRONLY | os.O_CLOEXEC)


def _from_now_on(path: Path) -> int:
    """A descriptor of a memory.peak that tells the most used since now, where the kernel can (Linux 6.12)."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    with contextlib.suppress(OSError):
        os.write(descriptor, b"0")
    return descriptor


def _write(path: Path, value: str) -> None:
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return  # kernels without swap accounting have no file for it; every other file exists with its controller
    try:
        os.write(descriptor, value.encode())
    except OSError as error:
        raise OSError(error.errno, f"{error.strerror} (writing {value})", str(path)) from None
    finally:
        os.close(descriptor)


def _enable(place: Path, controllers: tuple[str, ...]) -> None:
    """Version 2: let children of `place` have the controllers.

    A group other than the top one refuses that (EBUSY) while it has processes of its own. They move down when they are
    only this server and the service that started it; other people's processes we leave alone."""
    there = {"freezer", *_words(place / "cgroup.subtree_control")}  # to freeze takes no controller
    wanted = [name for name in controllers if name not in there]
    if not wanted:
        return
    value = " ".join("+" + name for name in wanted)
    try:
        _write(place / "cgroup.subtree_control", value)
    except OSError as error:
        inside = {int(pid) for pid in _words(place / "cgroup.procs")}
        if error.errno != errno.EBUSY or not inside <= {os.getpid(), os.getppid()}:
            raise
        leaf = place / "lamplighter-service"
        leaf.mkdir(exist_ok=True)
        for pid in inside:
            _write(leaf / "cgroup.procs", str(pid))
        _write(place / "cgroup.subtree_control", value)
        if "cpu" in controllers:
            _write(leaf / "cpu.weight", _PRECEDENCE)


def _thaw(hierarchy: Hierarchy, directory: Path) -> None:
    name, _, thaw = FREEZER[hierarchy.version]
    with contextlib.suppress(OSError):  # it is gone, or this kernel can't freeze
        _write(directory / name, thaw.decode())


def _remove(directory: Path) -> bool:
    try:
        directory.rmdir()
    except FileNotFoundError:
        pass
    except OSError as error:
        if error.errno not in (errno.EBUSY, errno.ENOTEMPTY):
            raise
        return False
    return True


def _words(path: Path) -> list[str]:
    try:
        return path.read_text().split()
    except OSError:
        return []
