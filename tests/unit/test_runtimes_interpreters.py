import json
import os
import shutil
import sys
import tempfile
import venv
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lamplighter.runtimes import interpreters
from lamplighter.runtimes.interpreters import InstalledRuntime, installed
from lamplighter.runtimes.languages import NODEJS, PYTHON

REAL = Path(os.path.realpath(sys.executable))
VERSION = ".".join(map(str, sys.version_info[:3]))
NAME = f"python{sys.version_info[0]}.{sys.version_info[1]}"


@pytest.fixture(autouse=True)
def nothing_of_the_host(monkeypatch: pytest.MonkeyPatch) -> None:
    places = {
        PYTHON: ("~/.pyenv/versions/*/bin", "~/python*/bin"),
        NODEJS: ("~/.nvm/versions/node/*/bin", "$TOOLS/*/bin"),
    }
    languages = tuple(replace(language, places=found) for language, found in places.items())
    monkeypatch.setattr(interpreters, "LANGUAGES", languages)


def _environ(home: Path, *path: Path) -> dict[str, str]:
    return {"HOME": str(home), "PATH": ":".join(map(str, path))}


def _link(directory: Path, name: str = NAME) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    (directory / name).symlink_to(REAL)
    return directory


def test_an_interpreter_is_found_by_its_real_file(tmp_path: Path) -> None:
    found = installed(environ=_environ(tmp_path, _link(tmp_path / "bin")))
    assert found == {NAME: InstalledRuntime(NAME, VERSION, REAL, Path(sys.base_prefix))}


def test_pyenv_versions_are_found_and_shims_are_not(tmp_path: Path) -> None:
    shims = tmp_path / "shims"
    shims.mkdir()
    shim = shims / NAME
    shim.write_text("#!/bin/sh\nexit 1\n")
    shim.chmod(0o755)
    assert installed(environ=_environ(tmp_path, shims)) == {}
    _link(tmp_path / ".pyenv" / "versions" / VERSION / "bin")
    assert installed(environ=_environ(tmp_path, shims))[NAME].interpreter == REAL


def test_a_virtual_environment_is_none(tmp_path: Path) -> None:
    """One with an interpreter of its own; one that links to the interpreter leads to the interpreter."""
    venv.create(tmp_path / "venv", with_pip=False, symlinks=True)
    directory = tmp_path / "venv" / "bin"
    (directory / NAME).unlink(missing_ok=True)
    shutil.copy(REAL, directory / NAME)
    assert installed(environ=_environ(tmp_path, directory)) == {}


def test_what_is_no_interpreter_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / "python3.9").write_bytes(b"\x7fELF nonsense")
    (tmp_path / "python3.9").chmod(0o755)
    (tmp_path / "python3.10").write_bytes(b"not executable")
    (tmp_path / "python3.11").symlink_to("/bin/true")
    (tmp_path / "python3.12").symlink_to("gone")
    (tmp_path / "python3.13").mkdir()
    assert installed(environ=_environ(tmp_path, tmp_path)) == {}


def test_only_names_we_serve_are_tried(tmp_path: Path) -> None:
    for name in ("python", "python3", "python3.8", "python3.16", "python3.12-config", "python2.7"):
        _link(tmp_path / "bin", name)
    assert installed(environ=_environ(tmp_path, tmp_path / "bin")) == {}


def test_answers_are_kept_and_asked_again_when_the_interpreter_changed(tmp_path: Path) -> None:
    cache, environ = tmp_path / "runtimes.json", _environ(tmp_path, _link(tmp_path / "bin"))
    first = installed(cache, environ)
    entries = json.loads(cache.read_text())
    entries[str(REAL)]["version"] = "3.9.99"
    cache.write_text(json.dumps(entries))
    assert installed(cache, environ)["python3.9"].version == "3.9.99", "the file was not used"
    entries[str(REAL)]["stamp"][0] += 1
    cache.write_text(json.dumps(entries))
    assert installed(cache, environ) == first
    assert json.loads(cache.read_text())[str(REAL)]["version"] == VERSION


def test_of_several_the_newest_patch_release_is_taken(tmp_path: Path) -> None:
    cache, environ = tmp_path / "runtimes.json", _environ(tmp_path, tmp_path / "a", tmp_path / "b", tmp_path / "c")
    entries: dict[str, object] = {}
    for directory, version in (("a", "3.12.2"), ("b", "3.12.10"), ("c", "3.12.9")):
        path = tmp_path / directory / "python3.12"
        path.parent.mkdir()
        path.write_bytes(b"\x7fELF")
        path.chmod(0o755)
        stamp = interpreters.stamp(str(path), PYTHON)
        entries[str(path)] = {"stamp": stamp, "version": version, "prefix": "/usr", "usable": True}
    cache.write_text(json.dumps(entries))
    assert installed(cache, environ)["python3.12"].interpreter == tmp_path / "b" / "python3.12"


def test_an_answer_to_another_question_is_asked_for_again(tmp_path: Path) -> None:
    """So that a newer Lamplighter finds what an older one had asked wrongly."""
    path = str(_link(tmp_path / "a") / NAME)
    asked_otherwise = replace(PYTHON, question=("-c", "print(1)"))
    assert interpreters.stamp(path, PYTHON) == interpreters.stamp(path, PYTHON)
    assert interpreters.stamp(path, PYTHON) != interpreters.stamp(path, asked_otherwise)


json_values = st.recursive(st.text() | st.none(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner))


@given(st.binary() | json_values.map(lambda value: json.dumps(value).encode()))
def test_a_damaged_cache_only_costs_time(content: bytes) -> None:
    with tempfile.TemporaryDirectory() as directory:
        cache = Path(directory) / "runtimes.json"
        cache.write_bytes(content)
        assert installed(cache, {"HOME": directory}) == {}


def test_a_cache_that_cannot_be_written_is_no_failure(tmp_path: Path) -> None:
    environ = _environ(tmp_path, _link(tmp_path / "bin"))
    assert NAME in installed(tmp_path / "missing" / "runtimes.json", environ)
