"""What this process takes of the machine."""

import os
import resource
from pathlib import Path


def resident() -> int | None:
    """Bytes of memory; None: the kernel doesn't tell."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
    except OSError:
        return None


def processor_time() -> float:
    """Seconds, of all processors."""
    used = os.times()
    return used.user + used.system


def open_files() -> int | None:
    """None: the kernel doesn't tell."""
    try:
        return len(os.listdir("/proc/self/fd"))
    except OSError:
        return None
