"""The file system every sandbox of one runtime sees before its own parts are added: minimal and read-only.

Built on a tmpfs in the fork server's own mount namespace, then made its root with the host's detached. Nothing of the
host is in it but programs and libraries (/usr), the runtime's interpreter (/var/lang), the runtime client
(/var/runtime) and public certificates. Sandboxes get copies of this namespace, so what isn't here can't be reached.
A Python that only makes the sandboxes of another runtime is hidden again before any guest runs.
"""

import contextlib
import os
import re
import shutil
import stat
from dataclasses import dataclass
from pathlib import Path

from lamplighter.sandbox import linux
from lamplighter.sandbox.messages import Runtime

GUEST_UID, GUEST_GID = 993, 990  # as AWS's sandbox user appears to functions
PACKAGE = "/mnt"  # where the fork server finds its own code
_LANG = "/var/lang"
SDK = "/var/runtime/sdk"
_PYTHON = PACKAGE + "/python"  # the prefix of a Python that is not the runtime's
STAND_INS = (PACKAGE, "/var/task", "/opt")  # what the fork server unmounts once it is up
_LIBRARY_PATH = "/var/lang/lib:/lib64:/usr/lib64:/var/runtime:/var/runtime/lib:/var/task:/var/task/lib:/opt/lib"
_READ_ONLY = linux.ATTR_RDONLY | linux.ATTR_NOSUID | linux.ATTR_NODEV
_DEVICES = {"null": (1, 3), "zero": (1, 5), "full": (1, 7), "random": (1, 8), "urandom": (1, 9)}
_EMPTY = (
    "var/task",
    "var/runtime",
    "var/lang",
    "opt",
    "tmp",
    "proc",
    "dev",
    "mnt",
    "etc/ssl/certs",
    "sys",
    "run",
    "usr",
)
_FROM_HOST = ("ld.so.cache", "protocols", "services", "mime.types", "ssl/openssl.cnf", "ssl/cert.pem")
_CERTIFICATES = ("etc/ssl/certs", "etc/ca-certificates", "etc/pki/ca-trust/extracted", "etc/pki/tls/certs")
_JAVA = re.compile(r"java-\d+-openjdk")  # where Debian keeps the files of a Java's conf
_HIDDEN = ("usr/local", "usr/src", "usr/games")  # the operator's own, not the distribution's
_FORK_SERVER_FILES = (
    "linux.py",
    "pages.py",
    "channel.py",
    "copies.py",
    "guest.py",
    "inside.py",
    "diversion.py",
    "bare.py",
    "extensions.py",
    "gate.py",
    "forkserver.py",
)
_FILES = {
    "passwd": "root:x:0:0:root:/:/sbin/nologin\n"
    f"sbx_user1051:x:{GUEST_UID}:{GUEST_GID}::/home/sbx_user1051:/sbin/nologin\n"
    "nobody:x:65534:65534:nobody:/:/sbin/nologin\n",
    "group": f"root:x:0:\nsbx_user1051:x:{GUEST_GID}:\nnobody:x:65534:\n",
    "nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\n",
    "hosts": "127.0.0.1 localhost\n127.0.0.1 sandbox.localdomain sandbox\n::1 localhost\n",
    "resolv.conf": "nameserver 169.254.78.1\noptions timeout:1 attempts:1\n",
}


@dataclass(frozen=True, slots=True)
class _Program:
    """A program of the host's: its real file is prefix/bin/name."""

    prefix: str
    name: str

    @classmethod
    def at(cls, path: str) -> "_Program":
        real = os.path.realpath(path)
        return cls(os.path.dirname(os.path.dirname(real)), os.path.basename(real))


def library_path(runtime: Runtime) -> str:
    """The dynamic linker reads it when the fork server starts, for all sandboxes that are forked from it: so for Python
    it is as AWS sets it."""
    return _LIBRARY_PATH if runtime.kind == "python" else f"{_PYTHON}/lib"


