"""What every kind of Sandboxes promises, in each isolation this machine can show."""

import asyncio
import contextlib
import ctypes.util
import os
import signal
from pathlib import Path

import pytest

from lamplighter.sandbox.contract import Exit, Isolation, SandboxError, SandboxSpec
from support.sandbox_server import (
    DEADLINE,
    VARIABLES,
    Bench,
    cgroups_of,
    children,
    descendants,
    fork_servers,
    serving,
    serving_process,
    story,
    until,
)

MODES = pytest.mark.parametrize("mode", [pytest.param("full", marks=pytest.mark.root), "user", "none"])
ISOLATED = pytest.mark.parametrize("mode", [pytest.param("full", marks=pytest.mark.root), "user"])


@MODES
@story
async def test_the_runtime_reaches_us_through_the_runtime_api_listener(mode: Isolation) -> None:
    async with serving(mode) as bench:
        guest = await bench.guest({"hello.txt": "from the package"})
        assert (
            await guest.run("result = open(os.environ['LAMBDA_TASK_ROOT'] + '/hello.txt').read()") == "from the package"
        )
        assert await guest.run("result = os.getcwd() == os.path.realpath(os.environ['LAMBDA_TASK_ROOT'])")
        assert not guest.sandbox.exited.done()


@ISOLATED
@story
async def test_the_variables_are_those_given_and_no_others(mode: Isolation) -> None:
    async with serving(mode) as bench:
        guest = await bench.guest(variables={"GREETING": "grüß dich"})
        assert await guest.run("result = dict(os.environ)") == {**VARIABLES, "GREETING": "grüß dich"}


@MODES
@story
async def test_standard_output_and_error_come_through_one_pipe(mode: Isolation) -> None:
    async with serving(mode) as bench:
        guest = await bench.guest()
        await guest.run("import sys; print('out'); print('err', file=sys.stderr); os.system('echo child')")
        await guest.run("os._exit(0)")
        assert await guest.output() == b"out\nerr\nchild\n"


@MODES
@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("os._exit(0)", Exit(code=0)),
        ("os._exit(7)", Exit(code=7)),
        ("os.kill(os.getpid(), 9)", Exit(signal=9)),
        ("os.kill(os.getpid(), 15)", Exit(signal=15)),
        ("os.abort()", Exit(signal=6)),
        ("raise SystemExit", Exit(code=0)),
        ("raise SystemExit(3)", Exit(code=3)),
        ("raise SystemExit('no')", Exit(code=1)),
        ("raise KeyboardInterrupt", Exit(code=1)),
    ],
)
@story
async def test_how_the_runtime_ended_is_known_at_once(mode: Isolation, source: str, expected: Exit) -> None:
    async with serving(mode) as bench:
        guest = await bench.guest()
        await guest.run(source)
        async with asyncio.timeout(DEADLINE):
            assert await guest.sandbox.exited == expected


@MODES
@story
async def test_ending_kills_everything_inside_and_may_be_repeated(mode: Isolation) -> None:
    async with serving(mode) as bench:
        guest = await bench.guest()
        # A process that left its session and its parent, as daemons do.
        await guest.run("""
import subprocess
subprocess.run(["sh", "-c", "setsid sleep 1234.5678 >/dev/null 2>&1 &"])
""")
        await until(lambda: "1234.5678" in _command_lines(), "the daemon has started")
        await guest.sandbox.end()
        await guest.sandbox.end()
        await until(lambda: "1234.5678" not in _command_lines(), "the daemon is gone")
        assert await guest.sandbox.exited == Exit(signal=9)


@MODES
@story
async def test_daemons_do_not_outlive_a_runtime_that_exits(mode: Isolation) -> None:
    async with serving(mode) as bench:
        guest = await bench.guest()
        await guest.run("""
import subprocess
subprocess.run(["sh", "-c", "setsid sleep 1234.8765 >/dev/null 2>&1 &"])
""")
        await until(lambda: "1234.8765" in _command_lines(), "the daemon has started")
        await guest.run("os._exit(0)")
        await until(lambda: "1234.8765" not in _command_lines(), "the daemon is gone")


@MODES
@story
async def test_a_command_runs_instead_of_the_client(mode: Isolation) -> None:
    async with serving(mode) as bench:
        script = '#!/bin/sh\necho "$GREETING from $0"; exit 3\n'
        digest = bench.package({"bootstrap": script}, executable=True)
        where = "/var/task" if mode != "none" else str(bench.code_root / digest)
        guest = await bench.guest(
            {"bootstrap": script}, executable=True, variables={"GREETING": "hi"}, command=(f"{where}/bootstrap",)
        )
        assert await guest.output() == f"hi from {where}/bootstrap\n".encode()
        assert await guest.sandbox.exited == Exit(code=3)


