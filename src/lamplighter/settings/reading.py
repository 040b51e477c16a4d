"""Reads the settings, once at start: flag before variable before file before default.

A value that cannot be used stops the start with one sentence that names where it came from; so does a name that
does not exist: a misspelt `isolaton = "full"` that is quietly ignored is worse than no start.
"""

import difflib
import ipaddress
import os
import re
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from lamplighter.settings import values
from lamplighter.settings.choices import Settings
from lamplighter.settings.options import OPTIONS, PREFIX

FILE_NAME = "lamplighter.toml"  # looked for in the data directory
# Kubernetes sets these in every pod beside a service called "lamplighter"; they are not meant for us.
_KUBERNETES = re.compile(r"LAMPLIGHTER_(SERVICE_(HOST|PORT)(_\w+)?|PORT_\d+_\w+)")
_BY_NAME = {option.name: option for option in OPTIONS}
_PATHS = ("data_dir", "role_policies")  # relative ones start from where the file is that names them
CONFIG_FLAG, CONFIG_VARIABLE = "--config", PREFIX + "CONFIG"


class SettingsError(Exception):
    """A setting that cannot be used; the text is one sentence for the operator."""


@dataclass(frozen=True, slots=True)
class _Given:
    """A value with its source, for the sentences. `base`: what relative paths start from."""

    value: object
    source: str
    base: Path | None = None


def read_settings(
    flags: Mapping[str, str | None] | None = None,
    environ: Mapping[str, str] = os.environ,
    default_data_dir: Path | None = None,
) -> Settings:
    """Settings from flags (by option name; "config" beside them; None: not given), variables and the file.

    Raises SettingsError."""
    flags = flags or {}
    _refuse_unknown_variables(environ)
    given: dict[str, _Given] = {}
    for option in OPTIONS:
        flag, variable = flags.get(option.name), environ.get(option.variable)
        if flag is not None:
            given[option.name] = _Given(flag, option.flag)
        elif variable:  # an empty one is what compose files make of a variable that is not set
            given[option.name] = _Given(variable, option.variable)
    config, source = flags.get("config"), CONFIG_FLAG
    if config is None:
        config, source = environ.get(CONFIG_VARIABLE) or None, CONFIG_VARIABLE
    if config is not None:
        path = cast(Path, _value("config", values.path, _Given(config, source)))
        for name, found in _read_file(path, source).items():
            given.setdefault(name, found)
    data_dir = default_data_dir or standard_data_dir(environ)
    if "data_dir" in given:
        data_dir = cast(Path, _value("data_dir", _BY_NAME["data_dir"].read, given["data_dir"]))
    beside = data_dir / FILE_NAME
    if config is None and _exists(beside):
        _refuse_foreign(beside)
        found = _read_file(beside, "the data directory")
        if "data_dir" in found:
            raise SettingsError(
                f"data_dir in {beside} has no effect, because the file is found through it; "
                f"move the file elsewhere and name it with {CONFIG_FLAG}."
            )
        for name, entry in found.items():
            given.setdefault(name, entry)
    for option in OPTIONS:
        for variable in option.standard:
            if option.name not in given and environ.get(variable):
                given[option.name] = _Given(environ[variable], variable)
    chosen = {name: _value(name, _BY_NAME[name].read, entry) for name, entry in given.items()}
    settings = Settings(**cast(dict[str, Any], chosen | {"data_dir": data_dir}))
    _refuse_open_door(settings, given)
    return settings


def standard_data_dir(environ: Mapping[str, str] = os.environ) -> Path:
    """/var/lib/lamplighter for root, else lamplighter in the user's own data directory (XDG)."""
    if os.geteuid() == 0:
        return Path("/var/lib/lamplighter")
    base = environ.get("XDG_DATA_HOME", "")
    if base.startswith("/"):  # XDG: a relative path is to be ignored
        return Path(base) / "lamplighter"
    try:
        return Path.home() / ".local" / "share" / "lamplighter"
    except RuntimeError:
        raise SettingsError("This user has no home directory; name one for the data with --data-dir.") from None


def is_loopback(host: str) -> bool:
    """Names other than localhost may mean anything tomorrow, so they don't count."""
    if values.is_address(host):
        return ipaddress.ip_address(host).is_loopback
    return host.lower().rstrip(".") in ("localhost", "ip6-localhost")


def _refuse_open_door(settings: Settings, given: Mapping[str, _Given]) -> None:
    if not settings.auth and not is_loopback(settings.host):
        host = given["host"]
        raise SettingsError(
            f"{given['auth'].source}: authentication can't be off while the service listens on {settings.host} "
            f"({host.source}), because whoever reaches that port could run code here; "
            "leave it on, or listen on 127.0.0.1."
        )


def _refuse_foreign(path: Path) -> None:
    """The service, which gives root away, owns the data directory: what it may have written there is not root's to
    obey."""
    if os.geteuid() == 0 and path.stat().st_uid != 0:
        raise SettingsError(
            f"{path} does not belong to root, so root does not read it; chown it, or name a file elsewhere."
        )


def _refuse_unknown_variables(environ: Mapping[str, str]) -> None:
    known = [option.variable for option in OPTIONS] + [CONFIG_VARIABLE]
    for name in sorted(environ):
        if name.startswith(PREFIX) and name not in known and not _KUBERNETES.fullmatch(name):
            raise SettingsError(f"{name} (environment variable) is not a setting; {_meant(name, known)}.")


def _meant(name: str, known: Sequence[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    return f"did you mean {close[0]}" if close else f"there are {', '.join(known)}"


def _value(name: str, read: Callable[[object], object], given: _Given) -> object:
    value = given.value
    if given.base and name in _PATHS and isinstance(value, str) and value and not value.startswith("~"):
        value = str(given.base / value)
    try:
        return read(value)
    except ValueError as error:
        shown = f'"{given.value}"' if isinstance(given.value, str) else given.value
        raise SettingsError(f"{given.source}: {shown} {error}.") from None


def _exists(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:
        return False  # an unreadable data directory is told better by whoever opens it


def _read_file(path: Path, source: str) -> dict[str, _Given]:
    try:
        content = tomllib.loads(path.read_text())
    except OSError as error:
        raise SettingsError(f"{source}: {path} cannot be read: {error.strerror} (errno {error.errno}).") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path} is not valid TOML: {error}.") from None
    for name in content:
        if name not in _BY_NAME:
            raise SettingsError(f'"{name}" in {path} is not a setting; {_meant(name, list(_BY_NAME))}.')
    return {name: _Given(value, f"{name} in {path}", path.parent) for name, value in content.items()}
