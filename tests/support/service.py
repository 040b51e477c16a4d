"""A real service in a process of its own, as a person starts it: `lamplighter serve` on a free port."""

import os
import re
import select
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import boto3
from botocore.config import Config

from lamplighter.store.credentials import load

COMMAND = (sys.executable, "-m", "lamplighter")
READY = re.compile(
    r"Lamplighter is ready at (?P<url>http://\S+:(?P<port>\d+)) in (?P<seconds>[\d.]+) s "
    r"\(isolation (?P<isolation>full|user|none), network (?P<network>.+), auth (?P<auth>on|off), data (?P<data>.+)\)\n"
)
START = 30.0  # seconds to the ready line
STOP = 30.0  # seconds from a signal to the end


def clean_environment(**more: str) -> dict[str, str]:
    """This process's variables without those that would change what the service or a client does."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("LAMPLIGHTER_", "AWS_"))}
    return kept | more


def run(*arguments: str, timeout: float = 60, **variables: str) -> "subprocess.CompletedProcess[str]":
    """`lamplighter …` to its end."""
    return subprocess.run(
        (*COMMAND, *arguments),
        env=clean_environment(**variables),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout,
    )


class Service:
    """Started by `with`, and stopped by SIGTERM at its end, which has to give exit code 0. What it logs goes to a file
    beside the data directory, and into the message if it doesn't come up."""

    def __init__(self, data_dir: Path, *options: str, **variables: str) -> None:
        self.data_dir = data_dir
        self.log = data_dir.with_name(data_dir.name + ".log")
        self._command = (*COMMAND, "serve", "--port", "0", "--data-dir", str(data_dir), *options)
        self._variables = variables

    def __enter__(self) -> Self:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self._command,
                env=clean_environment(**self._variables),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                process_group=0,  # a Ctrl-C in the tests' terminal is not for the service
            )
        try:
            self.ready = self._wait_until_ready()
        except BaseException:
            self.kill()
            raise
        self.url = self.ready["url"]
        self.port = int(self.ready["port"])
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self.process.poll() is None:
            code = self.stop()
            assert code == 0 or error, f"exit code {code}; it said: {self.last_words()}"
        self._close()

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal and wait for the end; the exit code."""
        self.process.send_signal(number)
        return self.wait()

    def wait(self) -> int:
        try:
            return self.process.wait(STOP)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"not gone {STOP:.0f} s after the signal; it said: {self.last_words()}") from None

    def kill(self) -> None:
        """SIGKILL, as a crash would; `with Service(same directory)` is the restart."""
        self.process.kill()
        self.process.wait(STOP)
        self._close()

    def last_words(self) -> str:
        return self.log.read_text(errors="replace")[-2000:]

    def environment(self) -> dict[str, str]:
        """Variables that point AWS tools here."""
        known = load(self.data_dir)
        assert known, "the first start makes credentials"
        return {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_REGION": "us-east-1",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": known.access_key_id,
            "AWS_SECRET_ACCESS_KEY": known.secret_access_key,
        }

    def client(self, service: str = "lambda", **config: Any) -> Any:
        """A boto3 client with the service's own credentials; no retries unless `config` (botocore's) wants some."""
        variables = self.environment()
        return boto3.client(
            service,
            endpoint_url=self.url,
            region_name=variables["AWS_REGION"],
            aws_access_key_id=variables["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=variables["AWS_SECRET_ACCESS_KEY"],
            config=Config(**{"retries": {"total_max_attempts": 1}, "read_timeout": 60, **config}),
        )

    def _wait_until_ready(self) -> re.Match[str]:
        assert self.process.stdout
        deadline = time.monotonic() + START
        said = b""
        while not said.endswith(b"\n"):
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self.process.stdout], [], [], left)[0]:
                raise AssertionError(f"not ready after {START:.0f} s; it said: {self.last_words()}")
            piece = os.read(self.process.stdout.fileno(), 4096)
            if not piece:
                raise AssertionError(f"ended with code {self.process.wait(STOP)}; it said: {self.last_words()}")
            said += piece
        ready = READY.fullmatch(said.decode())
        assert ready, f"not the ready line: {said!r}"
        return ready

    def _close(self) -> None:
        if self.process.stdout:
            self.process.stdout.close()
