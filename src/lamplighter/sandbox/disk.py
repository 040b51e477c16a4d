"""File systems of a given size for /tmp, on the disk that the data directory is on.

Each is an ext4 in a file that has no name, reached through a loop device that ends with its last user. So when the
mounts are gone nothing is left, whoever was killed, and nothing has to be cleaned up. A new one is the copy of a
template, which costs a few hundred kilobytes; the rest of the file is a hole until a guest writes there.

Runs as root. Guests write through the kernel's file system, never into an image, and nothing here looks into one.
"""

import contextlib
import errno
import fcntl
import os
import shutil
import stat
import struct
import subprocess
import threading
from dataclasses import dataclass
from pathlib import Path

from lamplighter.sandbox import linux

MB = 1 << 20
_BLOCK = 4096
_OVERHEAD = 0.05  # of the size, for inodes and the kernel's own reserve; with _LEAST at most what a guest could gain
_LEAST = 4 * MB
_ROOT = 16 * _BLOCK  # what an empty one takes, and a little
_INODES = 16_384  # bytes for each: 32,768 files in 512 MB
# No journal: who would replay it? No feature that is not needed, whatever the host's mke2fs.conf says.
_FEATURES = "none,extents,filetype,sparse_super,large_file,huge_file,dir_index,dir_nlink,extra_isize,flex_bg,uninit_bg"
_MAKE_LIMIT = 60.0  # seconds
_IN_MEMORY = ("tmpfs", "ramfs")
_CONTROL = "/dev/loop-control"
_LOOP_MAJOR = 7
_LOOP_CTL_GET_FREE = 0x4C82
_LOOP_CONFIGURE = 0x4C0A
_LO_FLAGS_AUTOCLEAR, _LO_FLAGS_DIRECT_IO = 4, 16
_COPY = 1 << 20
_TRIES = 64  # to be first at a free loop device


@dataclass(frozen=True, slots=True)
class Room:
    """What is free on the disk, and how much there is at all. Bytes."""

    free: int
    total: int


