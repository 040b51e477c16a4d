"""What this host allows us to isolate, found by trying, with what to do about what it doesn't.

For `lamplighter doctor`, and for `--isolation auto` to choose. Each check runs in a child of its own that ends at once,
so nothing it makes survives it. Call this while the process has one thread.
"""

import errno
import os
import tempfile
from collections.abc import Callable, Set
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from lamplighter.sandbox import diversion, linux, netlink, seccomp
from lamplighter.sandbox.cgroup import WANTED, hierarchies
from lamplighter.sandbox.contract import Isolation
from lamplighter.sandbox.disk import Disk
from lamplighter.sandbox.reach import Reach
from lamplighter.sandbox.remedies import remedy
from lamplighter.sandbox.storage import growth_of_a_new_one

_USER_HELP = (
    "sysctl user.max_user_namespaces above 0; on Debian and Ubuntu also kernel.unprivileged_userns_clone=1 and "
    "kernel.apparmor_restrict_unprivileged_userns=0; in a container, a seccomp profile that allows unshare"
)
_UNHELD: dict[Isolation, tuple[str, ...]] = {
    "full": (),
    "user": (
        "to the host, every function is the user who started Lamplighter: a hole in the kernel's namespaces leads to "
        "that user's files",
        "/tmp is in memory: what a function writes there counts as memory that it uses",
    ),
    "none": (
        "functions read and write whatever the user who started Lamplighter may: files, other functions' code and /tmp",
        "functions see, signal and trace every process of that user, this service included",
        "functions use the host's network, with everything on its loopback, other functions' Runtime APIs included",
        "system calls are not filtered, /tmp has no size, and nothing is read-only",
    ),
}
_NO_WAY_OUT = {
    0: "",
    errno.EAFNOSUPPORT: "the kernel needs packet sockets (CONFIG_PACKET)",
    errno.ENOENT: "nf_tables of this kernel needs bitwise and tproxy (CONFIG_NFT_TPROXY)",
}
_NO_TABLES = "the kernel needs nf_tables with tproxy (CONFIG_NF_TABLES, CONFIG_NFT_TPROXY)"
_UNLIMITED = {
    "memory": "a function's memory is not limited, and the most it used is not known",
    "cpu": "a function's CPU share is not limited",
    "pids": "processes are limited by user id only (RLIMIT_NPROC)",
    "freezer": "what functions leave running goes on between their invocations",
}


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing tried. `remedy`: a sentence, empty when it works."""

    name: str
    works: bool
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class Host:
    kernel: str
    machine: str
    root: bool
    cgroups: str  # "version 1", "version 2", "versions 1 and 2" or "none"
    controllers: frozenset[str]  # of cgroup.WANTED: those we may use
    way_out: Finding  # what `network` internet takes
    findings: tuple[Finding, ...]  # for the best isolation there could be here: full as root, else user

    @property
    def best(self) -> Isolation:
        """What `--isolation auto` means here."""
        if not all(finding.works for finding in self.findings):
            return "none"
        return "full" if self.root else "user"

    def unheld(self, isolation: Isolation) -> tuple[str, ...]:
        return unheld(isolation, self.controllers)


def unheld(isolation: Isolation, controllers: Set[str]) -> tuple[str, ...]:
    """The promises that this isolation does not keep where only these of cgroup.WANTED can be had, a sentence each."""
    return _UNHELD[isolation] + tuple(_UNLIMITED[name] for name in WANTED if name not in controllers)


def probe() -> Host:
    root = os.geteuid() == 0
    findings: list[Finding] = []
    with tempfile.TemporaryDirectory(prefix="lamplighter-probe-") as directory:
        for name, check, help_ in _CHECKS:
            number = _attempt(check, directory, own_user_namespace=not root)
            text = f"{os.strerror(number)}{remedy(number, '')}; {help_}" if number else ""
            findings.append(Finding(name, number == 0, text))
    found = hierarchies()
    versions = sorted({hierarchy.version for hierarchy in found})
    return Host(
        kernel=os.uname().release,
        machine=linux.MACHINE,
        root=root,
        cgroups={0: "none", 1: f"version {versions[0] if versions else 0}", 2: "versions 1 and 2"}[len(versions)],
        controllers=frozenset(
            name
            for hierarchy in found
            if os.access(hierarchy.own, os.W_OK) or os.access(hierarchy.top, os.W_OK)
            for name in hierarchy.controllers
        ),
        way_out=way_out(),
        findings=tuple(findings),
    )


def disk_for_tmp(directory: Path, isolation: Isolation = "full") -> str:
    """What keeps /tmp of functions from being on the disk of `directory`, which need not be there yet, and what would
    help; "": nothing."""
    root = os.geteuid() == 0
    if isolation != "full" or not root:
        return f"{'' if root else 'it needs root, as '}it takes isolation full, not {isolation if root else 'user'}"
    try:
        disk = Disk(str(next(place for place in (directory, *directory.parents) if place.is_dir())))
        growth_of_a_new_one(disk.room(), 0)
        disk.image(512).close()
    except OSError as error:
        return f"{error.strerror}{f' ({error.filename})' if error.filename else ''}"
    return ""


def way_out() -> Finding:
    """Whether this kernel can hold and hand over what functions connect to."""
    number = _attempt(_way_out, "", own_user_namespace=os.geteuid() != 0)
    return Finding("the internet for functions (network)", number == 0, _NO_WAY_OUT.get(number, _NO_TABLES))


def _way_out(_: str) -> None:
    linux.unshare(linux.CLONE_NEWNET)
    linux.loopback_up()
    linux.add_loopback_address(diversion.HOME)
    diversion.open_way_out(netlink.plan(Reach()).prepared(), six=False)


def _attempt(check: Callable[[str], None], directory: str, own_user_namespace: bool) -> int:
    """The errno a child got from the check, 0 for none."""
    pid = os.fork()
    if pid == 0:
        try:
            if own_user_namespace:
                enter_user_namespace()
            check(directory)
            os._exit(0)
        except OSError as error:
            os._exit(error.errno or errno.EIO)
        except KeyError:
            os._exit(errno.ENOSYS)  # a machine we have no filter for
        finally:
            os._exit(errno.EIO)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) & 0xFF


def enter_user_namespace(more: int = 0) -> None:
    """Become root of a new user namespace in which nobody else exists; `more`: further CLONE_NEW* flags."""
    uid, gid = os.geteuid(), os.getegid()
    linux.unshare(linux.CLONE_NEWUSER | more)
    for name, value in (("setgroups", "deny"), ("uid_map", f"0 {uid} 1"), ("gid_map", f"0 {gid} 1")):
        Path("/proc/self", name).write_text(value)


def _namespace(flag: int) -> Callable[[str], None]:
    return lambda _: linux.unshare(flag)


def _private_mounts(directory: str) -> None:
    linux.unshare(linux.CLONE_NEWNS)
    linux.mount("none", "/", None, linux.MS_REC | linux.MS_PRIVATE)
    linux.mount("tmpfs", directory, "tmpfs", linux.MS_NOSUID | linux.MS_NODEV)


def _detached_mounts(directory: str) -> None:
    _private_mounts(directory)
    tree = linux.clone_tree(-100, "/usr", recursive=True)
    linux.restrict_mount(tree, linux.ATTR_RDONLY | linux.ATTR_NOSUID | linux.ATTR_NODEV, recursive=True)
    linux.attach_tree(tree, directory)


def _pivot_root(directory: str) -> None:
    _private_mounts(directory)
    os.chdir(directory)
    linux.pivot_root(".", ".")


def _overlay(directory: str) -> None:
    _private_mounts(directory)
    os.chdir(directory)
    for name in ("lower", "upper", "merged"):
        os.mkdir(name)
    linux.mount("overlay", "merged", "overlay", linux.MS_RDONLY, "lowerdir=upper:lower")


def _proc(directory: str) -> None:
    _private_mounts(directory)
    linux.unshare(linux.CLONE_NEWPID)
    pid = os.fork()
    if pid == 0:
        with ExitStack() as end:
            end.callback(os._exit, errno.EPERM)
            linux.mount("proc", directory, "proc", linux.MS_NOSUID | linux.MS_NODEV | linux.MS_NOEXEC, "hidepid=2")
            os._exit(0)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if code:
        raise OSError(code, os.strerror(code))


def _filter(_: str) -> None:
    linux.prctl(linux.PR_SET_NO_NEW_PRIVS, 1)
    linux.install_seccomp(seccomp.program(linux.MACHINE))


_CONTAINER = "in a container, run it with --privileged or give it CAP_SYS_ADMIN"
_CHECKS: tuple[tuple[str, Callable[[str], None], str], ...] = (
    ("user namespace", _namespace(linux.CLONE_NEWUSER), _USER_HELP),
    ("mount namespace", _namespace(linux.CLONE_NEWNS), _CONTAINER),
    ("pid namespace", _namespace(linux.CLONE_NEWPID), _CONTAINER),
    ("network namespace", _namespace(linux.CLONE_NEWNET), _CONTAINER),
    ("ipc namespace", _namespace(linux.CLONE_NEWIPC), _CONTAINER),
    ("uts namespace", _namespace(linux.CLONE_NEWUTS), _CONTAINER),
    ("cgroup namespace", _namespace(linux.CLONE_NEWCGROUP), _CONTAINER),
    ("open_tree, mount_setattr", _detached_mounts, "Linux 5.12 or later is needed"),
    ("pivot_root", _pivot_root, _CONTAINER),
    ("overlayfs", _overlay, "load the kernel module overlay; without root, Linux 5.11 or later is needed"),
    ("a /proc of its own", _proc, "in a container, run it with --security-opt systempaths=unconfined"),
    ("seccomp filter", _filter, "the kernel needs CONFIG_SECCOMP_FILTER, and x86_64 or aarch64"),
)
