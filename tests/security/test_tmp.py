"""/tmp stays with its environment over a reset, is nobody else's, and whatever is left in it does nothing."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from lamplighter.sandbox.contract import Isolation, SandboxError
from support.sandbox_server import Bench, Guest, descendants, serving, serving_process, story, until

MODES = pytest.mark.parametrize("mode", [pytest.param("full", marks=pytest.mark.root), "user", "none"])
ISOLATED = pytest.mark.parametrize("mode", [pytest.param("full", marks=pytest.mark.root), "user"])
_TMP = "import tempfile; tmp = os.environ.get('TMPDIR', '/tmp')\n"
_WRITE = "os.makedirs(tmp + '/a/b'); open(tmp + '/a/b/c', 'w').write('kept'); os.chmod(tmp + '/a', 0o700)"
_READ = "path = tmp + '/a/b/c'; result = [open(path).read(), os.stat(path).st_uid == os.getuid()]\n"
_CHANGE = "open(path, 'w').write('x'); os.remove(path); os.rmdir(tmp + '/a/b')"


@MODES
@pytest.mark.parametrize("death", ["os._exit(1)", None])
@story
async def test_what_was_written_is_there_and_can_be_changed_after_a_reset(mode: Isolation, death: str | None) -> None:
    async with serving(mode) as bench:
        former = await bench.guest()
        await former.run(_TMP + _WRITE)
        if death:
            await former.run(death)
            await former.sandbox.exited
        await former.end(keep_tmp=True)
        later = await bench.after(former)
        assert await later.run(_TMP + _READ + _CHANGE) == ["kept", True]
        await later.end(keep_tmp=True)
        last = await bench.after(later)
        assert await last.run(_TMP + "result = os.listdir(tmp), os.listdir(tmp + '/a')") == [["a"], []]
        await last.end()


@ISOLATED
@story
async def test_nobody_else_gets_it_and_it_is_gone_with_its_environment(mode: Isolation) -> None:
    async with serving(mode) as bench:
        former = await bench.guest()
        mounts = _mounts(bench)
        await former.run("open('/tmp/private', 'w').write('x')")
        await former.end(keep_tmp=True)
        for _ in range(3):
            stranger = await bench.guest()
            assert await stranger.run("result = os.listdir('/tmp')") == []
            await stranger.end()
        with pytest.raises(SandboxError, match="no /tmp"):
            await bench.after(former, {"handler.py": "# another function's"})
        heir = await bench.after(former)
        assert await heir.run("result = os.listdir('/tmp')") == [], "who asked wrongly has lost it"
        await heir.end()
        await until(lambda: _mounts(bench) == mounts - 1, "the server has let go of everything")


@pytest.mark.root
@story
async def test_nobody_becomes_the_user_whose_files_are_kept() -> None:
    async with serving("full") as bench:
        former = await bench.guest()
        mine = await _user(bench, former)
        await former.end(keep_tmp=True)
        strangers = [await bench.guest() for _ in range(6)]
        assert mine not in {await _user(bench, guest) for guest in strangers}
        assert mine not in _users(bench), "nor is who waits"
        later = await bench.after(former)
        assert await _user(bench, later) == mine
        assert await later.run("result = os.getuid()") == 993


@ISOLATED
@story
async def test_links_devices_and_privileged_programs_left_there_do_nothing(mode: Isolation) -> None:
    async with serving(mode) as bench:
        former = await bench.guest()
        await former.run("""
import shutil, socket
for name, target in {"host": "/../../etc/shadow", "proc": "/proc/1/root", "self": "/tmp/self"}.items():
    os.symlink(target, "/tmp/" + name)
shutil.copy("/usr/bin/id", "/tmp/id"); os.chmod("/tmp/id", 0o6755)
os.mkfifo("/tmp/fifo")
socket.socket(socket.AF_UNIX).bind("/tmp/socket")
os.mkdir("/tmp/closed", 0)
deep = os.open("/tmp", os.O_RDONLY)
for _ in range(3000):
    os.mkdir("d" * 50, dir_fd=deep)
    deeper = os.open("d" * 50, os.O_RDONLY, dir_fd=deep)
    os.close(deep)
    deep = deeper
""")
        await former.end(keep_tmp=True)
        later = await bench.after(former)
        assert await later.run("""
import subprocess
def attempt(call, *arguments):
    try: return call(*arguments) is None
    except OSError as error: return type(error).__name__
done = subprocess.run(["/tmp/id", "-u"], capture_output=True, text=True)
result = [attempt(open, "/tmp/host"), attempt(os.listdir, "/tmp/proc"), attempt(open, "/tmp/self"),
          done.stdout.strip() == str(os.getuid()), attempt(os.mknod, "/tmp/device", 0o20666, os.makedev(1, 1)),
          open("/proc/self/status").read().split("CapEff:")[1].split()[0]]
""") == ["FileNotFoundError", "FileNotFoundError", "OSError", True, "PermissionError", "0" * 16]
        assert await (await bench.guest()).run("result = 1") == 1
        await later.end()


@pytest.mark.root
@story
async def test_what_counts_as_memory_goes_on_counting_after_a_reset_and_is_dropped_when_it_leaves_none() -> None:
    async with serving("full") as bench:
        if "memory" not in bench.sandboxes.controllers:
            pytest.skip("no memory controller here")
        former = await bench.guest()
        await former.run("open('/tmp/large', 'wb').write(bytes(80 << 20))")
        await former.end(keep_tmp=True)
        later = await bench.after(former)
        assert await later.run("result = os.path.getsize('/tmp/large')") == 80 << 20
        peak = later.sandbox.memory_peak()
        assert peak is not None and 80 << 20 < peak <= 128 << 20
        await later.run("open('/tmp/more', 'wb').write(bytes(80 << 20))")
        assert (await later.sandbox.exited).signal == 9
        await later.end(keep_tmp=True)
        last = await bench.after(later)
        assert await last.run("result = os.listdir('/tmp')") == []
        await last.run("open('/tmp/more', 'wb').write(bytes(80 << 20))")
        assert not last.sandbox.exited.done()
        await last.end()


def _mounts(bench: Bench) -> int:
    with open(f"/proc/{serving_process(bench.server)}/mountinfo") as file:
        return len(file.readlines())


async def _user(bench: Bench, guest: Guest) -> int:
    """The host's number of who runs its code: it holds a socket that nobody else has."""
    inode = await guest.run("import socket; os.mark = socket.socket(); result = os.fstat(os.mark.fileno()).st_ino")
    (found,) = {user for user, sockets in _holders(bench) if f"socket:[{inode}]" in sockets}
    return found


def _users(bench: Bench) -> set[int]:
    return {user for user, _ in _holders(bench)}


def _holders(bench: Bench) -> Iterator[tuple[int, list[str]]]:
    for pid in descendants(bench.server):
        place = Path(f"/proc/{pid}")
        try:
            user = int((place / "status").read_text().split("Uid:")[1].split()[0])
            yield user, [os.readlink(name) for name in (place / "fd").iterdir()]
        except OSError:
            continue  # gone meanwhile
