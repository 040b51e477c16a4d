"""A program that says in one line when it is ready: started, waited for, and ended, whatever happens in between."""

import contextlib
import os
import re
import signal
import subprocess
import threading
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from time import perf_counter
from types import TracebackType
from typing import Self

START = 30.0  # seconds to be ready
STOP = 20.0  # seconds to end after SIGTERM


class Unavailable(Exception):
    """This can't be measured here and now; the text says why."""


class Program:
    """`ready`: found in a line of the output (stdout or stderr) when it is ready; its match is kept as `match`.
    `heard`: is given every line, in another thread."""

    def __init__(
        self,
        command: Sequence[str],
        ready: str,
        directory: Path | None = None,
        heard: Callable[[str], None] = lambda line: None,
    ) -> None:
        self._command = command
        self._ready = re.compile(ready)
        self._directory = directory
        self._heard = heard
        self._tail: deque[str] = deque(maxlen=20)
        self._settled = threading.Event()  # ready, or ended before it was
        self.match: re.Match[str] | None = None
        self.seconds_to_ready = 0.0

    def __enter__(self) -> Self:
        self._begun = perf_counter()
        # What a machine for tests sets, so that every start compiles all modules again; nobody who installs it does.
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        self._process = subprocess.Popen(
            self._command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=self._directory,
            env=environment,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        settled = self._settled.wait(START)
        if self.match is None:
            self.stop()
            outcome = "ended" if settled else f"was not ready after {START:.0f} s"
            said = " ".join(list(self._tail)[-2:]) or "(it said nothing)"  # where a traceback has its reason
            raise Unavailable(f"{' '.join(self._command[1:4])} {outcome}: {said[-400:]}")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        return self._process.pid

    def stop(self) -> None:
        """SIGTERM; SIGKILL if that is not enough. Idempotent."""
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(STOP)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(STOP)
        self._reader.join(STOP)
        assert self._process.stdout
        self._process.stdout.close()

    def _read(self) -> None:
        assert self._process.stdout
        for line in self._process.stdout:
            self._tail.append(line.strip())
            self._heard(line.strip())
            if self.match is None and (match := self._ready.search(line)):
                self.seconds_to_ready = perf_counter() - self._begun
                self.match = match
                self._settled.set()
        self._settled.set()
