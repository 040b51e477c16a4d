"""How much memory this process has."""

import resource
from pathlib import Path


def resident() -> int | None:
    """Bytes; None: the kernel doesn't tell."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
    except OSError:
        return None
