"""/tmp on the disk: as large as asked for, no part of the memory, given back whatever happens, and never all of the
disk."""

import asyncio
import contextlib
import errno
import itertools
import os
import signal
import tempfile
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lamplighter.sandbox.contract import Unfit
from lamplighter.sandbox.disk import MB, Disk, Room
from lamplighter.sandbox.stock import FEWEST, READY
from lamplighter.sandbox.storage import LITTLE, MOST_RESERVED, NAME, RESERVE, allowance
from lamplighter.sandbox.tmp import attach, detach
from support.disks import loop_devices, small_disk
from support.sandbox_server import DEADLINE, Bench, children, serving, story, until

pytestmark = pytest.mark.root
_FILL = """
block, written, number = os.urandom(1 << 20), 0, 0
with open("/tmp/full", "wb", 0) as file:
    try:
        while written < MOST: written += file.write(block) >> 20
        os.fsync(file.fileno())
    except OSError as error:
        number = error.errno
result = [written, number]
"""
_KIND = "[line.split()[2] for line in open('/proc/mounts') if line.split()[1] == '/tmp']"


@pytest.fixture(autouse=True)
def needs_a_disk() -> None:
    if os.geteuid() != 0:
        pytest.skip("file systems of our own need root")
    try:
        with tempfile.TemporaryDirectory() as directory:
            Disk(directory).image(512).close()
    except OSError as error:
        pytest.skip(f"no /tmp on the disk here: {error}")


@story
async def test_it_is_full_at_its_size_and_no_part_of_the_memory_and_given_back() -> None:
    async with serving("full", storage=True) as bench:
        guest, other = await bench.guest(memory_size=128), await bench.guest(ephemeral_storage=600)
        source = (
            "s = os.statvfs('/tmp'); result = [s.f_bavail * s.f_frsize >> 20, s.f_files < 50000, os.listdir('/tmp')]"
        )
        assert await guest.run(source) == [512, True, []]
        assert await other.run(source) == [600, True, []]
        written, number = await guest.run(_FILL.replace("MOST", "600"))
        assert [500 < written <= 512, number] == [True, 28]
        assert await other.run(_FILL.replace("MOST", "50")) == [50, 0]
        assert not guest.sandbox.exited.done()
        await guest.end()
        await other.end()
        await until(lambda: _devices(bench) == READY + FEWEST, "only those that are ready are left")


@story
async def test_it_stays_over_a_reset_and_nobody_else_gets_it() -> None:
    async with serving("full", storage=True) as bench:
        former = await bench.guest()
        assert await former.run(_FILL.replace("MOST", "200")) == [200, 0]
        await former.run("os.mkdir('/tmp/mine', 0o700); os._exit(1)")
        await former.end(keep_tmp=True)
        stranger = await bench.guest()
        assert await stranger.run("result = os.listdir('/tmp')") == []
        later = await bench.after(former)
        assert await later.run("os.rmdir('/tmp/mine'); result = os.path.getsize('/tmp/full') >> 20") == 200
        assert await later.run(_FILL.replace("MOST", "250")) == [250, 0]
        assert not later.sandbox.exited.done()


@story
async def test_it_stays_when_the_kernel_had_to_kill_for_memory() -> None:
    async with serving("full", storage=True) as bench:
        if "memory" not in bench.sandboxes.controllers:
            pytest.skip("nothing limits memory here")
        former = await bench.guest(memory_size=128)
        assert await former.run(_FILL.replace("MOST", "300")) == [300, 0]
        await former.run("x = [bytearray(b'x' * (1 << 20)) for _ in range(1000)]")
        assert (await former.sandbox.exited).signal == 9
        await former.end(keep_tmp=True)
        assert former.sandbox.keeps_tmp
        later = await bench.after(former)
        assert await later.run("result = os.path.getsize('/tmp/full') >> 20") == 300


@story
async def test_copies_of_a_template_have_one_each_with_what_it_wrote_and_it_goes_with_them() -> None:
    async with serving("full", storage=True) as bench:
        template = await bench.guest(template=True)
        await template.run("open('/tmp/written', 'w').write('before')")
        try:
            await bench.hold(template)
        except Unfit as error:
            pytest.skip(f"no copies here: {error}")
        one, two = await bench.copy(template), await bench.copy(template)
        for copy in (one, two):
            assert (await copy.run(f"result = {_KIND}"))[-1] == "ext4"
            assert await copy.run("s = os.statvfs('/tmp'); result = 500 < s.f_bavail >> 8 <= 512")
            assert await copy.run("result = open('/tmp/written').read()") == "before"
        await one.run("open('/tmp/of-one', 'w').write('1')")
        assert await two.run("result = os.listdir('/tmp')") == ["written"]
        await one.end(keep_tmp=True)
        assert not one.sandbox.keeps_tmp
        await two.end()
        await template.end()
        await until(lambda: _devices(bench) == READY, "only those that are ready are left")


