"""Finds the host's interpreters that functions can run on, by `languages.py`'s account of where they are.

An interpreter counts if it answers, when run, that it is a complete, ordinary one of a version we serve. Asking costs
20 to 60 ms each, so answers are kept in a file, by path, time and size of the interpreter.
"""

import contextlib
import json
import os
import subprocess
import tempfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from lamplighter.runtimes.languages import LANGUAGES, Language

_DEADLINE = 10  # seconds for one interpreter to answer; a healthy one needs a fraction of one


@dataclass(frozen=True, slots=True)
class InstalledRuntime:
    """`name` as on AWS, `version` the interpreter's (3.12.1), `interpreter` the real file, `prefix` where its library
    is. A custom runtime has no interpreter, and so no version."""

    name: str
    version: str
    interpreter: Path | None
    prefix: Path | None

    @property
    def order(self) -> tuple[int, ...]:
        return tuple(int(part) for part in self.version.split("."))


def installed(cache: Path | None = None, environ: Mapping[str, str] = os.environ) -> dict[str, InstalledRuntime]:
    """Runtimes by name, each language's oldest first; of several interpreters of one version, the one of the newest
    patch release.

    `cache`: a file of ours that may be missing, damaged or not writable, which only costs time."""
    known = _read(cache)
    candidates = {path: language for language in LANGUAGES for path in _candidates(language, environ)}
    stamps = {path: known_as for path, asked in candidates.items() if (known_as := stamp(path, asked)) is not None}
    missing = {path: candidates[path] for path, stamp in stamps.items() if known.get(path, {}).get("stamp") != stamp}
    answers = {path: known[path] for path in stamps if path not in missing}
    for path, answer in _ask(missing):
        answers[path] = {"stamp": stamps[path], **answer}
    if missing or answers.keys() != known.keys():
        _write(cache, answers)
    found: dict[str, InstalledRuntime] = {}
    for language in LANGUAGES:
        usable = [_runtime(path, language, answers[path]) for path in stamps if candidates[path] is language]
        for runtime in sorted(filter(None, usable), key=lambda runtime: runtime.order):
            if runtime.name not in found or runtime.order > found[runtime.name].order:
                found[runtime.name] = runtime
    return found


def _candidates(language: Language, environ: Mapping[str, str]) -> Iterable[str]:
    """Real paths, in order of search. Scripts in the place of an interpreter, such as pyenv's shims, can't be executed
    in a sandbox; what they lead to is found where it is."""
    found: dict[str, None] = {}
    for directory in _directories(language, environ):
        with contextlib.suppress(OSError), os.scandir(directory) as entries:
            for name in sorted(entry.name for entry in entries if language.files.fullmatch(entry.name)):
                path = os.path.realpath(os.path.join(directory, name))
                if _is_program(path) and not _is_of_a_virtual_environment(path):
                    found[path] = None
    return found


def _directories(language: Language, environ: Mapping[str, str]) -> Iterator[str]:
    yield from (entry for entry in environ.get("PATH", "").split(os.pathsep) if os.path.isabs(entry))
    for place in language.places:
        variable, slash, rest = place.partition("/")
        if variable.startswith("$"):
            base = environ.get(variable[1:])
        else:
            base = environ.get("HOME") if variable == "~" else variable
        if base is not None:
            yield from map(str, sorted(Path("/").glob((base + slash + rest).lstrip("/"))))


def _is_program(path: str) -> bool:
    try:
        with open(path, "rb") as file:
            return os.access(path, os.X_OK) and file.read(2) != b"#!"
    except OSError:
        return False


def _is_of_a_virtual_environment(path: str) -> bool:
    """One that was copied there; what is a link was followed to the interpreter that the environment was made of."""
    return os.path.exists(os.path.join(os.path.dirname(path), "..", "pyvenv.cfg"))


def stamp(path: str, language: Language) -> list[int] | None:
    """Another one where file or question are another."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return [status.st_mtime_ns, status.st_size, zlib.crc32("\0".join(language.question).encode())]


def _ask(asked: Mapping[str, Language]) -> Iterator[tuple[str, dict[str, Any]]]:
    """All at once. An interpreter that does not answer properly is none."""
    with contextlib.ExitStack() as stack:
        processes: list[tuple[str, subprocess.Popen[str]]] = []
        for path, language in asked.items():
            try:
                processes.append((path, stack.enter_context(_start(path, language))))
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


def _start(path: str, language: Language) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [path, *language.question],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={"LC_ALL": "C.UTF-8"},
    )


def _runtime(path: str, language: Language, answer: Mapping[str, Any]) -> InstalledRuntime | None:
    if not answer["usable"]:
        return None
    release = language.release.match(answer["version"])
    if release is None:
        return None
    name = language.runtime.format(release[0])
    return InstalledRuntime(name, answer["version"], Path(path), Path(answer["prefix"]))


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
