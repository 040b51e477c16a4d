"""Deployment packages as hostile input: is this zip one, and what comes out of it.

`check` reads a whole package without writing anything, so what it lets pass can be unpacked later; `unpack` writes it
below a directory and nowhere else. Sizes are counted on the bytes that really come out, never taken from the headers.
Refusals are AWS's (AWS: spec 1.2, 1.8, 8). Both block: run them in a thread.
"""

import io
import os
import stat
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Final, Literal

from lamplighter.model.errors import InvalidParameterValueException, RequestEntityTooLargeException

LARGEST_ZIP: Final = 52_428_800  # bytes, given directly
LARGEST_UNZIPPED: Final = 262_144_000  # bytes, the function and its layers together
MOST_ENTRIES: Final = 500_000  # a zip of empty files would cost inodes and memory out of proportion to its size
LONGEST_NAME: Final = 255  # bytes of a component, as file systems have it
LONGEST_PATH: Final = 3072  # bytes, leaving room for where we put it
LONGEST_LINK: Final = 1024  # bytes of a symbolic link's target
CHUNK: Final = 256 * 1024

UNREADABLE: Final = "Could not unzip uploaded file. Please check your file, then try to upload again."
EMPTY: Final = "Uploaded file must be a non-empty zip"

# What Python's zipfile raises for files that are none, or that need what Lambda's do not use (passwords, LZMA, …).
BROKEN_ZIP: Final = (
    zipfile.BadZipFile,
    zipfile.LargeZipFile,
    zlib.error,
    struct.error,
    EOFError,
    NotImplementedError,
    RuntimeError,
    UnicodeError,
    ValueError,
    OverflowError,
    IndexError,
)

Kind = Literal["file", "folder", "link"]


@dataclass(frozen=True, slots=True)
class Entry:
    """One file, folder or symbolic link of a package, under its normalised path."""

    path: PurePosixPath
    kind: Kind
    executable: bool
    info: zipfile.ZipInfo


def check_size(zip_size: int) -> None:
    if zip_size > LARGEST_ZIP:
        raise RequestEntityTooLargeException(f"Zipped size must be smaller than {LARGEST_ZIP} bytes")


def check(content: bytes) -> int:
    """The bytes that the package unpacks to. Raises InvalidParameterValue when it is no zip, empty, or too large."""
    if not content:
        raise InvalidParameterValueException(EMPTY)
    total = 0

    def count(_chunk: bytes) -> None:
        nonlocal total
        total += len(_chunk)
        if total > LARGEST_UNZIPPED:
            raise InvalidParameterValueException(f"Unzipped size must be smaller than {LARGEST_UNZIPPED} bytes")

    with _opened(io.BytesIO(content)) as package:
        entries = _entries(package)
        for entry in entries:
            if entry.kind == "link":
                _target(package, entry)
            elif entry.kind == "file":
                _copy(package, entry, count)
        _check_links({entry.path: _target(package, entry) for entry in entries if entry.kind == "link"})
    return total


def unpack(source: IO[bytes], into: Path) -> None:
    """Write a package below `into`, which must exist and be empty. Raises InvalidParameterValue like `check`.

    Files become 0644, or 0755 where any execute bit is set in the package; folders 0755. Links are made last, so that
    nothing is ever written through one."""
    links: dict[PurePosixPath, str] = {}
    written = 0
    with _opened(source) as package:
        for entry in _entries(package):
            place = into / entry.path
            if entry.kind == "folder":
                place.mkdir(0o755, parents=True, exist_ok=True)
            elif entry.kind == "link":
                links[entry.path] = _target(package, entry)
            else:
                place.parent.mkdir(0o755, parents=True, exist_ok=True)
                mode = 0o755 if entry.executable else 0o644
                descriptor = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
                with os.fdopen(descriptor, "wb") as file:
                    written += _copy(package, entry, file.write)
                    os.fchmod(descriptor, mode)  # whatever the umask is
                if written > LARGEST_UNZIPPED:
                    raise InvalidParameterValueException(f"Unzipped size must be smaller than {LARGEST_UNZIPPED} bytes")
        _check_links(links)
    for path, target in links.items():
        (into / path).parent.mkdir(0o755, parents=True, exist_ok=True)
        os.symlink(target, into / path)
    for folder, _, _ in os.walk(into):
        os.chmod(folder, 0o755)


class _opened:
    """A zip file to be read, with whatever the reading of a broken one raises turned into AWS's refusal."""

    def __init__(self, source: IO[bytes]) -> None:
        self._source = source
        self._package: zipfile.ZipFile | None = None

    def __enter__(self) -> zipfile.ZipFile:
        try:
            self._package = zipfile.ZipFile(self._source)
        except BROKEN_ZIP as error:
            raise InvalidParameterValueException(UNREADABLE) from error
        return self._package

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        if self._package is not None:
            self._package.close()
        if isinstance(error, BROKEN_ZIP):
            raise InvalidParameterValueException(UNREADABLE) from error


