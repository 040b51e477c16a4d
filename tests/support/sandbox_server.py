"""Real sandboxes for tests, in each isolation this machine allows, with a guest that does as it is told."""

import asyncio
import contextlib
import functools
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import AsyncGenerator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import uvloop

import lamplighter
from lamplighter.model.command import Command
from lamplighter.sandbox.cgroup import STILL, hierarchies
from lamplighter.sandbox.client import ServerSandboxes
from lamplighter.sandbox.contract import Isolation, SandboxSpec
from lamplighter.sandbox.handle import ServerSandbox
from lamplighter.sandbox.messages import Configuration, Runtime
from lamplighter.sandbox.survivor import NAME

DEADLINE = 20.0
NOBODY = 65534
CLIENT = Path(__file__).parent / "guest"
VARIABLES = {"AWS_LAMBDA_RUNTIME_API": "127.0.0.1:9001", "LAMBDA_TASK_ROOT": "/var/task", "TZ": ":UTC"}
_AS_NOBODY = ("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups")


def needs(mode: Isolation) -> None:
    """Skip, with the reason, where this machine can't show the isolation."""
    root = os.geteuid() == 0
    if mode == "full" and not root:
        pytest.skip("isolation full needs root")
    if mode == "user" and root and shutil.which("setpriv") is None:
        pytest.skip("no setpriv here to give root away with")
    if mode == "user" and root and ordinary_python() is None:
        pytest.skip("no Python 3.11 or later here that an ordinary user may run")


@functools.cache
def ordinary_python() -> str | None:
    """A Python that user 65534 may run and that can read our source: this one may be in root's home."""
    source = str(Path(lamplighter.__file__).parents[1])
    for python in (sys.executable, "/usr/bin/python3", "/usr/local/bin/python3"):
        # setpriv can start what an ordinary user can't even see: so let it look at itself.
        look = "import os, sys; os.stat(sys.executable); assert sys.version_info >= (3, 11)"
        test = f"{look}; import lamplighter.sandbox.server"
        try:
            done = subprocess.run(
                [*_AS_NOBODY, os.path.realpath(python), "-P", "-c", test],
                env={"PYTHONPATH": source},
                capture_output=True,
                cwd="/",
                timeout=30,
            )
        except OSError:
            continue
        if done.returncode == 0:
            return os.path.realpath(python)
    return None


class Guest:
    """A sandbox whose runtime runs what we send."""

    def __init__(self, sandbox: ServerSandbox) -> None:
        self.sandbox = sandbox
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def run(self, source: str) -> Any:
        """The value of `result` after running the source inside."""
        async with asyncio.timeout(DEADLINE):
            if self._streams is None:
                connection, _ = await asyncio.get_running_loop().sock_accept(self.sandbox.runtime_api)
                self._streams = await asyncio.open_connection(sock=connection, limit=1 << 24)
            reader, writer = self._streams
            writer.write(json.dumps(source).encode() + b"\n")
            line = await reader.readline()
            return json.loads(line) if line else "the runtime died"

    async def become_template(self) -> asyncio.StreamWriter:
        """It then waits for a byte, to fork."""
        await self.run("result = 1")
        assert self._streams is not None
        writer = self._streams[1]
        writer.write(b'"template"\n')
        return writer

    async def output(self) -> bytes:
        """What it has written up to its end."""
        async with asyncio.timeout(DEADLINE):
            await self.sandbox.exited
        taken = b""
        while data := os.read(self.sandbox.output, 65536):
            taken += data
        return taken

    async def end(self, keep_tmp: bool = False) -> None:
        if self._streams:
            self._streams[1].close()
            with contextlib.suppress(ConnectionError):
                await self._streams[1].wait_closed()
            self._streams = None
        await self.sandbox.end(keep_tmp)


class Bench:
    """A sandbox server at work, and the directory its packages are in."""

    def __init__(self, mode: Isolation, sandboxes: ServerSandboxes, code_root: Path, run_dir: Path) -> None:
        self.mode: Isolation = mode
        self.sandboxes = sandboxes
        self.code_root = code_root
        self.run_dir = run_dir
        self.server = sandboxes._process.pid  # pyright: ignore[reportPrivateUsage]  # tests kill it
        self._guests: list[Guest] = []

    def package(self, files: dict[str, str | bytes], executable: bool = False) -> str:
        """The digest of a prepared package with these files."""
        contents = {name: text.encode() if isinstance(text, str) else text for name, text in files.items()}
        digest = hashlib.sha256(repr((executable, sorted(contents.items()))).encode()).hexdigest()
        for name, content in contents.items():
            path = self.code_root / digest / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
            path.chmod(0o755 if executable else 0o644)
        (self.code_root / digest).mkdir(exist_ok=True)
        return digest

    async def guest(
        self,
        files: dict[str, str | bytes] | None = None,
        *,
        runtime: str = "python",
        executable: bool = False,
        **more: Any,
    ) -> Guest:
        """`command`: its words; `waiting`: the variables with which it can wait."""
        variables = {**VARIABLES, **more.pop("variables", {})}
        waiting = more.pop("waiting", None)
        if "command" in more:
            more["command"] = Command(more["command"], waiting)
        spec = SandboxSpec(runtime, self.package(files or {"handler.py": ""}, executable), variables, **more)
        guest = Guest(await self.sandboxes.start(spec))
        self._guests.append(guest)
        return guest

    async def after(self, former: Guest, files: dict[str, str | bytes] | None = None) -> Guest:
        """The next sandbox of the same environment."""
        spec = SandboxSpec("python", self.package(files or {"handler.py": ""}), VARIABLES)
        guest = Guest(await self.sandboxes.start(spec, former.sandbox))
        self._guests.append(guest)
        return guest

    async def hold(self, guest: Guest) -> None:
        """Make a template of a guest that was started with `template`. Raises Unfit."""
        writer = await guest.become_template()
        await self.sandboxes.hold(guest.sandbox, lambda: writer.write(b"x"))

    async def copy(self, template: Guest, **variables: str) -> Guest:
        spec = SandboxSpec("python", "0" * 64, {**VARIABLES, **variables})
        guest = Guest(await self.sandboxes.copy(template.sandbox, spec))
        self._guests.insert(0, guest)
        return guest

    async def end_guests(self) -> None:
        for guest in self._guests:
            await guest.end()


