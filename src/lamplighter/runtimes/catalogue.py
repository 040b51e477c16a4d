"""Which runtimes there are, which of them can run on this host, and how to get one that can't yet.

What AWS offers is a table (AWS: spec 3.7, appendix C). What this host has is found by `interpreters.py`; a runtime is
named as on AWS and runs on the host's interpreter of that version.
"""

import hashlib
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from lamplighter.model.errors import InvalidParameterValueException
from lamplighter.runtimes import interpreters
from lamplighter.runtimes.interpreters import InstalledRuntime

__all__ = (
    "RUNTIMES", "InstalledRuntime", "Runtime", "client", "installed", "maker", "no_longer_supported", "remedy",
    "runtime_version_arn",
)  # fmt: skip

State = Literal["supported", "deprecated", "retired"]
System = Literal["AL2", "AL2023"]

_CUSTOM = ("provided.al2", "provided.al2023")
_REBUILT = {"java11.al2023": "java11", "java17.al2023": "java17"}  # the same, on AWS's newer system


@dataclass(frozen=True, slots=True)
class Runtime:
    """`state`: deprecated runtimes can still be created, retired ones can't. `system`: None where it is not known."""

    name: str
    state: State
    system: System | None = None


def _runtimes(state: State, system: System | None, names: str) -> dict[str, Runtime]:
    return {name: Runtime(name, state, system) for name in names.split()}


RUNTIMES: Mapping[str, Runtime] = {
    **_runtimes("supported", "AL2023", "python3.15 python3.14 python3.13 python3.12"),
    **_runtimes("supported", "AL2", "python3.11 python3.10"),
    **_runtimes("deprecated", "AL2", "python3.9 python3.8"),
    **_runtimes("supported", "AL2023", "nodejs26.x nodejs24.x nodejs22.x"),
    **_runtimes("deprecated", "AL2023", "nodejs20.x"),
    **_runtimes("deprecated", "AL2", "nodejs18.x nodejs16.x"),
    **_runtimes("supported", "AL2023", "java25 java21 java17.al2023 java11.al2023 java8.al2023"),
    **_runtimes("supported", "AL2", "java17 java11 java8.al2"),
    **_runtimes("supported", "AL2023", "dotnet10 dotnet8"),
    **_runtimes("deprecated", "AL2", "dotnet6"),
    **_runtimes("supported", "AL2023", "ruby4.0 ruby3.4 ruby3.3"),
    **_runtimes("deprecated", "AL2", "ruby3.2"),
    **_runtimes("supported", "AL2023", "provided.al2023"),
    **_runtimes("supported", "AL2", "provided.al2"),
    **_runtimes("supported", None, "custom"),
    **_runtimes("retired", None, "python3.7 python3.6 python2.7"),
    **_runtimes(
        "retired", None, "nodejs14.x nodejs12.x nodejs10.x nodejs8.10 nodejs6.10 nodejs4.3 nodejs4.3-edge nodejs"
    ),
    **_runtimes("retired", None, "java8 go1.x provided"),
    **_runtimes("retired", None, "dotnetcore3.1 dotnetcore2.1 dotnetcore2.0 dotnetcore1.0"),
    **_runtimes("retired", None, "ruby2.7 ruby2.5"),
}


_TOO_OLD = {
    "python3.8": "Python that does is 3.9",
    "nodejs16.x": "Node.js that does is 20",
    "nodejs18.x": "Node.js that does is 20",
    "java8.al2": "Java that does is 11",
    "java8.al2023": "Java that does is 11",
}


def no_longer_supported(name: str) -> InvalidParameterValueException:
    """The refusal of a retired runtime at create and update (AWS: appendix F)."""
    return InvalidParameterValueException(
        f"The runtime parameter of {name} is no longer supported for creating or updating AWS Lambda functions. "
        "We recommend you use a supported runtime while creating or updating functions."
    )


def runtime_version_arn(runtime: str, region: str, architecture: str) -> str:
    """The same for a runtime and architecture at all times and on all hosts."""
    digest = hashlib.sha256(f"lamplighter runtime {runtime} {architecture}".encode()).hexdigest()
    return f"arn:aws:lambda:{region}::runtime:{digest}"


def installed(cache: Path | None = None, environ: Mapping[str, str] = os.environ) -> dict[str, InstalledRuntime]:
    """What can run on this host: custom runtimes, which need nothing, and those that `interpreters` finds; Python's
    newest is the last."""
    custom = {name: InstalledRuntime(name, "", None, None) for name in _CUSTOM}
    found = interpreters.installed(cache, environ)
    rebuilt = {also: replace(found[name], name=also) for also, name in _REBUILT.items() if name in found}
    return custom | rebuilt | found


def client(name: str) -> Path | None:
    """What a sandbox of the runtime has at /var/runtime."""
    for language in ("python", "nodejs", "java", "ruby"):
        if name.startswith(language):
            return Path(__file__).parent / language
    return None


def maker(found: Mapping[str, InstalledRuntime]) -> Path | None:
    """A Python to make the sandboxes of other runtimes with: the service's own, else the newest that was found."""
    own = Path(sys.base_prefix, "bin", f"python{sys.version_info.major}.{sys.version_info.minor}")
    if own.is_file():
        return own
    pythons = [runtime.interpreter for name, runtime in found.items() if name.startswith("python")]
    return pythons[-1] if pythons else None


def remedy(name: str) -> str:
    """A sentence for people: what makes the runtime, of which this host has no interpreter, work here."""
    runtime = RUNTIMES.get(name)
    if runtime is None:
        return f"{name} is not a runtime of AWS Lambda."
    if runtime.state == "retired":
        return f"AWS has retired {name}; use a newer runtime."
    if name in _TOO_OLD:
        oldest = _TOO_OLD[name]
        return f"{name} does not run here: the oldest {oldest}."
    if name.startswith("python"):
        version = name.removeprefix("python")
        how = f"Install CPython {version}, for example with `uv python install {version}` or `pyenv install {version}`,"
    elif name.startswith("nodejs"):
        version = name.removeprefix("nodejs").removesuffix(".x")
        how = f"Install Node.js {version} with `lamplighter runtimes install {name}`, or by `nvm install {version}`,"
    elif name.startswith("java"):
        version = name.removeprefix("java").partition(".")[0]
        package = f"openjdk-{version}-jre-headless"
        how = f"Install Java {version} (a JRE will do; on Debian and Ubuntu, as root: apt install {package})"
    elif name.startswith("ruby"):
        version = name.removeprefix("ruby")
        how = (
            f"Install Ruby {version} as the distribution's own, the only one that sandboxes can show (as root: "
            "apt install ruby; Debian 13 has 3.3, Ubuntu 24.04 3.2),"
        )
    else:
        known = "Python, Node.js, Java, Ruby and custom runtimes (provided.al2023) do"
        return f"{name} does not run on this host yet; {known}."
    return f"{how} and start Lamplighter again."
