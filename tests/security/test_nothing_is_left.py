"""What a sandbox took is given back, however it, the fork server, the server or the service ended."""

import asyncio
import hashlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

import lamplighter
from lamplighter.sandbox.cgroup import hierarchies
from lamplighter.sandbox.client import ServerSandboxes
from lamplighter.sandbox.contract import Isolation, SandboxSpec
from lamplighter.sandbox.messages import Configuration, Runtime
from lamplighter.sandbox.supply import LATELY
from lamplighter.sandbox.survivor import AGAIN
from support.sandbox_server import (
    CLIENT,
    VARIABLES,
    cgroup_parents,
    cgroups_of,
    children,
    descendants,
    fork_servers,
    needs,
    serving,
    serving_process,
    story,
    survivors,
    until,
)

MODES = pytest.mark.parametrize("mode", [pytest.param("full", marks=pytest.mark.root), "user", "none"])
STARTS = int(os.environ.get("LAMPLIGHTER_TEST_STARTS", "60"))  # 1000 for the long form


@MODES
@story
async def test_after_many_starts_and_ends_nothing_is_left_of_them(mode: Isolation) -> None:
    async with serving(mode) as bench:
        for _ in range(3):
            guest = await bench.guest()
            await guest.run("result = 1")  # the event loop, too, opens what it keeps
            await guest.end()
        await until(_at_rest(bench.server, mode), "only empty sandboxes wait")
        ours, server = _descriptors(os.getpid()), _descriptors(serving_process(bench.server))
        served = serving_process(bench.server)
        mounts, others = _mounts(served, bench.run_dir.parent)
        for _ in range(STARTS // 4):
            guests = await asyncio.gather(*(bench.guest() for _ in range(4)))
            await guests[0].run("import subprocess; subprocess.Popen(['sleep', '1000'])")
            await asyncio.gather(*(guest.end() for guest in guests))
        await until(_at_rest(bench.server, mode), "only empty sandboxes wait")
        await until(lambda: _descriptors(os.getpid()) == ours, "we have closed what we opened")
        await until(lambda: _descriptors(served) == server, "the server has closed what it opened")
        ours_now, others_now = _mounts(served, bench.run_dir.parent)
        assert ours_now == mounts
        assert not others_now - others  # there may be fewer: the kernel takes the copy of one whose place is removed
        run_dir = bench.run_dir
        groups = cgroups_of(run_dir)
        assert len(groups) in (0, _empty_kept(mode) * len(hierarchies()))
        left = descendants(bench.server)
    await until(lambda: not any(_alive(pid) for pid in left), "everything has ended")
    assert not run_dir.exists()
    assert not cgroup_parents(run_dir)


@MODES
@story
async def test_kill_9_of_a_fork_server_leaves_nothing_and_the_next_start_works(mode: Isolation) -> None:
    async with serving(mode) as bench:
        killed = await bench.guest()
        killed.sandbox.freeze()
        (forkserver,) = fork_servers(bench.server)
        before = [forkserver, *descendants(forkserver)]
        os.kill(forkserver, signal.SIGKILL)
        await until(lambda: not any(_alive(pid) for pid in before), "its sandboxes have ended with it")
        guest = await bench.guest()
        assert await guest.run("result = 1") == 1
        await guest.end()
        await killed.end()  # until then its /tmp is there for one that comes after it
        await until(_at_rest(bench.server, mode), "only empty sandboxes wait")
        await until(
            lambda: len(cgroups_of(bench.run_dir)) in (0, _empty_kept(mode) * len(hierarchies())),
            "groups of the dead are removed",
        )


_SERVICE = """
import asyncio, sys
from support.sandbox_server import VARIABLES
from lamplighter.sandbox.client import ServerSandboxes
from lamplighter.sandbox.contract import SandboxSpec
from lamplighter.sandbox.messages import Configuration, Runtime
from lamplighter.sandbox.supply import LATELY
from lamplighter.sandbox.survivor import AGAIN

async def main():
    code_root, run_dir, client, mode, digest = sys.argv[1:]
    told = Configuration(code_root, run_dir, {"python": Runtime(sys.executable, client)}, mode)
    sandboxes = await ServerSandboxes.launch(told)
    kept = [await sandboxes.start(SandboxSpec("python", digest, VARIABLES)) for _ in range(3)]
    kept[0].freeze()
    print("up", flush=True)
    await asyncio.sleep(1000)

asyncio.run(main())
"""


@pytest.mark.root
@pytest.mark.parametrize("mode", ["full", "none"])
@pytest.mark.parametrize("victim", ["service", "server", "both", "all"])
@story
async def test_kill_9_of_ours_leaves_nothing_running_and_a_new_start_removes_the_rest(
    mode: Isolation, victim: str
) -> None:
    needs(mode if os.geteuid() == 0 else "full")
    with tempfile.TemporaryDirectory(prefix="lamplighter-test-") as place:
        digest = hashlib.sha256(b"").hexdigest()
        code_root, run_dir = Path(place, "code"), Path(place, "run")
        (code_root / digest).mkdir(parents=True)
        with _service(str(code_root), str(run_dir), str(CLIENT), mode, digest) as service:
            assert service.stdout and service.stdout.readline() == b"up\n"
            inside = descendants(service.pid)
            (server,) = [pid for pid in inside if _parent(pid) == service.pid]
            assert len(inside) > 6
            await until(lambda: survivors(server), "somebody is there to clear up")
            if victim in ("both", "all"):
                service.send_signal(signal.SIGSTOP)  # so that it does not notice the server's end
            if victim == "all":
                os.kill(server, signal.SIGSTOP)  # nor this the end of the one that clears up
                os.kill(survivors(server)[0], signal.SIGKILL)
            os.kill(service.pid if victim == "service" else server, signal.SIGKILL)
            if victim == "server":
                await until(lambda: not any(_alive(pid) for pid in inside if pid != server), "what it held has ended")
            service.kill()
        if victim != "all":
            await until(lambda: not any(_alive(pid) for pid in inside), "everything has ended, what was frozen too")
            await until(lambda: not run_dir.exists() and not cgroup_parents(run_dir), "somebody has cleaned up")
        told = Configuration(str(code_root), str(run_dir), {"python": Runtime(sys.executable, str(CLIENT))}, mode)
        sandboxes = await ServerSandboxes.launch(told)
        try:
            assert not cgroups_of(run_dir)
            await until(lambda: not any(_alive(pid) for pid in inside), "everything has ended, what was frozen too")
            sandbox = await sandboxes.start(SandboxSpec("python", digest, VARIABLES))
            await sandbox.end()
        finally:
            await sandboxes.close()
        assert not cgroup_parents(run_dir)


@pytest.mark.root
@MODES
@story
async def test_who_clears_up_after_kill_9_is_replaced_when_killed_alone_and_so_is_the_next(mode: Isolation) -> None:
    needs(mode if os.geteuid() == 0 else "full")
    with tempfile.TemporaryDirectory(prefix="lamplighter-test-") as place:
        digest = hashlib.sha256(b"").hexdigest()
        code_root, run_dir = Path(place, "code"), Path(place, "run")
        (code_root / digest).mkdir(parents=True)
        with _service(str(code_root), str(run_dir), str(CLIENT), mode, digest) as service:
            try:
                assert service.stdout and service.stdout.readline() == b"up\n"
                (server,) = children(service.pid)
                await until(lambda: survivors(server), "somebody is there to clear up")
                began = time.monotonic()
                for _ in range(3):
                    (last,) = await _replaced(server)
                assert time.monotonic() - began >= 2 * AGAIN, "the second and third had to wait"
                assert os.readlink(f"/proc/{last}/ns/mnt") == os.readlink("/proc/self/ns/mnt")
                for pid in (service.pid, server):
                    os.kill(pid, signal.SIGSTOP)  # so that neither notices the other's end
                inside = descendants(service.pid)
                assert len(inside) > 6
                for pid in {*inside} - {last}:
                    os.kill(pid, signal.SIGKILL)
            finally:
                service.kill()
        await until(lambda: not any(_alive(pid) for pid in inside), "everything has ended, what was frozen too")
        await until(lambda: not run_dir.exists() and not cgroup_parents(run_dir), "somebody has cleaned up")


async def _replaced(server: int) -> list[int]:
    """Who clears up, once the one who did has been killed and reaped."""
    before = survivors(server)
    os.kill(before[0], signal.SIGKILL)
    await until(lambda: not {*before} & {*children(server)}, "it has been reaped")
    await until(lambda: survivors(server), "another is there")
    return survivors(server)


def _service(*arguments: str) -> "subprocess.Popen[bytes]":
    paths = [Path(lamplighter.__file__).parents[1], CLIENT.parents[1]]
    return subprocess.Popen(
        [sys.executable, "-c", _SERVICE, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, paths))},
    )