@dataclass(frozen=True, slots=True)
class Image:
    """A mounted file system. size: bytes that guests can write."""

    file: int
    device: str  # its name in /sys
    mount: int
    size: int

    def taken(self) -> int:
        """Bytes."""
        status = os.fstatvfs(self.mount)
        return (status.f_blocks - status.f_bfree) * _BLOCK

    def hold(self, most: int) -> None:
        """Let it take no more than this, in bytes, nor than its size. Who writes more is told that it is full."""
        status = os.fstatvfs(self.mount)
        taken = (status.f_blocks - status.f_bfree) * _BLOCK
        free = max(0, min(most, self.size) - taken)
        reserve = max(0, status.f_bfree - free // _BLOCK)
        Path("/sys/fs/ext4", self.device, "reserved_clusters").write_text(str(reserve))

    def close(self) -> None:
        """Let go of it: it is gone with its last mount."""
        for descriptor in (self.mount, self.file):
            if descriptor >= 0:
                os.close(descriptor)


@dataclass(frozen=True, slots=True)
class _Template:
    file: int
    length: int
    pieces: list[tuple[int, int]]  # offset and length of what is no hole


class Disk:
    """Raises OSError when this host or this directory can't do it; the text says what would help."""

    def __init__(self, directory: str) -> None:
        self._directory = directory
        self._templates: dict[int, _Template] = {}
        self._lock = threading.Lock()  # over the templates
        make = shutil.which("mkfs.ext4", path="/usr/sbin:/sbin:/usr/bin:/bin")
        if make is None:
            raise OSError(errno.ENOENT, "mkfs.ext4 is missing; install e2fsprogs")
        self._make = make
        if _kind_of(directory) in _IN_MEMORY:
            raise OSError(errno.EOPNOTSUPP, "the data directory is in memory; choose another --data-dir", directory)
        try:
            self._control = os.open(_CONTROL, os.O_RDWR | os.O_CLOEXEC)
        except OSError as error:
            help_ = "load the kernel module loop; in a container, run it with --privileged"
            raise OSError(error.errno, f"no loop devices: {error.strerror}; {help_}", _CONTROL) from error

    def room(self) -> Room:
        status = os.statvfs(self._directory)
        return Room(status.f_bavail * status.f_frsize, status.f_blocks * status.f_frsize)

    def image(self, size: int) -> Image:
        """A new one for `size` MB."""
        with self._lock:
            template = self._templates.get(size)
            if template is None:
                template = self._templates[size] = self._template(size)
        file = self._file(template.length)
        device = mount = -1
        try:
            for offset, length in template.pieces:
                _copy(template.file, file, offset, length)
            device, number = self._attach(file)
            mount = _mount(device)
            image = Image(file, f"loop{number}", mount, size * MB + _ROOT)
            image.hold(image.size)
            return image
        except BaseException:
            os.close(file)
            if mount >= 0:
                os.close(mount)
            raise
        finally:
            if device >= 0:
                os.close(device)

    def _template(self, size: int) -> _Template:
        length = size * MB + max(_LEAST, int(size * MB * _OVERHEAD))
        file = self._file(length)
        try:
            # -F twice: an earlier mount may have the same name, a descriptor's, and would be taken for this file.
            options = ("-q", "-F", "-F", "-b", str(_BLOCK), "-O", _FEATURES, "-m", "0", "-I", "256", "-i", str(_INODES))
            subprocess.run(
                (self._make, *options, "-E", "nodiscard,lazy_itable_init=1", f"/proc/self/fd/{file}"),
                pass_fds=[file],
                check=True,
                capture_output=True,
                timeout=_MAKE_LIMIT,
                env={"PATH": os.defpath, "LC_ALL": "C"},
            )
            device, _ = self._attach(file)
            try:
                mount = _mount(device)
            finally:
                os.close(device)
            root = os.open(f"/proc/self/fd/{mount}", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            os.rmdir("lost+found", dir_fd=root)
            os.fchmod(root, 0o1777)
            os.close(root)
            os.close(mount)  # the last one: what it has changed is in the file now
            return _Template(file, length, _pieces(file))
        except subprocess.SubprocessError as error:
            os.close(file)
            raise OSError(errno.EIO, f"mkfs.ext4: {error}") from error
        except OSError:
            os.close(file)
            raise

    def _file(self, length: int) -> int:
        file = os.open(self._directory, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600)
        os.ftruncate(file, length)
        return file

    def _attach(self, file: int) -> tuple[int, int]:
        """A loop device over the file: a descriptor, and its number. It is gone when nobody has it open or mounted."""
        info = struct.pack("=5Q4I64s64s32s2Q", *[0] * 8, _LO_FLAGS_AUTOCLEAR | _LO_FLAGS_DIRECT_IO, *[b""] * 3, 0, 0)
        for _ in range(_TRIES):
            number = fcntl.ioctl(self._control, _LOOP_CTL_GET_FREE)
            device = _open_loop(number)
            try:
                fcntl.ioctl(device, _LOOP_CONFIGURE, struct.pack("=II", file, _BLOCK) + info + bytes(64))
            except OSError as error:
                os.close(device)
                if error.errno != errno.EBUSY:  # somebody else took it
                    raise OSError(error.errno, f"loop device: {error.strerror}", f"/dev/loop{number}") from error
            else:
                return device, number
        raise OSError(errno.EBUSY, "no free loop device")


def _open_loop(number: int) -> int:
    """In a container /dev may be what there was when it began, and nobody adds a node for a device that is new."""
    path, flags = f"/dev/loop{number}", os.O_RDWR | os.O_CLOEXEC
    with contextlib.suppress(FileNotFoundError):
        return os.open(path, flags)
    with contextlib.suppress(FileExistsError):
        os.mknod(path, 0o600 | stat.S_IFBLK, os.makedev(_LOOP_MAJOR, number))
    return os.open(path, flags)


def _mount(device: int) -> int:
    options: dict[str, str | None] = {"source": f"/proc/self/fd/{device}", "noinit_itable": None, "errors": "continue"}
    return linux.new_filesystem("ext4", options, linux.ATTR_NOSUID | linux.ATTR_NODEV | linux.ATTR_NOATIME)


def _pieces(file: int) -> list[tuple[int, int]]:
    found: list[tuple[int, int]] = []
    end = 0
    while True:
        try:
            start = os.lseek(file, end, os.SEEK_DATA)
        except OSError as error:
            if error.errno != errno.ENXIO:
                raise
            return found
        end = os.lseek(file, start, os.SEEK_HOLE)
        found.append((start, end - start))


def _copy(source: int, target: int, offset: int, length: int) -> None:
    end = offset + length
    while offset < end:
        piece = os.pread(source, min(_COPY, end - offset), offset)
        if any(piece):
            os.pwrite(target, piece, offset)
        offset += len(piece)


def _kind_of(directory: str) -> str | None:
    """The type of the file system, as far as the mounts we see tell."""
    device = os.stat(directory).st_dev
    wanted = f"{os.major(device)}:{os.minor(device)}"
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        before, _, after = line.partition(" - ")
        if before.split(" ")[2] == wanted:
            return after.split(" ")[0]
    return None