@MODES
@pytest.mark.parametrize(
    ("command", "code", "why"),
    [("/nowhere", 127, "no such file or directory"), ("/etc/passwd", 126, "permission denied")],
)
@story
async def test_a_command_that_cannot_run_ends_as_in_a_shell(mode: Isolation, command: str, code: int, why: str) -> None:
    async with serving(mode) as bench:
        guest = await bench.guest(command=(command,))
        assert await guest.output() == b""
        assert await guest.sandbox.exited == Exit(code, refusal=f"fork/exec {command}: {why}")


@ISOLATED
@story
async def test_layers_appear_at_opt_later_ones_over_earlier_ones(mode: Isolation) -> None:
    async with serving(mode) as bench:
        first = bench.package({"python/a.py": "1", "bin/tool": "one"})
        second = bench.package({"python/b.py": "2", "bin/tool": "two"})
        look = "import glob; result = {p: open(p).read() for p in glob.glob('/opt/*/*')}"
        for layers, expected in (
            ((), {}),
            ((first,), {"/opt/python/a.py": "1", "/opt/bin/tool": "one"}),
            ((first, second), {"/opt/python/a.py": "1", "/opt/python/b.py": "2", "/opt/bin/tool": "two"}),
            ((second, first), {"/opt/python/a.py": "1", "/opt/python/b.py": "2", "/opt/bin/tool": "one"}),
            ((first, second, first), {"/opt/python/a.py": "1", "/opt/python/b.py": "2", "/opt/bin/tool": "one"}),
        ):
            guest = await bench.guest(layers=layers)
            assert await guest.run(look) == expected
            assert await guest.run("result = sorted(os.listdir('/opt'))") == (["bin", "python"] if layers else [])


@story
async def test_layers_are_merged_somewhere_without_isolation() -> None:
    async with serving("none") as bench:
        layers = (bench.package({"bin/tool": "one"}), bench.package({"bin/tool": "two", "lib/x": ""}))
        guest = await bench.guest(layers=layers)
        assert await guest.run("result = open(os.environ['LAMPLIGHTER_OPT'] + '/bin/tool').read()") == "two"


@ISOLATED
@pytest.mark.parametrize("where", ["/var/task/lib", "/opt/lib"])
@story
async def test_shared_libraries_of_a_package_or_layer_are_found(mode: Isolation, where: str) -> None:
    name = ctypes.util.find_library("z") or pytest.skip("no zlib here to copy")
    found = [Path(directory, name) for directory in ("/lib/x86_64-linux-gnu", "/lib/aarch64-linux-gnu", "/usr/lib64")]
    library = next((path for path in found if path.exists()), None) or pytest.skip("no zlib here to copy")
    async with serving(mode) as bench:
        files: dict[str, str | bytes] = {"lib/libofthefunction.so": library.read_bytes()}
        guest = await (bench.guest(files) if "task" in where else bench.guest(layers=(bench.package(files),)))
        assert await guest.run("import ctypes; result = bool(ctypes.CDLL('libofthefunction.so').zlibVersion)") is True


@ISOLATED
@story
async def test_tmp_is_writable_and_as_large_as_asked_for(mode: Isolation) -> None:
    async with serving(mode) as bench:
        guest = await bench.guest(ephemeral_storage=600)
        source = "s = os.statvfs('/tmp'); result = [s.f_blocks * s.f_frsize >> 20, oct(os.stat('/tmp').st_mode)]"
        assert await guest.run(source) == [600, "0o41777"]
        assert await guest.run("open('/tmp/x', 'w').write('y'); result = open('/tmp/x').read()") == "y"


@ISOLATED
@story
async def test_the_guest_sees_itself_as_the_user_aws_shows(mode: Isolation) -> None:
    async with serving(mode) as bench:
        guest = await bench.guest()
        source = "import pwd; result = [os.getuid(), os.getgid(), pwd.getpwuid(os.getuid()).pw_name, os.getpid() > 1]"
        assert await guest.run(source) == [993, 990, "sbx_user1051", True]
        assert (await guest.run("import socket; result = socket.gethostname()")).startswith("169-254-")
        assert await guest.run("import socket; result = socket.gethostbyname('sandbox.localdomain')") == "127.0.0.1"


@ISOLATED
@story
async def test_a_function_may_have_modules_of_our_names(mode: Isolation) -> None:
    async with serving(mode) as bench:
        guest = await bench.guest({"lamplighter/__init__.py": "mine = 1"})
        source = "import sys; sys.path.insert(0, '/var/task'); import lamplighter; result = lamplighter.mine"
        assert await guest.run(source) == 1
        assert await guest.run("import sys; result = sys.modules['__main__'].__name__") == "bootstrap"
        assert await guest.run("import gc; result = gc.isenabled()") is True


