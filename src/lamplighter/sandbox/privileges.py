"""Giving root away: the process that speaks HTTP and parses guests' bytes keeps none of it (design, decision 5).

Called once, at start-up, after whatever needs root has been started (the sandbox server) or bound, and while the
process has one thread. Interpreter, packages and data directory may lie below directories that only root may enter
(`/root`, a private /tmp). Those stay reachable through a mount namespace of our own, in which such a closed directory
is covered by an empty one that holds nothing but what we need: the rest of it is hidden from then on, which is a gain,
not a price.
"""

import contextlib
import os
from collections.abc import Sequence
from pathlib import Path

from lamplighter.sandbox import linux

# Above every range that distributions, rootless containers (subuid) and systemd hand out, so nobody shares it with us;
# below the ids of sandboxes (`messages.Configuration.first_uid`, and the one before it for their init processes).
SERVICE_UID = 1_899_999_998


PRECEDENCE = -8  # niceness: six times the weight of a process that nobody cares about


def go_first() -> None:
    """The service before what functions compute: every neighbour's call passes through it, and it takes little.

    While root is held, and after what must not inherit it has been started. Not every container lets root do it."""
    with contextlib.suppress(PermissionError):
        os.setpriority(os.PRIO_PROCESS, 0, PRECEDENCE)


def own(directory: Path, but: str) -> None:
    """Make the service's uid the owner of everything in the data directory; cheap when it is already.

    `but`: a file in it that stays root's, because root reads it."""
    if directory.stat().st_uid == SERVICE_UID:
        return
    for path, directories, files in os.walk(directory):
        for name in (*directories, *files):
            if name != but:
                os.chown(f"{path}/{name}", SERVICE_UID, SERVICE_UID, follow_symlinks=False)
    # Last, so that an interrupted walk is repeated.
    os.chown(directory, SERVICE_UID, SERVICE_UID)


def drop(keep: Sequence[Path]) -> None:
    """Become the service's uid, without capabilities or a way back; the directories `keep` stay reachable.

    Raises OSError with the call and the path that failed."""
    closed = sorted({top for path in keep if (top := _closed_above(path)) is not None})
    if closed:
        _cover(closed, keep)
    os.setgroups([])
    os.setresgid(SERVICE_UID, SERVICE_UID, SERVICE_UID)
    os.setresuid(SERVICE_UID, SERVICE_UID, SERVICE_UID)
    linux.prctl(linux.PR_SET_NO_NEW_PRIVS, 1)
    # Nobody with our uid (there should be none) may look into this process either: it holds the credentials.
    linux.prctl(linux.PR_SET_DUMPABLE, 0)


def _closed_above(path: Path) -> Path | None:
    """The topmost directory above `path` that others may not enter."""
    for parent in reversed(path.absolute().parents):
        if not parent.stat().st_mode & 0o001:
            return parent
    return None


def _cover(closed: Sequence[Path], keep: Sequence[Path]) -> None:
    linux.unshare(linux.CLONE_NEWNS)
    linux.mount("none", "/", None, linux.MS_REC | linux.MS_PRIVATE)
    trees = [(path, linux.clone_tree(-100, str(path), recursive=True)) for path in sorted(keep)]
    for directory in closed:
        linux.mount("tmpfs", str(directory), "tmpfs", linux.MS_NOSUID | linux.MS_NODEV, "mode=711,size=64k")
    for path, tree in trees:
        if any(directory in path.parents for directory in closed):
            # An outer kept directory has already brought an inner one along.
            with contextlib.suppress(FileExistsError):
                path.mkdir(parents=True, mode=0o711)
                linux.attach_tree(tree, str(path))
        os.close(tree)
