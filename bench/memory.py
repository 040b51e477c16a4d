"""How much memory processes hold, as the kernel counts it.

PSS divides each shared page among those who share it, so a sum over processes counts it once; RSS counts it for each.
"""

from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

from bench.program import Unavailable


def tree(root: int) -> set[int]:
    """The process and all that descend from it, in whatever namespace they are."""
    children: dict[int, list[int]] = defaultdict(list)
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                status = (entry / "stat").read_text()
            except (FileNotFoundError, ProcessLookupError):
                continue  # it ended meanwhile
            parent = int(status.rpartition(")")[2].split()[1])  # the name before it may hold anything
            children[parent].append(int(entry.name))
    found: set[int] = set()
    pending = [root]
    while pending:
        pid = pending.pop()
        found.add(pid)
        pending += children[pid]
    return found


def has_code(pid: int) -> bool:
    """Whether it is in an environment, where a function's code is mounted: not in a sandbox that waits for one."""
    try:
        mounts = Path(f"/proc/{pid}/mountinfo").read_text().splitlines()
    except OSError:  # it has ended
        return False
    return any(mount.split()[4] == "/var/task" for mount in mounts)


def megabytes(pids: Iterable[int], kind: str = "Pss") -> float:
    """`kind`: Pss or Rss. In MB of 2^20 bytes, summed; a process that has ended holds nothing."""
    total = 0
    for pid in pids:
        try:
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        except (FileNotFoundError, ProcessLookupError):
            continue
        except PermissionError as error:
            raise Unavailable(f"{error.filename}: {error.strerror}; run the benchmark as root to see it") from None
        total += sum(int(line.split()[1]) for line in lines if line.startswith(f"{kind}:"))
    return total / 1024