def enter(mount_point: str, runtime: Runtime) -> str:
    """Build the root and make it this process's. Gives the path, inside, of the Python for the fork server.

    The caller is pid 1 of a new pid namespace with one thread. mount_point: any directory; the mount over it exists in
    our namespace only and goes with it.
    """
    python = _Program.at(runtime.interpreter)
    linux.unshare(linux.CLONE_NEWNS)
    linux.mount("none", "/", None, linux.MS_REC | linux.MS_PRIVATE)
    linux.mount("tmpfs", mount_point, "tmpfs", linux.MS_NOSUID, "mode=755,size=16m")
    os.chdir(mount_point)
    for directory in _EMPTY:
        os.makedirs(directory, mode=0o755, exist_ok=True)
    os.chmod("tmp", 0o1777)
    _write_etc()
    _bind("/usr", "usr")
    if runtime.kind == "python":
        _bind_prefix(python)
    elif runtime.program:
        _bind_program(_Program.at(runtime.program))
    _hide_the_operators()
    _link_usr()
    if runtime.client:
        _bind(runtime.client, "var/runtime")
    if runtime.sdk:
        _lay_out_sdk(runtime.sdk)
    _make_devices()
    _copy_package()
    inside = _LANG if runtime.kind == "python" else _bind_python(python)
    linux.mount("proc", "proc", "proc", linux.MS_NOSUID | linux.MS_NODEV | linux.MS_NOEXEC)
    linux.pivot_root(".", ".")  # the old root is now on top of the new one, at the same place
    linux.unmount(".")
    os.chdir("/")
    linux.restrict_mount("/", linux.ATTR_RDONLY | linux.ATTR_NOSUID | linux.ATTR_NODEV)
    return f"{inside}/bin/{python.name}"


def _write_etc() -> None:
    for name, text in _FILES.items():
        Path("etc", name).write_text(text)
    for name in _FROM_HOST:
        if os.path.isfile("/etc/" + name):
            shutil.copyfile("/etc/" + name, "etc/" + name)
    os.symlink("/usr/share/zoneinfo/UTC", "etc/localtime")
    os.symlink("/proc/self/mounts", "etc/mtab")
    java = [f"etc/{name}" for name in os.listdir("/etc") if _JAVA.fullmatch(name)]
    for source in (*_CERTIFICATES, "etc/alternatives", *java):
        if os.path.isdir("/" + source):
            os.makedirs(source, exist_ok=True)
            _bind("/" + source, source)
    if os.path.isfile("/etc/os-release"):
        shutil.copyfile("/etc/os-release", "etc/os-release")


def _bind(source: str, target: str) -> None:
    """The host's tree (or file) at `source`, read-only. With what is mounted below it: a user namespace allows nothing
    else."""
    tree = linux.clone_tree(-100, os.path.realpath(source), recursive=True)
    try:
        linux.restrict_mount(tree, _READ_ONLY, recursive=True)
        linux.attach_tree(tree, target)
    finally:
        os.close(tree)


def _bind_prefix(interpreter: _Program) -> None:
    """All of it: nobody can tell what belongs to a Python and what does not."""
    if interpreter.prefix == "/usr":
        os.rmdir("var/lang")
        os.symlink("/usr", "var/lang")
    else:
        _bind(interpreter.prefix, "var/lang")


def _bind_program(program: _Program) -> None:
    """The program and the libraries beside it: the rest of its prefix, which may be /usr/local, is not for guests."""
    if program.prefix == "/usr":
        os.rmdir("var/lang")
        os.symlink("/usr", "var/lang")
        return
    os.mkdir("var/lang/bin")
    Path("var/lang/bin", program.name).touch()
    _bind(f"{program.prefix}/bin/{program.name}", f"var/lang/bin/{program.name}")
    for directory in ("lib", "conf"):  # conf: Java's
        if os.path.isdir(f"{program.prefix}/{directory}"):
            os.mkdir(f"var/lang/{directory}")
            _bind(f"{program.prefix}/{directory}", f"var/lang/{directory}")


