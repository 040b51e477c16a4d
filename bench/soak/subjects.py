"""The functions that are soaked: what is deployed of each, and in which variants."""

import io
import shutil
import subprocess
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from bench.service import PYTHON, ROLE, WHOLE_CPU

GUEST = Path(__file__).parent / "guest"
VARIANTS = 3  # of a package: few, since the unpacked ones stay for a while when nothing needs them any more
LAYER = "soak-watcher"


@dataclass(frozen=True, slots=True)
class Subject:
    """`needs`: what the name of its runtime begins with; if there is none, it is neither deployed nor called."""

    name: str
    files: tuple[str, ...] = ("soak.py",)
    handler: str = "soak.handler"
    needs: str = PYTHON
    memory_size: int = WHOLE_CPU
    timeout: int = 60
    layered: bool = False
    more: dict[str, Any] = field(default_factory=dict[str, Any])

    def creation(self, layers: Iterable[str] = ()) -> dict[str, Any]:
        """Of CreateFunction, without the code."""
        return {
            "FunctionName": self.name,
            "Role": ROLE,
            "Runtime": self.needs,
            "Handler": self.handler,
            "MemorySize": self.memory_size,
            "Timeout": self.timeout,
            **({"Layers": list(layers)} if self.layered else {}),
            **self.more,
        }

    def package(self, variant: int = 0) -> bytes:
        return package(self.files, variant)


def package(files: Iterable[str], variant: int = 0) -> bytes:
    """The same bytes each time."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        contents = {name: _content(name.rpartition("/")[2]) for name in files}
        for name, content in {**contents, "variant": str(variant).encode()}.items():
            entry = zipfile.ZipInfo(name)
            entry.external_attr = 0o100755 << 16
            archive.writestr(entry, content)
    return packed.getvalue()


def _content(name: str) -> bytes:
    if not name.endswith(".class"):
        return (GUEST / name).read_bytes()
    with TemporaryDirectory() as classes:
        source = (GUEST / name).with_suffix(".java")
        subprocess.run(["javac", "--release", "11", "-d", classes, source], check=True)
        return Path(classes, name).read_bytes()


def layer() -> bytes:
    return package(["extensions/watcher"])


def deployable(runtimes: Iterable[str], isolation: str) -> list[Subject]:
    """Those that this machine can run. `runtimes`: the names of those that are there."""
    newest = {subject.needs: name for name in runtimes for subject in SUBJECTS if name.startswith(subject.needs)}
    without = set[str]()
    if shutil.which("curl") is None:
        without |= {"soak-shell", "soak-watched"}
    if shutil.which("javac") is None:
        without |= {"soak-java"}
    if isolation == "none":  # extensions are not started, and no memory is limited
        without |= {"soak-watched"}
    return [
        replace(subject, needs=newest[subject.needs])
        for subject in SUBJECTS
        if subject.needs in newest and subject.name not in without
    ]


SUBJECTS = (
    Subject("soak-steady"),
    Subject("soak-caller", ("caller.py",), "caller.handler"),
    Subject("soak-node", ("index.js",), "index.handler", "nodejs"),
    Subject("soak-streaming", ("index.js",), "index.stream", "nodejs"),
    Subject("soak-java", ("Soak.class",), "Soak::handler", "java"),
    Subject("soak-shell", ("bootstrap",), "none", "provided.al2023"),
    Subject("soak-watched", layered=True),
    Subject("soak-broken", memory_size=256),
    Subject("soak-late", timeout=1),
    Subject("soak-large", memory_size=512),
    Subject("soak-loud", memory_size=512),
    Subject("soak-littering", memory_size=512),
    Subject("soak-reserved"),
    Subject("soak-changing"),
    Subject("soak-snapped", needs="python3.12", more={"SnapStart": {"ApplyOn": "PublishedVersions"}}),
    Subject("soak-phoenix"),
)