def _make_place(as_nobody: bool) -> tuple[Path, Path, Path, Path]:
    """A directory that another user may enter, unlike pytest's own: it, and in it code_root, data and client."""
    place = Path(tempfile.mkdtemp(prefix="lamplighter-test-"))
    place.chmod(0o755)
    code_root, data, client = place / "code", place / "data", place / "client"
    code_root.mkdir()
    data.mkdir()
    shutil.copytree(CLIENT, client, ignore=shutil.ignore_patterns("__pycache__"))
    if as_nobody:
        os.chown(data, NOBODY, NOBODY)
    return place, code_root, data, client


def _make_language(place: Path) -> Path:
    """What stands for a language that the operator installed somewhere: a program, its library, and what is private."""
    for name in ("bin", "lib", "etc"):
        (place / "language" / name).mkdir(parents=True)
        (place / "language" / name / f"of-{name}").touch()
    return Path(shutil.copy("/bin/ls", place / "language" / "bin" / "tool"))


@asynccontextmanager
async def serving(
    mode: Isolation, before: Sequence[str] = (), storage: bool = False, on: Path | None = None
) -> AsyncGenerator[Bench]:
    """`before`: a command that starts the one that is handed to it. storage: with /tmp on the disk; `on` says on which,
    if not that of temporary files."""
    needs(mode)
    as_nobody = mode == "user" and os.geteuid() == 0
    place, code_root, data, client = _make_place(as_nobody)
    python = (ordinary_python() if as_nobody else None) or sys.executable
    runtimes = {
        "python": Runtime(python, str(client)),
        "broken": Runtime("/nonexistent/python", str(client)),
        "custom": Runtime(python, None, "command"),
        "language": Runtime(python, str(client), "command", str(_make_language(place))),
    }
    told = Configuration(
        str(code_root), str(data / "run"), runtimes, mode, storage=str(on or data) if storage else None
    )
    command = (*before, *_AS_NOBODY, python) if as_nobody else (*before, python)
    sandboxes = await ServerSandboxes.launch(told, command)
    bench = Bench(mode, sandboxes, code_root, data / "run")
    try:
        yield bench
    finally:
        try:
            await bench.end_guests()
        finally:
            killed = sandboxes.lost.done()
            await sandboxes.close()
        if killed:  # its cgroups are removed by the next server
            await (await ServerSandboxes.launch(told, command)).close()
        shutil.rmtree(place)


def story(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Run an async test function to its end; its fixtures stay those of its signature."""

    @functools.wraps(test)
    def run(*arguments: Any, **named: Any) -> None:
        uvloop.run(test(*arguments, **named))  # the loop of the service

    return run


async def until(condition: Callable[[], object], what: str) -> None:
    """Wait for a condition that nothing announces."""
    try:
        async with asyncio.timeout(DEADLINE):
            while not condition():  # noqa: ASYNC110  # nothing announces it
                await asyncio.sleep(0.01)
    except TimeoutError:
        raise AssertionError(f"not within {DEADLINE:.0f} seconds: {what}") from None


def children(pid: int) -> list[int]:
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def descendants(pid: int) -> list[int]:
    """All processes below one; a snapshot that is only good when they are at rest."""
    return [found for child in children(pid) for found in (child, *descendants(child))]


def serving_process(pid: int) -> int:
    """The process that is the server: in isolation user the child of the one that was started, in other namespaces."""

    def looks(which: int) -> tuple[bytes, str]:
        return Path(f"/proc/{which}/cmdline").read_bytes(), os.readlink(f"/proc/{which}/ns/pid")

    command, namespace = looks(pid)
    inner = [child for child in children(pid) if looks(child)[0] == command and looks(child)[1] != namespace]
    return inner[0] if inner else pid


def fork_servers(server: int) -> list[int]:
    """Of the server that was started as `server`."""
    found = children(serving_process(server))
    return [pid for pid in found if b"sandbox.forkserver" in Path(f"/proc/{pid}/cmdline").read_bytes()]


def survivors(server: int) -> list[int]:
    """What clears up after the server that was started as `server`: one, once it has taken its name."""
    return [pid for pid in children(server) if _name(pid) == NAME]


def _name(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().rstrip()
    except OSError:
        return ""


def cgroup_parents(run_dir: Path, seen_by: Path = Path("/proc/self")) -> list[Path]:
    name = "lamplighter-" + hashlib.sha256(os.path.realpath(run_dir).encode()).hexdigest()[:16]
    places = [place / name for found in hierarchies(seen_by) for place in {found.own, found.top}]
    return [place for place in places if place.exists()]


def cgroups_of(run_dir: Path, seen_by: Path = Path("/proc/self")) -> list[Path]:
    """Those of sandboxes. `seen_by`: who may see other hierarchies than we do."""
    entries = [entry for parent in cgroup_parents(run_dir, seen_by) for entry in parent.iterdir() if entry.is_dir()]
    return [entry for entry in entries if entry.name != STILL]
