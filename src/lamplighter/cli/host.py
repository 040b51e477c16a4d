"""What the service needs of its host beside isolation: a kernel that is new enough, room on the disk, descriptors,
processes, and a clock that is right. Each comes with what would give it; none is changed here.

Whoever asks has the limits of their own shell: a unit of systemd's has others.
"""

import ctypes
import os
import re
import resource
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path

from lamplighter.sandbox.contract import Isolation
from lamplighter.sandbox.probe import Finding

KERNEL = (5, 12)  # open_tree and mount_setattr, without which there is no sandbox
SPACE = 1 << 30  # bytes: packages, unpacked code, logs and /tmp all grow in the data directory
DESCRIPTORS = 16_384  # the service holds some ten for each environment, and one for each connection
PROCESSES = 4096  # three for each environment that does nothing; a single function may have 1,024
_COPIED = "x86_64"  # the machine on which an initialised process can be copied
_NO_PTRACE = 3  # of kernel.yama.ptrace_scope
_TIME_ERROR = 5  # adjtimex(2): nothing keeps the clock right
_TIMEX = 512  # bytes, more than struct timex has
_YEAR_2026 = 1_767_225_600  # before it this program did not exist


def findings(data_dir: Path, root: bool, now: float) -> Iterator[Finding]:
    yield kernel(os.uname().release)
    yield space(_existing(data_dir))
    yield descriptors(resource.getrlimit(resource.RLIMIT_NOFILE)[1])
    yield processes(process_limits(root))
    yield clock(now, _synchronised())


def kernel(release: str) -> Finding:
    found = re.match(r"(\d+)\.(\d+)", release)
    works = found is not None and (int(found[1]), int(found[2])) >= KERNEL
    needed = ".".join(map(str, KERNEL))
    return Finding(f"Linux {needed} or later", works, "" if works else f"upgrade the kernel; this is {release}")


def snapshots(machine: str, isolation: Isolation, pythons: Iterable[tuple[int, int]], ptrace: int) -> Finding:
    """Whether versions with SnapStart start as copies, or have OptimizationStatus Off. `ptrace`: what
    kernel.yama.ptrace_scope says, 0 where there is no such thing."""
    without = "versions with SnapStart have OptimizationStatus Off, and each environment is initialised: "
    if machine != _COPIED:
        reason = f"copies are made on {_COPIED} only"
    elif isolation == "none":
        reason = "copies are made in isolation full and user only"
    elif ptrace >= _NO_PTRACE:
        reason = f"sysctl kernel.yama.ptrace_scope={_NO_PTRACE - 1} or less lets them be made"
    elif not any(version >= (3, 12) for version in pythons):
        reason = "it takes Python 3.12 or later"
    else:
        return Finding("SnapStart for Python by copies", True)
    return Finding("SnapStart for Python by copies", False, without + reason)


def ptrace_scope() -> int:
    try:
        return int(Path("/proc/sys/kernel/yama/ptrace_scope").read_text())
    except (OSError, ValueError):
        return 0


def space(directory: Path) -> Finding:
    free = shutil.disk_usage(directory).free
    works = free >= SPACE
    what = f"room in the data directory ({free >> 20} MB at {directory})"
    return Finding(what, works, "" if works else "free a GB there, or choose another with --data-dir")


def descriptors(most: int) -> Finding:
    """`most`: the hard limit; the service raises its own to that."""
    works = most == resource.RLIM_INFINITY or most >= DESCRIPTORS
    what = f"open files ({'no limit' if most == resource.RLIM_INFINITY else most})"
    help_ = f"allow {DESCRIPTORS}: LimitNOFILE= in the unit, or `ulimit -Hn {DESCRIPTORS}`"
    return Finding(what, works, "" if works else help_)


def processes(limits: dict[str, int]) -> Finding:
    """`limits`: by the name of what sets them."""
    if not limits:
        return Finding("processes (no limit)", True)
    name, least = min(limits.items(), key=lambda limit: limit[1])
    works = least >= PROCESSES
    return Finding(f"processes ({least})", works, "" if works else f"raise {name} to {PROCESSES} or more")


def clock(now: float, synchronised: bool) -> Finding:
    """Callers' signatures are good for five minutes; schedules, retries and logs go by this clock too."""
    works = synchronised and now > _YEAR_2026
    what = "a clock that is kept right"
    return Finding(what, works, "" if works else "start a time service, such as chrony or systemd-timesyncd")


def process_limits(root: bool, proc: Path = Path("/proc")) -> dict[str, int]:
    limits = {
        "sysctl kernel.pid_max": _number(proc / "sys/kernel/pid_max"),
        "sysctl kernel.threads-max": _number(proc / "sys/kernel/threads-max"),
    }
    if not root:  # which it does not hold
        limits["LimitNPROC= in the unit, or ulimit -u,"] = resource.getrlimit(resource.RLIMIT_NPROC)[0]
    return {name: limit for name, limit in limits.items() if limit > 0}


def _number(path: Path) -> int:
    """0: it does not say."""
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return 0


def _existing(path: Path) -> Path:
    return path if path.exists() else _existing(path.parent)


def _synchronised() -> bool:
    """As the kernel was told by whoever keeps its clock; reading that takes no privilege."""
    return ctypes.CDLL(None).adjtimex(ctypes.create_string_buffer(_TIMEX)) not in (-1, _TIME_ERROR)
