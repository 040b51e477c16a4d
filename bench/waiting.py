"""First calls of functions whose interpreter can't fork: each is answered by a process that waited for a function."""

import io
import shutil
import subprocess
import zipfile
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from time import sleep
from typing import Final

from bench.figures import Samples, percentile
from bench.floor import GUEST
from bench.load import SECOND, Plan
from bench.program import Unavailable
from bench.stage import SMALL, Stage
from lamplighter.runtimes.catalogue import installed
from lamplighter.runtimes.languages import JAVA_CLIENT

PAUSE: Final = 1.0  # seconds between two calls, in which the next process comes to wait
SETTINGS: Final = {
    "nodejs": {"Handler": "index.handler", "MemorySize": 128},
    "java": {"Handler": "Echo::handler", "MemorySize": 512},
}


def starts(stage: Stage, language: str) -> tuple[Samples, ...]:
    """One after the other, each of a function of its own; all of them are of one command, so one waits for any."""
    runtime = next((name for name in installed() if name.startswith(language)), None)
    if runtime is None:
        raise Unavailable(f"no runtime of {language} here")
    service, content = stage.service, _PACKAGES[language]()
    (first, *names) = stage.names(1 + stage.rounds * 10)
    try:
        for name in (first, *names):
            service.create(name, content, Runtime=runtime, Timeout=60, **SETTINGS[language])
        service.wait_until_active((first, *names))
        service.invoke(first)  # the first of all is what others learn from
        latencies: list[float] = []
        for name in names:
            sleep(PAUSE)
            result = stage.load.run(Plan(service.port, service.requests([name], SMALL[:1]), seconds=30, count=1))
            latencies.append(result.latencies[0] * 1000 / SECOND)
    finally:
        service.delete((first, *names))
    rounds = [latencies[begin : begin + 10] for begin in range(0, len(latencies), 10)]
    return Samples(tuple(percentile(round, 0.5) for round in rounds)), Samples((percentile(latencies, 0.99),))


def _zipped(name: str, content: bytes) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr(name, content)
    return packed.getvalue()


def _nodejs() -> bytes:
    return _zipped("index.js", (GUEST / "index.js").read_bytes())


def _java() -> bytes:
    if shutil.which("javac") is None:
        raise Unavailable("no JDK here to compile a function with")
    with TemporaryDirectory() as classes:
        command = ["javac", "--release", "11", "-cp", JAVA_CLIENT, "-d", classes, GUEST / "Echo.java"]
        subprocess.run(command, check=True, capture_output=True)
        return _zipped("Echo.class", Path(classes, "Echo.class").read_bytes())


_PACKAGES: Final[dict[str, Callable[[], bytes]]] = {"nodejs": _nodejs, "java": _java}
