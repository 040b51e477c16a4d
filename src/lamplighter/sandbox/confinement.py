"""What a process beside the service gives up before it touches anybody's bytes: all that it doesn't need.

For processes that move bytes between descriptors they are handed. What a host doesn't offer is left out: it is a second
line, since they have no secrets, and execute nothing.
"""

import contextlib
import os
import resource
from pathlib import Path

from lamplighter.sandbox import linux, seccomp
from lamplighter.sandbox.privileges import SERVICE_UID

_NOBODY = 65_534


def confine(niceness: int, but: Path | None = None) -> None:
    """No root, no files but those below `but`, and the system calls that guests have. Everything has been imported."""
    own = os.getpriority(os.PRIO_PROCESS, 0)  # the service's, which may be less pressing and can't be raised
    os.setpriority(os.PRIO_PROCESS, 0, max(own, niceness))
    if os.geteuid() == 0:
        os.setgroups([])
        for uid in (SERVICE_UID, _NOBODY):  # a user namespace may not know the first
            with contextlib.suppress(OSError):
                os.setresgid(uid, uid, uid)
                os.setresuid(uid, uid, uid)
                break
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    linux.prctl(linux.PR_SET_DUMPABLE, 0)
    linux.drop_capabilities()
    linux.prctl(linux.PR_SET_NO_NEW_PRIVS, 1)
    with contextlib.suppress(OSError):
        linux.forbid_files(but)
    with contextlib.suppress(OSError, KeyError):
        linux.install_seccomp(seccomp.program(linux.MACHINE))
