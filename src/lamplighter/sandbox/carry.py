"""What a template wrote to its /tmp, copied into a copy's own. The files are a guest's: so it is done as the guest's
user without capabilities, links are not followed but made anew, and what is neither file, directory nor link is left
out. That a guest may make it long or large is bounded by the size of /tmp and by the time that a copy may take."""

import os
import stat
from typing import NoReturn

from lamplighter.sandbox import linux

_PIECE = 1 << 20
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def over(source: int, target: int, uid: int) -> None:
    """Between two open directories, as user `uid`. Raises OSError where not all of it could be copied."""
    child = os.fork()
    if child == 0:
        _copy_as(source, target, uid)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if code:
        raise OSError(code & 0xFF, "its /tmp could not be copied: " + os.strerror(code & 0xFF))


def _copy_as(source: int, target: int, uid: int) -> NoReturn:
    try:
        if uid != os.geteuid():
            os.setgroups([])
            os.setresgid(uid, uid, uid)
            os.setresuid(uid, uid, uid)
        linux.drop_capabilities()
        _copy(source, target)
        os._exit(0)
    except OSError as error:
        os._exit(error.errno or 5)
    finally:
        os._exit(5)


def _copy(source: int, target: int) -> None:
    """One directory, and those below it."""
    for name in os.listdir(source):
        found = os.stat(name, dir_fd=source, follow_symlinks=False)
        mode = stat.S_IMODE(found.st_mode)
        if stat.S_ISLNK(found.st_mode):
            os.symlink(os.readlink(name, dir_fd=source), name, dir_fd=target)
            continue
        if stat.S_ISDIR(found.st_mode):
            os.mkdir(name, 0o700, dir_fd=target)
            below, made = os.open(name, _DIRECTORY, dir_fd=source), os.open(name, _DIRECTORY, dir_fd=target)
            _copy(below, made)
        elif stat.S_ISREG(found.st_mode):
            below = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=source)
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            made = os.open(name, flags, 0o600, dir_fd=target)
            while piece := os.read(below, _PIECE):
                while piece:
                    piece = piece[os.write(made, piece) :]
        else:
            continue
        os.utime(made, ns=(found.st_atime_ns, found.st_mtime_ns))
        os.fchmod(made, mode)
        os.close(below)
        os.close(made)
