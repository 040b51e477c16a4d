"""What a service holds of the machine, to be compared: processes, descriptors, mounts, cgroups, files, memory.

Only what is the service's is looked at, so that others may use the machine meanwhile. What is counted has names without
numbers: ten sockets are ten sockets, whichever they are.
"""

import os
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from bench.memory import megabytes
from lamplighter.sandbox.cgroup import hierarchies

_NUMBERS = re.compile(r"[0-9a-f]{8,}|\d+")
_PROGRAMS = (
    ("lamplighter.sandbox.forkserver", "fork server"),
    ("lamplighter.sandbox.server", "sandbox server"),
    ("lamplighter.sandbox.relay", "relay"),
    ("lamplighter.bodies.carrying", "carrier"),
)


@dataclass(frozen=True, slots=True)
class Holdings:
    """`things`: how many of each, by what they are; `memory`: MB (PSS), by the role of who has it."""

    things: Counter[str]
    memory: dict[str, float] = field(default_factory=dict[str, float])
    pids: frozenset[int] = frozenset()

    def leftovers(self, before: "Holdings") -> list[str]:
        """What is there that was not before. Of what waits for a start there may be fewer; nothing about memory."""
        pairs = ((name, before.things[name], now) for name, now in sorted(self.things.items()))
        return [f"{name}: {was} before, {now} now" for name, was, now in pairs if now > was]


def holdings(service: int, data: Path, run: Path, name: str) -> Holdings:
    """`service`: its process; `data`, `run`: its directories; `name`: of its cgroups."""
    things: Counter[str] = Counter()
    memory: dict[str, float] = {}
    namespaces: set[str] = set()
    pids: set[int] = set()
    sockets = _sockets()
    for pid, role in processes(service):
        pids.add(pid)
        things[f"processes: {role}"] += 1
        memory[role] = memory.get(role, 0.0) + megabytes([pid])
        things.update(f"descriptors of {role}: {kind}" for kind in _descriptors(pid, data, run, sockets))
        namespaces |= set(_links(Path(f"/proc/{pid}/ns")))
        if role in ("service", "sandbox server", "fork server"):
            things[f"mounts of {role}"] += _lines(Path(f"/proc/{pid}/mountinfo"))
    things["namespaces"] = len(namespaces)
    things["cgroups"] = sum(1 for _ in cgroups(name))
    things["mounts of the host in our directories"] = sum(
        str(place) in line for place in (data, run) for line in _text(Path("/proc/self/mountinfo")).splitlines()
    )
    for place, what in ((data, "data"), (run, "run")):
        things.update(f"files in {what}: {found}" for found in _files(place))
    return Holdings(things, memory, frozenset(pids))


def processes(service: int) -> list[tuple[int, str]]:
    """All of the service's, with their roles."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal() and (stat := _text(entry / "stat")):
            children.setdefault(int(stat.rpartition(")")[2].split()[1]), []).append(int(entry.name))
    found: list[tuple[int, str]] = []

    def walk(pid: int, role: str, depth: int) -> None:
        found.append((pid, role))
        for child in children.get(pid, ()):
            if depth:  # a fork of a fork server, or what that has become
                walk(child, "sandbox" if depth == 1 else "inside", depth + 1)
            else:
                words = _text(Path(f"/proc/{child}/cmdline"))
                program = next((role for program, role in _PROGRAMS if program in words), "other")
                walk(child, program, 1 if program == "fork server" else 0)

    walk(service, "service", 0)
    return found


def cgroups(name: str) -> Iterator[Path]:
    """The service's, in every hierarchy."""
    for parent in {place / name for found in hierarchies() for place in (found.own, found.top)}:
        if parent.is_dir():
            yield from (found for found in parent.iterdir() if found.is_dir())


def alive(pid: int) -> bool:
    stat = _text(Path(f"/proc/{pid}/stat"))
    return bool(stat) and stat.rpartition(")")[2].split()[0] not in ("Z", "X")


def _sockets() -> dict[str, str]:
    """What each socket of our own network namespace is; those of environments are not among them."""
    found: dict[str, str] = {}
    for kind, column in (("tcp", 9), ("tcp6", 9), ("udp", 9), ("unix", 6)):
        for line in _text(Path("/proc/net", kind)).splitlines()[1:]:
            words = line.split()
            state = {"0A": ", listening", "01": ", connected", "08": ", left by the peer"}.get(words[3], "")
            found[f"socket:[{words[column]}]"] = f"socket: {kind}{state if kind != 'unix' else ''}"
    return found


def _descriptors(pid: int, data: Path, run: Path, sockets: dict[str, str]) -> Iterator[str]:
    for link in _links(Path(f"/proc/{pid}/fd")):
        if link.startswith("socket:"):
            link = sockets.get(link, "socket: of another namespace")
        for place, what in ((data, "DATA"), (run, "RUN")):
            link = link.replace(str(place), what)
        if link.startswith("/sys/fs/cgroup"):
            link = "a cgroup's file"
        yield _NUMBERS.sub("#", link)


def _files(place: Path) -> Iterator[str]:
    for directory, _, names in os.walk(place):
        within = Path(directory).relative_to(place)
        if within.parts[:1] == ("code",) and len(within.parts) > 1:  # of a package
            if len(within.parts) == 2:
                yield "unpacked packages"
            continue
        yield from (_NUMBERS.sub("#", str(within / name)) for name in names)


def _links(directory: Path) -> Iterator[str]:
    try:
        entries = list(directory.iterdir())
    except OSError:
        return  # it has ended
    for entry in entries:
        try:
            yield os.readlink(entry)
        except OSError:
            continue


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""


def _lines(path: Path) -> int:
    return _text(path).count("\n")