def _entries(package: zipfile.ZipFile) -> list[Entry]:
    """What the package makes, each path once: a later file replaces an earlier one, as unzip has it.

    Raises InvalidParameterValue for paths that leave the package, for what is no file, folder or link, and when one
    path would have to be two kinds of thing."""
    infos = package.infolist()
    if len(infos) > MOST_ENTRIES:
        raise zipfile.BadZipFile("too many entries")
    entries = {entry.path: entry for entry in map(_entry, infos) if entry.path != PurePosixPath()}
    if not any(entry.kind != "folder" for entry in entries.values()):
        raise InvalidParameterValueException(EMPTY)
    kinds = _Kinds()
    for info in infos:  # all of them: replaced ones too must not have been another kind of thing
        kinds.add(_entry(info))
    return list(entries.values())


class _Kinds:
    """What each path is. Raises BadZipFile when one is to be two things, or a file is to have something below it."""

    def __init__(self) -> None:
        self._kinds: dict[PurePosixPath, Kind] = {}

    def add(self, entry: Entry) -> None:
        self._is(entry.path, entry.kind)
        for above in entry.path.parents:
            if self._kinds.get(above) == "folder":
                break
            self._is(above, "folder")

    def _is(self, path: PurePosixPath, kind: Kind) -> None:
        if self._kinds.setdefault(path, kind) != kind:
            raise zipfile.BadZipFile(f"{path} is two things")


def _entry(info: zipfile.ZipInfo) -> Entry:
    name = info.orig_filename
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if name.startswith("/") or ".." in parts or "\0" in name:
        raise zipfile.BadZipFile("a path leads out of the package")
    sizes = [len(part.encode()) for part in parts]  # UnicodeError for what no file system takes
    if max(sizes, default=0) > LONGEST_NAME or sum(sizes) + len(sizes) > LONGEST_PATH:
        raise zipfile.BadZipFile("a path is too long")
    mode = info.external_attr >> 16 if info.create_system == 3 else 0  # 3: made on Unix
    return Entry(PurePosixPath(*parts), _kind(name, mode), bool(mode & 0o111), info)


def _kind(name: str, mode: int) -> Kind:
    kinds: dict[int, Kind] = {0: "file", stat.S_IFREG: "file", stat.S_IFDIR: "folder", stat.S_IFLNK: "link"}
    kind = kinds.get(stat.S_IFMT(mode))
    if kind is None:
        raise zipfile.BadZipFile("neither file nor folder nor link")
    return "folder" if name.endswith("/") else kind


def _copy(package: zipfile.ZipFile, entry: Entry, write: Callable[[bytes], object]) -> int:
    """Inflates an entry piece by piece; its checksum is checked on the way. Returns its size."""
    size = 0
    for chunk in _chunks(package, entry.info):
        write(chunk)
        size += len(chunk)
        if size > LARGEST_UNZIPPED:
            raise InvalidParameterValueException(f"Unzipped size must be smaller than {LARGEST_UNZIPPED} bytes")
    return size


def _chunks(package: zipfile.ZipFile, info: zipfile.ZipInfo) -> Iterator[bytes]:
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise zipfile.BadZipFile("compressed in a way that Lambda does not read")
    with package.open(info) as file:
        while chunk := file.read(CHUNK):
            yield chunk


def _target(package: zipfile.ZipFile, entry: Entry) -> str:
    content = bytearray()
    for chunk in _chunks(package, entry.info):
        content += chunk
        if len(content) > LONGEST_LINK:
            raise zipfile.BadZipFile("a link is too long")
    target = content.decode()
    if not target or "\0" in target:
        raise zipfile.BadZipFile("a link leads nowhere")
    return target


def _check_links(links: dict[PurePosixPath, str]) -> None:
    """Raises BadZipFile when a link, or a chain of them, leads out of the package. `links`: path -> target."""
    for path in links:
        _follow(path.parts, links)


def _follow(parts: tuple[str, ...], links: dict[PurePosixPath, str]) -> None:
    """Walks a path as the kernel would, link by link, from the package's root."""
    ahead = list(reversed(parts))
    place: list[str] = []
    followed = 0
    while ahead:
        part = ahead.pop()
        if part in ("", "."):
            continue
        if part == "..":
            if not place:
                raise zipfile.BadZipFile("a link leads out of the package")
            place.pop()
            continue
        place.append(part)
        target = links.get(PurePosixPath(*place))
        if target is None:
            continue
        followed += 1
        if target.startswith("/"):
            raise zipfile.BadZipFile("a link leads out of the package")
        if followed > 40:  # as many as the kernel follows: what loops leads nowhere, so not out either
            return
        place.pop()
        ahead.extend(reversed(target.split("/")))
