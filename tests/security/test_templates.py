"""SnapStart's templates, attacked by their own code: the memory that is copied is a guest's, and hostile."""

import platform
from pathlib import Path

import pytest

from lamplighter.sandbox.contract import Isolation
from lamplighter.sandbox.seccomp import COPY
from support.sandbox_server import Bench, Guest, descendants, serving, story

pytestmark = pytest.mark.skipif(platform.machine() != "x86_64", reason="copies are made on x86_64 only")
ISOLATED = pytest.mark.parametrize("mode", [pytest.param("full", marks=pytest.mark.root), "user"])

_CAPABILITIES = """
fields = {line.partition(":")[0]: line.partition(":")[2].strip() for line in open("/proc/self/status")}
result = [int(fields[name], 16) for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")]
result += [fields["NoNewPrivs"], fields["Seccomp"]]
"""


async def template(bench: Bench, source: str = "") -> Guest:
    """Held, after it has run the source."""
    guest = await bench.guest(template=True)
    await guest.run(source)
    await bench.hold(guest)
    return guest


@ISOLATED
@story
async def test_a_template_cannot_make_namespaces_by_itself(mode: Isolation) -> None:
    """Nor can anybody else: without a tracer, the one form of clone that there is for it does not exist."""
    async with serving(mode) as bench:
        for guest in (await bench.guest(template=True), await bench.copy(await template(bench))):
            assert await guest.run(f"result = call(56, {COPY}, 0, 0, 0, 0)") == "ENOSYS"
            assert await guest.run("result = call(56, 0x10000000 | 17, 0, 0, 0, 0)") == "EPERM"
            assert await guest.run("result = call(272, 0x10000000)") == "EPERM"  # unshare
            assert await guest.run("result = call(101, 0, 0, 0, 0)") == "EPERM"  # ptrace: a tracer of its own
            assert await guest.run("result = call(308, 0, 0)") == "EPERM"  # setns


@ISOLATED
@story
async def test_a_copy_has_no_privilege_and_nothing_of_its_siblings(mode: Isolation) -> None:
    keep = """
import socket, threading
os.kept = [os.open("/tmp", os.O_RDONLY), os.open("/tmp/file", os.O_RDWR | os.O_CREAT), *os.pipe(), *socket.socketpair()]
os.chdir("/tmp")
"""
    async with serving(mode) as bench:
        held = await template(bench, keep)
        one, two = await bench.copy(held), await bench.copy(held)
        for copy in (one, two):
            assert await copy.run(_CAPABILITIES) == [0, 0, 0, 0, 0, "1", "2"]
            # No descriptor and no directory of the template's is left, by which copies could meet.
            assert await copy.run("result = sorted(int(n) for n in os.listdir('/proc/self/fd'))") == [0, 1, 2, 3]
            assert await copy.run("result = os.getcwd()") == "/var/task"
            assert (
                await copy.run("result = [attempt(os.stat, f'/dev/fd/{n}') for n in range(4, 40)].count('done')") == 0
            )
            for name, value in (("mount", 165), ("umount2", 166), ("chroot", 161), ("sethostname", 170)):
                assert await copy.run(f"result = call({value}, 0, 0, 0, 0, 0)") == "EPERM", name
            assert await copy.run("result = attempt(os.mkdir, '/proc/x')") in ("EROFS", "EACCES", "ENOENT", "EPERM")
            masked = "result = open('/proc/cmdline').read()"
            assert await copy.run(masked) == ""
        await one.run("os.setsid; os.secret = b'of-copy-one' * 100; open('/tmp/of-one', 'w').write('1')")
        assert await two.run("result = os.listdir('/tmp')") == ["file"]
        seen = "result = sorted(int(name) for name in os.listdir('/proc') if name.isdigit())"
        assert len(await two.run(seen)) == 2
        reach = """
result = []
for pid in range(1, 40000):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        continue
    except PermissionError:
        pass
    result.append(pid)
"""
        assert await two.run(reach) == await two.run(seen)


@ISOLATED
@story
async def test_a_hostile_template_gets_no_further_than_its_own_copies(mode: Isolation) -> None:
    """It attacks in each turn between two forks, when it knows that copies of it run."""
    async with serving(mode) as bench:
        for attack in (
            # Other processes in the window, namespaces in a form of its own, another program.
            "tried = [call(57) for _ in range(50)]",
            f"tried = [call(56, {COPY | 0x100}, 0, 0, 0, 0), call(56, 0x7C020011, 0, 0, 0, 0), call(272, 0x10000000)]",
            "tried = [attempt(os.execv, '/bin/sh', ['sh', '-c', 'sleep 1000'])]",
            # A copy, which it could reach as it is of the same user.
            "tried = [attempt(os.kill, number, 9) for number in range(3, 100)]",
            "tried = [attempt(os.open, f'/proc/{number}/mem', os.O_RDWR) for number in range(3, 100)]",
            "tried = [attempt(os.write, 1, b'x'), attempt(os.listdir, '/proc'), attempt(os.pipe)]",
        ):
            guest = await bench.guest(template=True)
            await guest.run(f"fork, met = os.fork, set()\n{_ATTACK.format(attack)}")
            before = set(descendants(bench.server))
            await bench.hold(guest)
            copies = [await bench.copy(guest) for _ in range(3)]
            for copy in copies:
                assert await copy.run("result = sorted(os.fork.__globals__['met'])") == ["EPERM"], attack
                assert await copy.run(_CAPABILITIES) == [0, 0, 0, 0, 0, "1", "2"]
            made = [_status(pid) for pid in set(descendants(bench.server)) - before]
            # Who is held by a keeper has not run yet, and may be in the making.
            guests = [found for found in made if found.get("Seccomp") == "2" and found["TracerPid"] == "0"]
            assert len(guests) >= 6  # two of each copy
            assert all(int(found[name], 16) == 0 for found in guests for name in ("CapPrm", "CapEff", "CapBnd"))
            await guest.end()


_ATTACK = """
def attack():
    if os.getpid() == 2:
        {}
        met.update(tried)
    return fork()
os.fork = attack
"""


def _status(pid: int) -> dict[str, str]:
    try:
        text = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return {}
    return {name: value.strip() for name, _, value in (line.partition(":") for line in text.splitlines())}
