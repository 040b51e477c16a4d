"""What would help: sentences for the errors an operator meets when a sandbox can't be made."""

import errno

_BY_CALL = (
    ("open_tree", errno.ENOSYS, "Linux 5.12 or later is needed"),
    ("mount_setattr", errno.ENOSYS, "Linux 5.12 or later is needed"),
    ("open_tree", errno.ENOENT, "the code package is not in the code directory; it may have been removed"),
    ("unshare", errno.EPERM, "run as root, or allow user namespaces (sysctl user.max_user_namespaces, and on Debian or "
     "Ubuntu kernel.unprivileged_userns_clone=1, kernel.apparmor_restrict_unprivileged_userns=0)"),
    ("unshare", errno.ENOSPC, "raise the sysctl user.max_*_namespaces that is exhausted"),
    ("mount", errno.EPERM, "in a container, run it with --privileged or --security-opt systempaths=unconfined"),
    ("prctl", errno.EINVAL, "the kernel needs CONFIG_SECCOMP_FILTER"),
    ("isolation full", errno.EPERM, "start as root or choose --isolation user"),
)  # fmt: skip
_BY_NUMBER = {
    errno.ENOSPC: "the disk, or a kernel limit on namespaces or cgroups, is full",
    errno.ENOMEM: "the host is out of memory",
    errno.EAGAIN: "the host is out of processes (see ulimit -u and pids.max)",
    errno.EMFILE: "raise the limit on open files (ulimit -n, LimitNOFILE=)",
    errno.ENFILE: "raise the sysctl fs.file-max",
}


def remedy(number: int | None, reason: str) -> str:
    """ "; what would help", or nothing when we don't know."""
    for call, code, text in _BY_CALL:
        if code == number and call in reason:
            return f"; {text}"
    return f"; {_BY_NUMBER[number]}" if number in _BY_NUMBER else ""