@story
async def test_whoever_fills_it_leaves_the_host_its_part() -> None:
    with small_disk(800) as place:
        async with serving("full", storage=True, on=place) as bench:
            guests = [await bench.guest(), await bench.guest()]
            reserve = os.statvfs(place).f_blocks * os.statvfs(place).f_frsize // RESERVE
            assert {(await guest.run(f"result = {_KIND}"))[0] for guest in guests} == {"ext4"}
            for name in ("full", "more", "most"):  # what one was told to be all may be more a moment later
                fill = _FILL.replace("MOST", "512").replace("full", name)
                for written, number in await asyncio.gather(*(guest.run(fill) for guest in guests)):
                    assert written < 512 and number == errno.ENOSPC
            room = os.statvfs(place)
            assert room.f_bavail * room.f_frsize > reserve * 3 // 4
            (place / "of-the-service").write_bytes(bytes(8 * MB))
            assert not any(guest.sandbox.exited.done() for guest in guests)


@story
async def test_many_at_once_each_get_one_of_their_own() -> None:
    async with serving("full", storage=True) as bench:
        guests = await asyncio.gather(*(bench.guest() for _ in range(2 * READY)))
        for guest in guests:
            assert await guest.run(f"open('/tmp/x', 'x').close(); result = {_KIND}") == ["ext4"]


@pytest.mark.parametrize("victim", ["server", "storage"])
@story
async def test_kill_9_leaves_nothing_on_the_disk_and_functions_go_on_without_it(victim: str) -> None:
    async with serving("full", storage=True) as bench:
        guest = await bench.guest()
        await guest.run(_FILL.replace("MOST", "5"))
        if victim == "server":
            os.kill(bench.server, signal.SIGKILL)
            await guest.sandbox.exited
        else:
            before = _storage(bench)
            os.kill(before, signal.SIGKILL)
            assert await guest.run("result = os.path.getsize('/tmp/full') >> 20") == 5
            assert await (await bench.guest()).run("result = 1") == 1
            await until(lambda: {before} < {before, *_storages(bench)}, "another is started")
            await until(lambda: _devices(bench) >= 1 + FEWEST, "it has made some")
            assert await (await bench.guest()).run(f"result = {_KIND}") == ["ext4"]
            await guest.end()
    await until(lambda: _devices(bench) == 0, "everything is gone")


@story
async def test_kill_9_while_a_file_system_is_made_leaves_no_process_behind() -> None:
    async with serving("full", storage=True) as bench:
        await until(lambda: _devices(bench) == FEWEST, "those that are ready are there")
        storage = _storage(bench)
        watch = asyncio.create_task(asyncio.to_thread(_stop_a_maker, storage))
        sizes = itertools.count(513)
        while not watch.done():
            making = asyncio.create_task(bench.guest(ephemeral_storage=next(sizes)))
            await asyncio.wait([watch, making], return_when=asyncio.FIRST_COMPLETED)
        maker = watch.result()
        os.kill(storage, signal.SIGKILL)
        await until(lambda: maker in children(bench.server), "it is an orphan")
        os.kill(maker, signal.SIGCONT)
        await until(lambda: {storage, maker}.isdisjoint(children(bench.server)), "both have been reaped")
        assert await (await making).run("result = 1") == 1


@story
async def test_nothing_but_files_can_be_had_from_it() -> None:
    async with serving("full", storage=True) as bench:
        guest = await bench.guest()
        assert await guest.run("""
import errno, fcntl, struct
def attempt(call, *arguments):
    try: return call(*arguments)
    except OSError as error: return errno.errorcode[error.errno]
root, file = os.open("/tmp", os.O_RDONLY), os.open("/tmp/x", os.O_RDWR | os.O_CREAT)
wanted = {
    "freeze": 0xC0045877, "thaw": 0xC0045878, "trim": 0xC0185879, "shut down": 0x8004587D,
    "resize": 0x40086610, "add a group": 0x40286608,
}
buffer = bytearray(64)
result = {name: attempt(fcntl.ioctl, root, number, buffer) for name, number in wanted.items()}
result["immutable"] = attempt(fcntl.ioctl, file, 0x40086602, struct.pack("l", 0x10))
result["journalled"] = attempt(fcntl.ioctl, file, 0x40086602, struct.pack("l", 0x4000))
admin = struct.pack("<5I", 0x02000001, 1 << 21, 0, 0, 0)
result["capability"] = attempt(os.setxattr, "/tmp/x", "security.capability", admin)
result["trusted"] = attempt(os.setxattr, "/tmp/x", "trusted.x", b"y")
result["too much"] = attempt(os.posix_fallocate, file, 0, 600 << 20)
result["hole"] = attempt(os.ftruncate, file, 1 << 40)
result["device"] = [name for name in os.listdir("/dev") if name.startswith("loop")]
""") == {
            **dict.fromkeys(("freeze", "thaw", "trim", "shut down", "resize", "add a group"), "EPERM"),
            **dict.fromkeys(("immutable", "journalled", "capability", "trusted"), "EPERM"),
            "too much": "ENOSPC", "hole": None, "device": [],
        }  # fmt: skip


