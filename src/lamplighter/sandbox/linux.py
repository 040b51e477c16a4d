"""The kernel calls Python has no name for: namespaces, mounts, capabilities, seccomp.

Runs in the sandbox server and, under the runtime's own interpreter (CPython 3.9 and later), in fork servers and the
sandboxes they make; so it imports nothing but the standard library. Every call either succeeds or raises OSError that
names the call and the path. Arguments are always built by us, never taken from a client or a guest, unless a comment
says which and why that is safe.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import socket
import struct
from pathlib import Path

# unshare(2), setns(2)
CLONE_NEWNS = 0x00020000
CLONE_NEWCGROUP = 0x02000000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000

# mount(2)
MS_RDONLY = 1
MS_NOSUID = 2
MS_NODEV = 4
MS_NOEXEC = 8
MS_BIND = 4096
MS_REC = 16384
MS_PRIVATE = 1 << 18
MNT_DETACH = 2

# mount_setattr(2)
ATTR_RDONLY = 0x1
ATTR_NOSUID = 0x2
ATTR_NODEV = 0x4
ATTR_NOEXEC = 0x8
ATTR_NOATIME = 0x10

# prctl(2)
PR_SET_PDEATHSIG = 1
PR_SET_DUMPABLE = 4
PR_SET_KEEPCAPS = 8
PR_SET_SECCOMP = 22
PR_CAPBSET_DROP = 24
PR_SET_CHILD_SUBREAPER = 36
PR_SET_NO_NEW_PRIVS = 38
SECCOMP_MODE_FILTER = 2

CAP_KILL = 1 << 5  # as a mask

_SO_ATTACH_FILTER = 26
_OPEN_TREE_CLONE = 1
_O_CLOEXEC = os.O_CLOEXEC
_AT_EMPTY_PATH = 0x1000
_AT_RECURSIVE = 0x8000
_AT_SYMLINK_NOFOLLOW = 0x100
_MOVE_MOUNT_F_EMPTY_PATH = 0x4
_FSCONFIG_SET_FLAG = 0
_FSCONFIG_SET_STRING = 1
_FSCONFIG_CMD_CREATE = 6

# System call numbers. Those from 424 on are the same on every architecture.
_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}
_KEYCTL = {"x86_64": 250, "aarch64": 219}
_RT_SIGACTION = {"x86_64": 13, "aarch64": 134}
_OPEN_TREE, _MOVE_MOUNT, _FSOPEN, _FSCONFIG, _FSMOUNT = 428, 429, 430, 431, 432
_CLOSE_RANGE, _MOUNT_SETATTR = 436, 442
_LANDLOCK_CREATE_RULESET, _LANDLOCK_ADD_RULE, _LANDLOCK_RESTRICT_SELF = 444, 445, 446
_LANDLOCK_ALL, _LANDLOCK_READ_FILE = (1 << 13) - 1, 1 << 2  # of the first version's rights on files
_KEYCTL_JOIN_SESSION_KEYRING = 1

_SIOCSIFADDR = 0x8916
_SIOCSIFNETMASK = 0x891C
_SIOCGIFFLAGS, _SIOCSIFFLAGS, _IFF_UP = 0x8913, 0x8914, 0x1
_CAPABILITY_VERSION_3 = 0x20080522

MACHINE = os.uname().machine
_libc = ctypes.CDLL(None, use_errno=True)  # the C library already in the process: no search, no path
_syscall = _libc.syscall
_syscall.restype = ctypes.c_long


def _done(result: int, call: str, path: str | None = None) -> int:
    """The result, or the errno as an OSError that says which call failed on what."""
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, call + ": " + os.strerror(number), path)
    return result


def _text(value: str | None) -> bytes | None:
    return None if value is None else os.fsencode(value)


def unshare(flags: int) -> None:
    """New namespaces for this process (CLONE_NEWPID: for its children)."""
    _done(_libc.unshare(flags), f"unshare({flags:#x})")


def enter_namespace(fd: int, kind: int) -> None:
    """setns: join the namespace behind `fd`, which must be of `kind`."""
    _done(_libc.setns(fd, kind), "setns")


def fork_in_pid_namespace(own: int) -> int:
    """fork; the child is pid 1 of a new pid namespace. `own`: descriptor of the caller's own pid namespace.

    Setting the caller's pid-namespace-for-children back afterwards is what allows to do it again: a process whose
    namespace for children has lost its pid 1 can't fork any more.
    """
    unshare(CLONE_NEWPID)
    try:
        pid = os.fork()
    except BaseException:
        enter_namespace(own, CLONE_NEWPID)
        raise
    if pid:
        enter_namespace(own, CLONE_NEWPID)
    return pid


def mount(source: str, target: str, kind: str | None, flags: int = 0, options: str | None = None) -> None:
    _done(
        _libc.mount(_text(source), _text(target), _text(kind), ctypes.c_ulong(flags), _text(options)), "mount", target
    )


def unmount(target: str, flags: int = MNT_DETACH) -> None:
    _done(_libc.umount2(_text(target), flags), "umount", target)


def pivot_root(new: str, old: str) -> None:
    _done(_syscall(_PIVOT_ROOT[MACHINE], _text(new), _text(old)), "pivot_root", new)


def clone_tree(directory: int, name: str, *, recursive: bool = False) -> int:
    """A detached copy of the mount at `name` under `directory`: nothing but this descriptor leads to it.

    A symbolic link as the last component is refused (the copy would be of the link itself), so whoever owns
    `directory` can't point us elsewhere, as long as `name` is a single component.
    """
    flags = _OPEN_TREE_CLONE | _O_CLOEXEC | _AT_SYMLINK_NOFOLLOW | (_AT_RECURSIVE if recursive else 0)
    return _done(_syscall(_OPEN_TREE, directory, _text(name), flags), "open_tree", name)


def restrict_mount(target: int | str, attributes: int, *, recursive: bool = False) -> None:
    """Add mount attributes (ATTR_*) to the mount behind a descriptor or at a path; never takes one away."""
    request = struct.pack("=QQQQ", attributes, 0, 0, 0)
    directory, path = (target, "") if isinstance(target, int) else (-100, target)
    flags = (_AT_EMPTY_PATH if path == "" else 0) | (_AT_RECURSIVE if recursive else 0)
    result = _syscall(_MOUNT_SETATTR, directory, _text(path), flags, request, ctypes.c_size_t(len(request)))
    _done(result, "mount_setattr", path or None)


def attach_tree(tree: int, target: str) -> None:
    """move_mount: put a detached mount at `target`."""
    _done(_syscall(_MOVE_MOUNT, tree, b"", -100, _text(target), _MOVE_MOUNT_F_EMPTY_PATH), "move_mount", target)


def new_filesystem(kind: str, options: dict[str, str | None], attributes: int) -> int:
    """A detached mount of a new file system; an option without value is a flag."""
    context = _done(_syscall(_FSOPEN, _text(kind), 1), "fsopen", kind)
    try:
        for key, value in options.items():
            command = _FSCONFIG_SET_FLAG if value is None else _FSCONFIG_SET_STRING
            _done(_syscall(_FSCONFIG, context, command, _text(key), _text(value), 0), "fsconfig " + key, kind)
        _done(_syscall(_FSCONFIG, context, _FSCONFIG_CMD_CREATE, None, None, 0), "fsconfig create", kind)
        return _done(_syscall(_FSMOUNT, context, 1, attributes), "fsmount", kind)
    finally:
        os.close(context)


def prctl(option: int, value: int = 0) -> None:
    zero = ctypes.c_ulong(0)
    _done(_libc.prctl(option, ctypes.c_ulong(value), zero, zero, zero), f"prctl({option})")


def drop_capabilities(but: int = 0) -> None:
    """Empty every capability set, the bounding set first (that needs CAP_SETPCAP). There is no way back.

    but: a mask of those that this process keeps, and nothing that it executes will get."""
    for capability in range(64):
        if _libc.prctl(PR_CAPBSET_DROP, ctypes.c_ulong(capability), 0, 0, 0) < 0:
            break  # EINVAL: past the last capability this kernel knows. EPERM shows in the check of our tests
    header = struct.pack("=Ii", _CAPABILITY_VERSION_3, 0)
    _done(_libc.capset(header, struct.pack("=6I", but, but, 0, 0, 0, 0)), "capset")


def install_seccomp(program: bytes) -> None:
    """Load a filter made by `sandbox/seccomp.py`; needs no_new_privs or CAP_SYS_ADMIN."""
    buffer = ctypes.create_string_buffer(program, len(program))
    header = struct.pack("@HP", len(program) // 8, ctypes.addressof(buffer))
    zero = ctypes.c_ulong(0)
    _done(_libc.prctl(PR_SET_SECCOMP, ctypes.c_ulong(SECCOMP_MODE_FILTER), header, zero, zero), "prctl(SECCOMP)")


def attach_filter(sock: socket.socket, program: bytes) -> None:
    """Let the socket receive only what a filter of packets, an array of struct sock_filter, lets through."""
    buffer = ctypes.create_string_buffer(program, len(program))
    sock.setsockopt(
        socket.SOL_SOCKET, _SO_ATTACH_FILTER, struct.pack("@HP", len(program) // 8, ctypes.addressof(buffer))
    )


def forbid_files(but: Path | None = None) -> None:
    """Open no file from now on, except to read those below a directory (Linux 5.13: landlock)."""
    rules = _done(
        _syscall(_LANDLOCK_CREATE_RULESET, struct.pack("=Q", _LANDLOCK_ALL), ctypes.c_size_t(8), 0), "landlock"
    )
    place = None if but is None else os.open(but, os.O_PATH | os.O_CLOEXEC)
    try:
        if place is not None:
            rule = struct.pack("=Qi", _LANDLOCK_READ_FILE, place)
            _done(_syscall(_LANDLOCK_ADD_RULE, rules, 1, rule, 0), "landlock")
        _done(_syscall(_LANDLOCK_RESTRICT_SELF, rules, 0), "landlock")
    finally:
        if place is not None:
            os.close(place)
        os.close(rules)


def heed_library_signals() -> None:
    """Give 32 and 33 their defaults again: the C library keeps them from `signal`, but hands them down ignored to what
    it starts by posix_spawn, and so does whatever was started that way (make, for one)."""
    for number in (32, 33):
        _done(_syscall(_RT_SIGACTION[MACHINE], number, bytes(32), None, ctypes.c_size_t(8)), "rt_sigaction")


def forget_keyrings() -> None:
    """Join a new, empty session keyring, so that children don't inherit the keys of whoever started the service."""
    result = _syscall(_KEYCTL[MACHINE], _KEYCTL_JOIN_SESSION_KEYRING, None)
    if result < 0 and ctypes.get_errno() != 38:  # ENOSYS: a kernel without keyrings has none to forget
        _done(result, "keyctl(JOIN_SESSION_KEYRING)")


def close_from(first: int) -> None:
    """Close every descriptor from `first` on."""
    if _syscall(_CLOSE_RANGE, ctypes.c_uint(first), ctypes.c_uint(0xFFFFFFFF), 0) < 0:
        os.closerange(first, os.sysconf("SC_OPEN_MAX"))


def loopback_up() -> None:
    """Bring `lo` of this network namespace up."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as handle:
        answer = fcntl.ioctl(handle, _SIOCGIFFLAGS, struct.pack("16sH14x", b"lo", 0))
        (flags,) = struct.unpack_from("H", answer, 16)
        fcntl.ioctl(handle, _SIOCSIFFLAGS, struct.pack("16sH14x", b"lo", flags | _IFF_UP))


def add_loopback_address(address: str) -> None:
    """One more on `lo`, beside 127.0.0.1/8."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as handle:
        for request, wanted in ((_SIOCSIFADDR, address), (_SIOCSIFNETMASK, "255.255.255.255")):
            packed = struct.pack("16sHH4s8x", b"lo:1", socket.AF_INET, 0, socket.inet_aton(wanted))
            fcntl.ioctl(handle, request, packed)
