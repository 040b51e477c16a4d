"""AWS's SDK for Python as functions find it: which files it is, and which functions start with it imported.

AWS's runtimes bring boto3 and what it needs, last on the search path, so that a function's own copy wins. Here it is
the copy that Lamplighter itself was installed with, those packages and no others. Importing it takes a quarter of a
second, so there is a second fork server of each Python that has done so. A function starts from that if its package or
layers name the SDK and have nothing that the search path would find before anything that is imported already.
"""

import asyncio
import re
import sys
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

from lamplighter.model.functions import FunctionVersion

DISTRIBUTIONS = ("boto3", "botocore", "s3transfer", "jmespath", "python-dateutil", "six", "urllib3")
SUFFIX = "-sdk"  # of the name that a runtime's second fork server has
_FILES_READ = 2000  # at most, of one function, before it counts as one that does not name the SDK
_BYTES_READ = 16 << 20
_KNOWN = 4096  # packages remembered
_NAMES = re.compile(rb"\b(boto3|botocore|s3transfer)\b")
_OWN_PATH = "PYTHONPATH"


@dataclass(frozen=True, slots=True)
class Sdk:
    """`parts`: packages and modules, and what tells their names and licences (`.dist-info`); `least`: the oldest
    interpreter they run on."""

    parts: tuple[str, ...]
    least: tuple[int, int]


def own_sdk() -> Sdk | None:
    """The SDK that Lamplighter is installed with."""
    try:
        found = [distribution(name) for name in DISTRIBUTIONS]
    except PackageNotFoundError:
        return None
    return Sdk(tuple(sorted({part for one in found for part in _parts(one)})), (3, max(map(_least_minor, found))))


def _least_minor(one: Distribution) -> int:
    match = re.search(r">=\s*3\.(\d+)", one.metadata["Requires-Python"] or "")
    return int(match[1]) if match else 0


def _parts(one: Distribution) -> Iterator[str]:
    """Read from its record of files by hand: botocore has thousands, and for each `files` makes an object."""
    record = (one.read_text("RECORD") or "").splitlines()
    for part in {line.partition(",")[0].partition("/")[0] for line in record} - {"..", "__pycache__", ""}:
        yield str(one.locate_file(part))


class Forks:
    """Gives the name of the fork server that a function version's environments are forks of.

    code_root: has one directory per digest, the extracted package. runtimes: names of all fork servers."""

    def __init__(self, code_root: Path, runtimes: Iterable[str]) -> None:
        self._root = code_root
        self._runtimes = frozenset(runtimes)
        self._known: OrderedDict[tuple[str, ...], bool] = OrderedDict()

    async def __call__(self, function: FunctionVersion) -> str:
        runtime = function.runtime or ""
        if runtime + SUFFIX not in self._runtimes or _OWN_PATH in (function.environment or {}):
            return runtime
        key = (runtime, function.code.digest, *(layer.package.digest for layer in function.layers))
        if key not in self._known:
            self._known[key] = await asyncio.to_thread(starts_with_sdk, self._directories(function))
            if len(self._known) > _KNOWN:
                self._known.popitem(last=False)
        return runtime + SUFFIX * self._known[key]

    def _directories(self, function: FunctionVersion) -> Sequence[Path]:
        packages = f"python/lib/{function.runtime}/site-packages"
        layers = [self._root / layer.package.digest for layer in function.layers]
        return [
            self._root / function.code.digest,
            *(layer / place for layer in layers for place in (packages, "python")),
        ]


def starts_with_sdk(directories: Sequence[Path]) -> bool:
    """For a function with these on its search path."""
    present = [directory for directory in directories if directory.is_dir()]
    return not any(map(_shadows, present)) and any(map(_names_sdk, present))


def _shadows(directory: Path) -> bool:
    """Whether a module of the SDK or of the standard library may be another one here."""
    names = {entry.name.split(".")[0] for entry in directory.iterdir()}
    is_longer = any(entry.suffix == ".pth" for entry in directory.iterdir())
    return is_longer or not names.isdisjoint(_taken())


def _taken() -> frozenset[str]:
    return sys.stdlib_module_names | {name.removeprefix("python-") for name in DISTRIBUTIONS}


def _names_sdk(directory: Path) -> bool:
    left = _BYTES_READ
    for count, path in enumerate(directory.rglob("*.py")):
        if count >= _FILES_READ or left <= 0:
            return False
        if path.is_symlink() or not path.is_file():
            continue
        with path.open("rb") as file:
            text = file.read(left)
        left -= len(text)
        if _NAMES.search(text):
            return True
    return False