@story
async def test_a_disk_that_hangs_holds_no_start_up_for_long() -> None:
    async with serving("full", storage=True) as bench:
        await until(lambda: _devices(bench) == FEWEST, "those that are ready are there")
        storage = _storage(bench)
        os.kill(storage, signal.SIGSTOP)
        try:
            kinds = [await (await bench.guest()).run(f"result = {_KIND}") for _ in range(FEWEST + 1)]
        finally:
            os.kill(storage, signal.SIGCONT)
        assert kinds[-1] == ["tmpfs"]


def test_what_one_may_hold_can_be_lowered_and_raised_while_it_is_used() -> None:
    with tempfile.TemporaryDirectory() as directory:
        image = Disk(directory).image(512)
        root = os.open(f"/proc/self/fd/{image.mount}", os.O_RDONLY | os.O_DIRECTORY)
        file = os.open("x", os.O_CREAT | os.O_WRONLY, dir_fd=root)
        image.hold(10 * MB)
        with pytest.raises(OSError, match="No space"):
            for _ in range(20):
                os.write(file, bytes(MB))
        assert 8 * MB < image.taken() <= 10 * MB
        image.hold(image.size)
        assert os.write(file, bytes(20 * MB)) == 20 * MB
        for descriptor in (file, root):
            os.close(descriptor)
        image.close()


def test_one_is_made_though_a_mounted_one_has_the_name_of_its_file() -> None:
    with tempfile.TemporaryDirectory() as directory, contextlib.ExitStack() as end:
        disk = Disk(directory)
        image, place = disk.image(512), os.path.join(directory, "mounted")
        end.callback(image.close)
        attach(os.dup(image.mount), place)
        end.callback(detach, place)
        mounts = Path("/proc/self/mounts").read_text().splitlines()
        (source,) = [line.split()[0] for line in mounts if line.split()[1] == place]
        number = int(source.removeprefix("/proc/self/fd/"))
        while (taken := os.open("/dev/null", os.O_RDONLY)) < number:
            end.callback(os.close, taken)
        os.close(taken)
        assert taken == number, "the next file is to have this number"
        disk.image(513).close()


@given(
    st.integers(1 << 30, 1 << 44),
    st.floats(0, 1),
    st.lists(st.lists(st.floats(0, 1), min_size=5, max_size=5), min_size=1, max_size=6),
)
def test_whatever_they_write_the_reserve_is_never_touched(total: int, free: float, looks: list[list[float]]) -> None:
    left, taken = int(total * free), [0] * 5
    reserve = min(total // RESERVE, MOST_RESERVED)
    for look in looks:
        room = Room(left, total)
        for i, share in enumerate(look):
            growth = allowance(room, taken[i], len(taken) - 1)
            if growth is None:
                return  # a disk with plenty
            assert growth == 0 or room.free > reserve
            assert growth == 0 or taken[i] < LITTLE or room.free >= 2 * reserve, "the last is for those with little"
            taken[i] += int(growth * share)
            left -= int(growth * share)
        assert left >= min(reserve, int(total * free))


def _storage(bench: Bench) -> int:
    (found,) = _storages(bench)
    return found


def _storages(bench: Bench) -> list[int]:
    found: list[int] = []
    for pid in children(bench.server):
        with contextlib.suppress(OSError):
            found += [pid] * (Path(f"/proc/{pid}/comm").read_text().strip() == NAME)
    return found


def _stop_a_maker(storage: int) -> int:
    """The next mkfs that it starts, a matter of milliseconds, so this looks without a pause."""
    deadline = time.monotonic() + DEADLINE
    while time.monotonic() < deadline:
        for task in Path(f"/proc/{storage}/task").iterdir():
            for child in (task / "children").read_text().split():
                with contextlib.suppress(OSError):  # it was quicker
                    if Path(f"/proc/{child}/comm").read_text() == "mkfs.ext4\n":
                        os.kill(int(child), signal.SIGSTOP)
                        return int(child)
    raise AssertionError("none was made")


def _devices(bench: Bench) -> int:
    return len(loop_devices(bench.run_dir.parent))