def _bind_python(python: _Program) -> str:
    """A Python that is not the runtime's, where it is unmounted before any guest runs. Gives its prefix inside."""
    if python.prefix == "/usr":
        return "/usr"
    os.mkdir("." + _PYTHON)
    _bind(python.prefix, "." + _PYTHON)
    return _PYTHON


def _hide_the_operators() -> None:
    for hidden in _HIDDEN:
        if os.path.isdir(hidden):
            linux.mount("var/task", hidden, None, linux.MS_BIND)
            linux.restrict_mount(hidden, _READ_ONLY)


def _link_usr() -> None:
    """/bin, /lib and so on: links into /usr, or trees of their own on hosts that never merged them."""
    for name in ("bin", "sbin", "lib", "lib32", "lib64", "libx32"):
        host = "/" + name
        if os.path.islink(host):
            os.symlink(os.readlink(host), name)
        elif os.path.isdir(host):
            os.mkdir(name)
            _bind(host, name)


def _lay_out_sdk(parts: tuple[str, ...]) -> None:
    """These and nothing that may be beside them where the operator installed them. Every sandbox copies each mount, so
    what is small is copied here instead."""
    linux.mount("tmpfs", "." + SDK, "tmpfs", linux.MS_NOSUID | linux.MS_NODEV, "mode=755,size=4m")
    for part in parts:
        target = f".{SDK}/{os.path.basename(part)}"
        if not os.path.isdir(part):
            shutil.copyfile(part, target)
        elif part.endswith(".dist-info"):
            shutil.copytree(part, target, ignore=shutil.ignore_patterns("RECORD"), copy_function=shutil.copyfile)
        else:
            os.mkdir(target)
            _bind(part, target)
    linux.restrict_mount("." + SDK, _READ_ONLY)


def _make_devices() -> None:
    """A /dev of five harmless devices; no /dev/shm, as on AWS. Its tmpfs is read-only, but must allow devices."""
    linux.mount("tmpfs", "dev", "tmpfs", linux.MS_NOSUID | linux.MS_NOEXEC, "mode=755,size=64k")
    for name, (major, minor) in _DEVICES.items():
        path = "dev/" + name
        try:
            os.mknod(path, 0o666 | stat.S_IFCHR, os.makedev(major, minor))
            os.chmod(path, 0o666)
            os.close(os.open(path, os.O_RDONLY | os.O_CLOEXEC))
        except PermissionError:  # a user namespace makes no devices, and its tmpfs opens none
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)
            os.close(os.open(path, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o666))
            linux.mount("/dev/" + name, path, None, linux.MS_BIND)
    for name, target in (("fd", "fd"), ("stdin", "fd/0"), ("stdout", "fd/1"), ("stderr", "fd/2")):
        os.symlink("/proc/self/" + target, "dev/" + name)
    linux.restrict_mount("dev", linux.ATTR_RDONLY | linux.ATTR_NOSUID | linux.ATTR_NOEXEC)


def _copy_package() -> None:
    """The fork server's own few files, on a tmpfs of their own, so that they can go away before any guest runs."""
    linux.mount("tmpfs", "." + PACKAGE, "tmpfs", linux.MS_NOSUID | linux.MS_NODEV, "mode=755,size=1m")
    package = Path("." + PACKAGE, "lamplighter", "sandbox")
    package.mkdir(parents=True)
    (package.parent / "__init__.py").touch()
    (package / "__init__.py").touch()
    for name in _FORK_SERVER_FILES:
        shutil.copyfile(Path(__file__).parent / name, package / name)
    # The dynamic linker never looks again into a directory that wasn't there at its first look.
    os.makedirs("." + PACKAGE + "/stand-in/lib")
    for target in ("var/task", "opt"):
        linux.mount("." + PACKAGE + "/stand-in", target, None, linux.MS_BIND)