@MODES
@story
async def test_several_sandboxes_run_side_by_side(mode: Isolation) -> None:
    async with serving(mode) as bench:
        guests = await asyncio.gather(*(bench.guest(variables={"N": str(n)}) for n in range(12)))
        answers = await asyncio.gather(*(guest.run("result = int(os.environ['N'])") for guest in guests))
        assert answers == list(range(12))


@MODES
@story
async def test_code_that_is_not_there_is_refused_with_a_reason(mode: Isolation) -> None:
    async with serving(mode) as bench:
        with pytest.raises(SandboxError, match="aaaaaaaa"):
            await bench.sandboxes.start(SandboxSpec("python", "a" * 64, VARIABLES))
        assert await (await bench.guest()).run("result = 1") == 1


@MODES
@pytest.mark.parametrize(
    "wrong",
    [
        {"runtime": "perl"},
        {"code": "../" * 20 + "abcd"},
        {"layers": ("/etc",)},
        {"memory_size": 1},
        {"ephemeral_storage": 10**9},
        {"variables": {"A=B": ""}},
        {"variables": {"A": "nul\0"}},
        {"variables": {"A": "x" * 20_000}},
        {"variables": {"A": "x" * 200_000}},
        {"command": ()},
    ],
)
@story
async def test_a_malformed_request_is_refused_and_nothing_else_happens(
    mode: Isolation, wrong: dict[str, object]
) -> None:
    async with serving(mode) as bench:
        good: dict[str, object] = {"runtime": "python", "code": bench.package({"x": ""}), "variables": VARIABLES}
        with pytest.raises(SandboxError):
            await bench.sandboxes.start(SandboxSpec(**{**good, **wrong}))  # type: ignore[arg-type]
        assert await (await bench.guest()).run("result = 1") == 1


@MODES
@story
async def test_an_interpreter_that_does_not_start_is_an_error_that_says_so(mode: Isolation) -> None:
    async with serving(mode) as bench:
        with pytest.raises(SandboxError, match="fork server of broken died"):
            await bench.sandboxes.start(SandboxSpec("broken", bench.package({"x": ""}), VARIABLES))
        assert await (await bench.guest()).run("result = 1") == 1


@MODES
@story
async def test_a_start_that_is_cancelled_leaves_nothing_behind(mode: Isolation) -> None:
    async with serving(mode) as bench:
        before = len(os.listdir("/proc/self/fd"))
        start = asyncio.ensure_future(bench.sandboxes.start(SandboxSpec("python", bench.package({"x": ""}), VARIABLES)))
        await asyncio.sleep(0)  # it has sent its request
        start.cancel()
        with pytest.raises(asyncio.CancelledError):
            await start
        await until(lambda: len(os.listdir("/proc/self/fd")) == before, "descriptors are given back")
        assert not bench.sandboxes._sandboxes  # pyright: ignore[reportPrivateUsage]


@MODES
@story
async def test_a_fork_server_that_dies_takes_its_sandboxes_along_and_is_replaced(mode: Isolation) -> None:
    async with serving(mode) as bench:
        guest = await bench.guest()
        await guest.run("result = 1")
        for pid in fork_servers(bench.server):
            os.kill(pid, signal.SIGKILL)
        async with asyncio.timeout(DEADLINE):
            assert await guest.sandbox.exited == Exit(signal=9)
        assert await (await bench.guest()).run("result = 1") == 1


@MODES
@story
async def test_all_that_wait_may_be_killed_as_one_is_taken(mode: Isolation) -> None:
    async with serving(mode) as bench:
        await (await bench.guest()).run("result = 1")
        (forkserver,) = fork_servers(bench.server)
        server = serving_process(bench.server)
        os.kill(server, signal.SIGSTOP)  # it hears of their deaths together with the order
        try:
            for pid in descendants(forkserver):
                with contextlib.suppress(ProcessLookupError):  # it has gone with one of those before it
                    os.kill(pid, signal.SIGKILL)
            taken = asyncio.create_task(bench.guest())
            await asyncio.sleep(0)
        finally:
            os.kill(server, signal.SIGCONT)
        assert await (await taken).run("result = 1") == 1


def forks_of(bench: Bench) -> list[int]:
    """What runs as a Python runtime, or waits to become one."""
    firsts = [first for server in fork_servers(bench.server) for first in children(server)]
    return [fork for first in firsts for fork in children(first) if state(fork) not in ("", "Z")]


def state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return ""


async def waiting_forks(bench: Bench) -> list[int]:
    guest = await bench.guest()
    await guest.run("result = 1")
    await guest.end()
    await until(lambda: forks_of(bench), "one waits")
    return forks_of(bench)


