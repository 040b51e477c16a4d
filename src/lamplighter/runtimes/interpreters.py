"""Finds the host's Python interpreters that functions can run on.

An interpreter counts if it answers, when run, that it is a complete, ordinary CPython of a version we serve and not a
virtual environment's (whose packages a function must not see). Asking costs some 20 ms each, so answers are kept in a
file, by path, time and size of the interpreter.
"""

import contextlib
import json
import os
import re
import subprocess
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

_NAME = re.compile(r"python3\.(9|1[0-5])")
_PLACES = (
    "/usr/local/bin",
    "/usr/bin",
    "~/.pyenv/versions/*/bin",
    "~/.local/share/uv/python/*/bin",
    "/opt/python*/bin",
)
_DEADLINE = 10  # seconds for one interpreter to answer; a healthy one needs a fiftieth of one
# Free-threaded and debug builds have another ABI than the packages that people deploy. The imports are what our client
# and the fork server can't do without; distributions ship interpreters that lack some of them.
_QUESTION = """
import sys
try:
    import ctypes, json, logging, select, socket, zlib
    whole = sys.implementation.name == "cpython" and not sys.abiflags
except ImportError:
    whole = False
print("\\n".join([".".join(map(str, sys.version_info[:3])), sys.base_prefix, str(whole)]))
"""


@dataclass(frozen=True, slots=True)
class InstalledRuntime:
    """`name` as on AWS, `version` the interpreter's (3.12.1), `interpreter` the real file, `prefix` where its library
    is."""

    name: str
    version: str
    interpreter: Path
    prefix: Path

    @property
    def order(self) -> tuple[int, ...]:
        return tuple(int(part) for part in self.version.split("."))


def installed(cache: Path | None = None, environ: Mapping[str, str] = os.environ) -> dict[str, InstalledRuntime]:
    """Runtimes by name, oldest first; of several interpreters of one version, the one of the newest patch release.

    `cache`: a file of ours that may be missing, damaged or not writable, which only costs time."""
    known = _read(cache)
    stamps = {path: stamp for path in _candidates(environ) if (stamp := _stamp(path)) is not None}
    missing = [path for path, stamp in stamps.items() if known.get(path, {}).get("stamp") != stamp]
    answers = {path: known[path] for path in stamps if path not in missing}
    for path, answer in _ask(missing):
        answers[path] = {"stamp": stamps[path], **answer}
    if missing or answers.keys() != known.keys():
        _write(cache, answers)
    found: dict[str, InstalledRuntime] = {}
    for path in stamps:
        runtime = _runtime(path, answers[path])
        if runtime is not None and (runtime.name not in found or runtime.order > found[runtime.name].order):
            found[runtime.name] = runtime
    return dict(sorted(found.items(), key=lambda item: item[1].order))


def _candidates(environ: Mapping[str, str]) -> Iterable[str]:
    """Real paths, in order of search. Scripts in the place of an interpreter, such as pyenv's shims, can't be executed
    in a sandbox; what they lead to is found where it is."""
    found: dict[str, None] = {}
    for directory in _directories(environ):
        with contextlib.suppress(OSError), os.scandir(directory) as entries:
            for name in sorted(entry.name for entry in entries if _NAME.fullmatch(entry.name)):
                path = os.path.realpath(os.path.join(directory, name))
                if _is_program(path) and not _is_of_a_virtual_environment(path):
                    found[path] = None
    return found


def _directories(environ: Mapping[str, str]) -> Iterator[str]:
    yield from (entry for entry in environ.get("PATH", "").split(os.pathsep) if os.path.isabs(entry))
    places = (*_PLACES, environ["PYENV_ROOT"] + "/versions/*/bin") if "PYENV_ROOT" in environ else _PLACES
    home = environ.get("HOME", "/nonexistent")
    for place in places:
        pattern = place.replace("~", home, 1) if place.startswith("~") else place
        yield from map(str, sorted(Path("/").glob(pattern.lstrip("/"))))


def _is_program(path: str) -> bool:
    try:
        with open(path, "rb") as file:
            return os.access(path, os.X_OK) and file.read(2) != b"#!"
    except OSError:
        return False


def _is_of_a_virtual_environment(path: str) -> bool:
    """One that was copied there; what is a link was followed to the interpreter that the environment was made of."""
    return os.path.exists(os.path.join(os.path.dirname(path), "..", "pyvenv.cfg"))


def _stamp(path: str) -> list[int] | None:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return [status.st_mtime_ns, status.st_size]


def _ask(paths: Iterable[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    """All at once. An interpreter that does not answer properly is none."""
    with contextlib.ExitStack() as stack:
        processes: list[tuple[str, subprocess.Popen[str]]] = []
        for path in paths:
            try:
                processes.append((path, stack.enter_context(_start(path))))
            except OSError:
                yield path, {"usable": False}
        for path, process in processes:
            yield path, _answer(process)


def _answer(process: subprocess.Popen[str]) -> dict[str, Any]:
    try:
        output, _ = process.communicate(timeout=_DEADLINE)
    except subprocess.TimeoutExpired:
        process.kill()
        return {"usable": False}
    lines = output.splitlines()
    if process.returncode != 0 or len(lines) != 3:
        return {"usable": False}
    return {"version": lines[0], "prefix": lines[1], "usable": lines[2] == "True"}


def _start(path: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [path, "-I", "-S", "-B", "-c", _QUESTION],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={"LC_ALL": "C.UTF-8"},
    )


def _runtime(path: str, answer: Mapping[str, Any]) -> InstalledRuntime | None:
    if not answer["usable"]:
        return None
    version: str = answer["version"]
    name = "python" + version.rpartition(".")[0]
    if not _NAME.fullmatch(name):
        return None
    return InstalledRuntime(name, version, Path(path), Path(answer["prefix"]))


def _read(cache: Path | None) -> dict[str, dict[str, Any]]:
    """Only entries that are complete, whatever happened to the file."""
    try:
        entries: Any = json.loads(cache.read_bytes()) if cache else {}
    except (OSError, ValueError):
        return {}
    if not isinstance(entries, dict):
        return {}
    known = cast("dict[str, Any]", entries)
    return {path: entry for path, entry in known.items() if _is_entry(entry)}


def _is_entry(entry: Any) -> bool:
    if not isinstance(entry, dict):
        return False
    fields = cast("dict[str, Any]", entry)
    texts = isinstance(fields.get("version"), str) and isinstance(fields.get("prefix"), str)
    return fields.get("usable") is False or (fields.get("usable") is True and texts)


def _write(cache: Path | None, entries: Mapping[str, Any]) -> None:
    if cache is None:
        return
    with contextlib.suppress(OSError):
        descriptor, name = tempfile.mkstemp(prefix=cache.name, dir=cache.parent)
        with open(descriptor, "w") as file:
            json.dump(entries, file, indent=1)
        os.replace(name, cache)
