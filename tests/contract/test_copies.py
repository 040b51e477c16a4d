"""Copies of a template: sandboxes in which an initialised runtime goes on, each on its own (see sandbox/keeper.py)."""

import os
import platform
import signal
import time
from pathlib import Path

import pytest

from lamplighter.sandbox.contract import Exit, Isolation, SandboxError, Unfit
from support.sandbox_server import (
    Bench,
    Guest,
    cgroups_of,
    children,
    descendants,
    serving,
    serving_process,
    story,
    until,
)

pytestmark = pytest.mark.skipif(platform.machine() != "x86_64", reason="copies are made on x86_64 only")
ISOLATED = pytest.mark.parametrize("mode", [pytest.param("full", marks=pytest.mark.root), "user"])

_FILL = """
import sys
sys.marker = os.urandom(8).hex()
os.makedirs("/tmp/deep/er")
open("/tmp/deep/er/file", "w").write("x" * 100_000)
os.chmod("/tmp/deep/er/file", 0o750)
os.symlink("/etc/passwd", "/tmp/deep/link")
os.mkfifo("/tmp/pipe")
result = sys.marker
"""
_LOOK = """
import sys
result = [sys.marker, os.environ["NAME"], os.getuid(), os.getgid(), os.getcwd(), len(open("/tmp/deep/er/file").read()),
          oct(os.stat("/tmp/deep/er/file").st_mode), os.readlink("/tmp/deep/link"), os.path.exists("/tmp/pipe")]
"""


def is_server(pid: int) -> bool:
    """A keeper is a fork of the sandbox server, and has its name."""
    return b"lamplighter.sandbox.server" in Path(f"/proc/{pid}/cmdline").read_bytes()


async def hold_and_find_keeper(bench: Bench, template: Guest) -> int:
    server = serving_process(bench.server)  # whose child it is; one that furnishes a copy is the keeper's
    before = set(children(server))
    await bench.hold(template)
    (keeper,) = [pid for pid in set(children(server)) - before if is_server(pid)]
    return keeper


def furnishes(keeper: int) -> bool:
    """Whether a process of its makes what a copy is to have, now or within some milliseconds."""
    deadline = time.monotonic() + 0.2
    while not (found := children(keeper)) and time.monotonic() < deadline:
        pass  # it takes less time than a sleep
    return bool(found)


def is_fork_server(pid: int) -> bool:
    return b"lamplighter.sandbox.forkserver" in Path(f"/proc/{pid}/cmdline").read_bytes()


@ISOLATED
@story
async def test_a_copy_goes_on_from_where_its_template_stands(mode: Isolation) -> None:
    async with serving(mode) as bench:
        template = await bench.guest(template=True)
        marker = await template.run(_FILL)
        await bench.hold(template)
        for name in ("one", "two"):
            copy = await bench.copy(template, NAME=name)
            found = await copy.run(_LOOK)
            assert found == [marker, name, 993, 990, "/var/task", 100_000, "0o100750", "/etc/passwd", False]


@ISOLATED
@story
async def test_a_copy_has_namespaces_tmp_processes_and_network_of_its_own(mode: Isolation) -> None:
    async with serving(mode) as bench:
        template = await bench.guest(template=True)
        kinds = ("mnt", "pid", "net", "ipc", "uts", "user")
        spaces = f"result = [os.readlink('/proc/self/ns/' + kind) for kind in {kinds!r}]"
        of_template = await template.run(spaces)
        await bench.hold(template)
        one, two = await bench.copy(template), await bench.copy(template)
        of_one, of_two = await one.run(spaces), await two.run(spaces)
        for different in zip(of_template, of_one, of_two, strict=True):
            assert len(set(different)) == 3
        await one.run("open('/tmp/mine', 'w').write('1')")
        assert await two.run("result = os.listdir('/tmp')") == []
        processes = await one.run("result = sorted(int(name) for name in os.listdir('/proc') if name.isdigit())")
        assert len(processes) == 2  # its process 1 and itself
        assert processes[0] == 1
        assert await one.run("import socket; result = attempt(socket.create_connection, ('127.0.0.1', 4567))") == (
            "ECONNREFUSED"
        )
        name = "import socket; s = socket.socket(socket.AF_UNIX); result = attempt(s.bind, '\\0name'); os.kept = s"
        assert [await one.run(name), await two.run(name)] == ["done", "done"]


@pytest.mark.root
@story
async def test_a_copy_has_a_cgroup_of_its_own() -> None:
    async with serving("full") as bench:
        template = await bench.guest(template=True)
        await bench.hold(template)
        copy = await bench.copy(template)
        await copy.run("result = bytearray(40 << 20)[-1]")
        await copy.run("os.eaten = b'x' * (30 << 20)")
        before = template.sandbox.memory_peak()
        peak = copy.sandbox.memory_peak()
        if peak is None or before is None:
            pytest.skip("no memory controller here")
        assert peak > before + (30 << 20)