@ISOLATED
@story
async def test_a_fork_that_is_killed_while_it_waits_costs_no_start(mode: Isolation) -> None:
    async with serving(mode) as bench:
        waiting = await waiting_forks(bench)
        for fork in waiting:
            with contextlib.suppress(ProcessLookupError):
                os.kill(fork, signal.SIGKILL)
        await until(lambda: not set(waiting) & set(forks_of(bench)), "they are gone")
        guests = [await bench.guest() for _ in range(len(waiting) + 1)]
        assert [await guest.run("result = 1") for guest in guests] == [1] * len(guests)


@MODES
@story
async def test_the_death_of_the_server_is_told_and_fails_what_is_pending(mode: Isolation) -> None:
    async with serving(mode) as bench:
        guest = await bench.guest()
        os.kill(bench.server, signal.SIGKILL)
        async with asyncio.timeout(DEADLINE):
            await bench.sandboxes.lost
            assert await guest.sandbox.exited == Exit(signal=9)
        with pytest.raises(SandboxError, match="server is gone"):
            await bench.guest()
        await guest.end()


@story
async def test_a_host_that_lacks_something_is_told_at_launch() -> None:
    if os.geteuid() != 0:
        with pytest.raises(SandboxError, match="start as root or choose --isolation user"):
            async with serving("full"):
                pass
    else:
        pytest.skip("root lacks nothing here")


@pytest.mark.root
@story
async def test_memory_is_limited_measured_and_its_excess_kills_only_this_sandbox() -> None:
    async with serving("full") as bench:
        if "memory" not in bench.sandboxes.controllers:
            pytest.skip("no memory controller to use here")
        bomb, other = await bench.guest(memory_size=128), await bench.guest(memory_size=128)
        await bomb.run("x = bytearray(30 << 20)")
        peak = bomb.sandbox.memory_peak()
        assert peak is not None and 30 << 20 < peak < 60 << 20
        assert await bomb.run("x = bytearray(200 << 20); result = 'alive'") == "the runtime died"
        assert await bomb.sandbox.exited == Exit(signal=9)
        await bomb.end()
        peak = bomb.sandbox.memory_peak()
        assert peak is not None and peak >= 120 << 20
        assert await other.run("result = 'alive'") == "alive"


@pytest.mark.root
@story
async def test_the_cpu_share_is_held_once_asked_for() -> None:
    async with serving("full") as bench:
        if "cpu" not in bench.sandboxes.controllers:
            pytest.skip("no cpu controller to use here")
        guest = await bench.guest(memory_size=256)  # 14 % of a core: 14 ms in every 100
        burn = "import time; cpu = time.process_time()\nwhile time.process_time() - cpu < 0.1: pass"
        await guest.run(burn)
        assert _throttled(bench) == 0
        guest.sandbox.limit_cpu()
        await guest.run(burn)
        assert (before := _throttled(bench)) > 3
        guest.sandbox.limit_cpu(False)
        await guest.run(burn)
        assert _throttled(bench) <= before + 1


def _throttled(bench: Bench) -> int:
    """Periods in which a sandbox had to wait for its share, over all sandboxes."""
    lines = [line for group in cgroups_of(bench.run_dir) for line in _read(group / "cpu.stat").decode().splitlines()]
    return sum(int(line.split()[1]) for line in lines if line.startswith("nr_throttled"))


def _command_lines() -> str:
    processes = [path for path in Path("/proc").iterdir() if path.name.isdigit()]
    return " ".join(_read(path / "cmdline").decode(errors="replace") for path in processes)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


@MODES
@story
async def test_log_records_have_a_way_of_their_own_where_the_runtime_wants_one(mode: Isolation) -> None:
    async with serving(mode) as bench:
        with_frames = await bench.guest(log_frames=True)
        told = "import os; result = os.environ.get('_LAMBDA_TELEMETRY_LOG_FD')"
        assert await with_frames.run(told) == "3"
        await with_frames.run("os.write(3, b'record'); result = None")
        assert os.read(with_frames.sandbox.frames, 100) == b"record"
        without = await bench.guest(variables={"_LAMBDA_TELEMETRY_LOG_FD": "1"})
        assert await without.run(told) is None
        assert without.sandbox.frames == -1


@MODES
@story
async def test_the_service_reaches_what_listens_inside_and_only_there(mode: Isolation) -> None:
    async with serving(mode) as bench:
        guest = await bench.guest()
        port = await guest.run(
            "import socket; socket.here = here = socket.create_server(('127.0.0.1', 0)); result = here.getsockname()[1]"
        )
        for text in (b"one", b"two"):
            with await guest.sandbox.connect(port) as connection:
                await asyncio.get_running_loop().sock_sendall(connection, text)
                assert (
                    await guest.run("import socket; result = socket.here.accept()[0].recv(9).decode()") == text.decode()
                )
        await guest.run("import socket; socket.here.close(); result = None")
        with pytest.raises(ConnectionRefusedError):
            await guest.sandbox.connect(port)