def _empty_kept(mode: Isolation) -> int:
    return 0 if mode == "none" else 2


def _resting(mode: Isolation) -> int:
    """Processes below the server: the fork server, two for each empty sandbox, and its survivor; in user one more that
    is the server."""
    return 2 + 2 * _empty_kept(mode) + (mode == "user")


def _at_rest(server: int, mode: Isolation) -> Callable[[], bool]:
    """Whether there are so many, and have been for as long as more may be kept after a start."""
    since: float | None = None

    def at_rest() -> bool:
        nonlocal since
        if len(descendants(server)) != _resting(mode):
            since = None
        elif since is None:
            since = time.monotonic()
        return since is not None and time.monotonic() - since > LATELY

    return at_rest


def _mounts(pid: int, place: Path) -> tuple[int, Counter[str]]:
    """Where `pid` lives, how many are mounted below `place`, and what else is, by its path; nothing where everybody
    lives, since others mount too."""
    paths = [line.split()[4] for line in Path(f"/proc/{pid}/mountinfo").read_text().splitlines()]
    ours = [path for path in paths if path.startswith(str(place))]
    shared = os.path.samefile(f"/proc/{pid}/ns/mnt", "/proc/self/ns/mnt")
    return len(ours), Counter() if shared else Counter(paths) - Counter(ours)


def _descriptors(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))


def _parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in ("Z", "X")
    except OSError:
        return False