@ISOLATED
@story
async def test_how_a_copy_ended_is_told_and_others_live_on(mode: Isolation) -> None:
    async with serving(mode) as bench:
        template = await bench.guest(template=True)
        await bench.hold(template)
        other = await bench.copy(template)
        for source, expected in (
            ("os._exit(0)", Exit(code=0)),
            ("os._exit(7)", Exit(code=7)),
            ("import signal; os.kill(os.getpid(), signal.SIGKILL)", Exit(signal=9)),
            ("import ctypes; ctypes.string_at(0)", Exit(signal=11)),
        ):
            copy = await bench.copy(template)
            assert await copy.run(source) == "the runtime died"
            assert await copy.sandbox.exited == expected
            await copy.end()
        assert await other.run("result = 1") == 1


@ISOLATED
@story
async def test_what_is_orphaned_in_a_copy_is_reaped_and_ends_with_it(mode: Isolation) -> None:
    async with serving(mode) as bench:
        template = await bench.guest(template=True)
        await bench.hold(template)
        copy = await bench.copy(template)
        await copy.run("import subprocess; subprocess.Popen(['sleep', '1000'], start_new_session=True)")
        left = "result = [open(f'/proc/{n}/comm').read() for n in os.listdir('/proc') if n.isdigit()].count('sleep\\n')"
        assert await copy.run(left) >= 1
        before = descendants(bench.server)
        await copy.end()
        await until(lambda: len(descendants(bench.server)) < len(before), "its processes are gone")


@ISOLATED
@story
async def test_a_template_ends_and_leaves_nothing(mode: Isolation) -> None:
    async with serving(mode) as bench:
        template = await bench.guest(template=True)
        await bench.hold(template)
        copy = await bench.copy(template)
        groups = len(cgroups_of(bench.run_dir))
        await template.end()
        assert await copy.sandbox.exited == Exit(signal=9)
        await copy.end()
        with pytest.raises(SandboxError, match="gone"):
            await bench.copy(template)
        # Both, and the copy that was kept ready.
        await until(lambda: not groups or len(cgroups_of(bench.run_dir)) <= groups - 2, "their cgroups are gone")
        assert await (await bench.guest()).run("result = 1") == 1


@ISOLATED
@story
async def test_what_a_fork_would_not_bring_along_or_would_share_is_not_copied(mode: Isolation) -> None:
    async with serving(mode) as bench:
        for source in (
            "import threading, time; threading.Thread(target=time.sleep, args=(1000,), daemon=True).start()",
            "import subprocess; os.child = subprocess.Popen(['sleep', '1000'])",
            "import mmap; os.shared = mmap.mmap(-1, 4096)",
        ):
            template = await bench.guest(template=True)
            await template.run(source)
            with pytest.raises(Unfit):
                await bench.hold(template)
            await template.end()


@ISOLATED
@story
async def test_a_template_dies_with_its_keeper(mode: Isolation) -> None:
    async with serving(mode) as bench:
        template = await bench.guest(template=True)
        keeper = await hold_and_find_keeper(bench, template)
        os.kill(keeper, signal.SIGKILL)
        assert await template.sandbox.exited == Exit(signal=9)
        await template.end()
        assert await (await bench.guest()).run("result = 1") == 1


@ISOLATED
@story
async def test_a_keeper_killed_while_it_furnishes_a_copy_holds_nothing_up(mode: Isolation) -> None:
    async with serving(mode) as bench:
        template = await bench.guest(template=True)
        keeper = await hold_and_find_keeper(bench, template)
        while not furnishes(keeper):  # the first spare was quicker than we looked: another is made for the next
            await (await bench.copy(template)).run("result = 1")
        os.kill(keeper, signal.SIGKILL)
        assert await template.sandbox.exited == Exit(signal=9)
        await template.end()
        assert await (await bench.guest()).run("result = 1") == 1


@ISOLATED
@story
async def test_a_fork_server_that_is_killed_takes_templates_and_copies_along_and_nothing_else(mode: Isolation) -> None:
    async with serving(mode) as bench:
        servers = descendants(bench.server)  # itself, in isolation user
        template = await bench.guest(template=True)
        await bench.hold(template)
        copies = [await bench.copy(template) for _ in range(2)]
        before = [pid for pid in descendants(bench.server) if pid not in servers]
        fork_server = next(pid for pid in before if is_fork_server(pid))
        os.kill(fork_server, signal.SIGKILL)
        for copy in copies:
            await copy.sandbox.exited
            await copy.end()
        await template.end()
        await until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in before), "all that it had is gone")
        assert await (await bench.guest()).run("result = 1") == 1  # the server has heard of each of these ends
