"""Disks of a test's own, which it may fill, and what is mounted of files on them."""

import contextlib
import os
import subprocess
import tempfile
from collections.abc import Generator
from pathlib import Path

import pytest

from lamplighter.sandbox.probe import disk_for_tmp

MB = 1 << 20


@contextlib.contextmanager
def small_disk(size: int) -> Generator[Path]:
    """A directory with a file system of its own, which nobody may use any more at the end; size: MB."""
    with tempfile.TemporaryDirectory() as directory:
        os.chmod(directory, 0o755)
        image, place = Path(directory, "image"), Path(directory, "disk")
        place.mkdir()
        with image.open("wb") as file:
            file.truncate(size * MB)
        subprocess.run(["mkfs.ext4", "-q", "-F", "-m", "0", str(image)], check=True)
        subprocess.run(["mount", "-o", "loop", str(image), str(place)], check=True)
        try:
            yield place
        finally:
            subprocess.run(["umount", str(place)], check=True)


@contextlib.contextmanager
def disk_for_functions(size: int) -> Generator[Path]:
    """One on which functions can have their /tmp; a test is skipped where there is none. size: MB."""
    if os.geteuid() != 0:
        pytest.skip("file systems of our own need root")
    if reason := disk_for_tmp(Path(tempfile.gettempdir())):
        pytest.skip(f"no /tmp on the disk here: {reason}")
    with small_disk(size) as place:
        yield place


@contextlib.contextmanager
def filled(place: Path, but: int = 0) -> Generator[None]:
    """While the block runs, nothing is free on that disk but so many bytes, or a little more."""
    file = os.open(place, os.O_TMPFILE | os.O_RDWR)
    try:
        end, piece = 0, 64 * MB
        while piece >= 4096:
            try:
                os.posix_fallocate(file, end, piece)
                end += piece
            except OSError:
                piece //= 2
        os.ftruncate(file, end - but)
        yield
    finally:
        os.close(file)


def loop_devices(below: Path) -> list[str]:
    """Those over files in a directory, or below it."""
    found: list[str] = []
    for backing in Path("/sys/block").glob("loop*/loop/backing_file"):
        with contextlib.suppress(OSError):  # it has just gone
            if backing.read_text().startswith(f"{below}/"):
                found.append(backing.parts[3])
    return found
