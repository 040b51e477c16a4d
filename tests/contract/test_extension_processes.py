"""External extensions as processes of a sandbox: started from /opt/extensions, before the runtime, confined like it."""

import asyncio
import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest

from lamplighter.sandbox.contract import Isolation, Sandbox
from support.sandbox_server import DEADLINE, Bench, Guest, serving, story

MODES = pytest.mark.parametrize("mode", ["full", "user"])
QUIET = "#!/bin/sh\nexec sleep 100\n"
TELLS = """#!/bin/sh
env
grep -E '^(Uid|Gid|CapEff|CapBnd|NoNewPrivs|Seccomp):' /proc/self/status
echo descriptors: $(ls /proc/self/fd)
exec sleep 100
"""
FACTS = """
wanted = ('Uid', 'Gid', 'CapEff', 'CapBnd', 'NoNewPrivs', 'Seccomp')
result = [line.strip() for line in open('/proc/self/status') if line.split(':')[0] in wanted]
"""
RUNTIME = {"_HANDLER": "app.handler", "AWS_LAMBDA_LOG_STREAM_NAME": "s", "AWS_EXECUTION_ENV": "e", "MINE": "yes"}


@asynccontextmanager
async def accompanied(mode: Isolation, extensions: dict[str, str]) -> AsyncGenerator[tuple[Bench, Guest]]:
    async with serving(mode) as bench:
        files: dict[str, str | bytes] = {f"extensions/{name}": text for name, text in extensions.items()}
        layer = bench.package(files, executable=True)
        yield bench, await bench.guest(layers=(layer,), variables=RUNTIME)


async def written(sandbox: Sandbox, end: str) -> str:
    taken = b""
    async with asyncio.timeout(DEADLINE):
        while not taken.endswith(end.encode()):
            try:
                taken += os.read(sandbox.extension_output, 65536)
            except BlockingIOError:
                await asyncio.sleep(0.01)
    return taken.decode()


@MODES
@story
async def test_an_extension_is_confined_as_the_runtime_and_sees_what_aws_shows_it(mode: Isolation) -> None:
    async with accompanied(mode, {"teller": TELLS}) as (_, guest):
        assert list(guest.sandbox.extensions) == ["teller"]
        lines: list[str] = []
        while not lines or not lines[-1].startswith("descriptors"):
            lines += (await written(guest.sandbox, "\n")).splitlines()
        assert "MINE=yes" in lines
        assert not {line.split("=")[0] for line in lines} & (RUNTIME.keys() - {"MINE"})
        assert lines[-1] == "descriptors: 0 1 2 3"  # 3 is the directory that is listed
        guest.sandbox.start_runtime()
        facts = await guest.run(FACTS)
        assert len(facts) == 6
        assert facts == lines[-7:-1]


@MODES
@story
async def test_the_runtime_waits_until_it_is_let_go(mode: Isolation) -> None:
    script = "#!/bin/sh\n[ -e /tmp/seen ] && echo late || echo first\nexec sleep 100\n"
    async with accompanied(mode, {"early": script}) as (_, guest):
        assert await written(guest.sandbox, "\n") == "first\n"
        guest.sandbox.start_runtime()
        guest.sandbox.start_runtime()  # once more does nothing
        assert await guest.run("result = 1") == 1


@MODES
@story
async def test_each_extensions_end_is_told_and_extensions_outlive_the_runtime(mode: Isolation) -> None:
    extensions = {"a": "#!/bin/sh\nexit 3\n", "b": QUIET, "broken": "#!/no/such/interpreter\n"}
    async with accompanied(mode, extensions) as (_, guest):
        ends = guest.sandbox.extensions
        async with asyncio.timeout(DEADLINE):
            assert (await ends["a"]).code == 3
            assert (await ends["broken"]).refusal == "fork/exec /opt/extensions/broken: no such file or directory"
            guest.sandbox.start_runtime()
            assert await guest.run("import os; result = os.getpid()") > 1
            guest.sandbox.signal_runtime(15)
            assert (await guest.sandbox.exited).signal == 15
        assert not ends["b"].done()
        await guest.end()
        assert ends["b"].done()


@story
async def test_only_executable_files_are_extensions_and_no_more_than_eleven_are_started() -> None:
    async with serving("full") as bench:
        many = bench.package({f"extensions/e{n:02}": QUIET for n in range(20)}, executable=True)
        guest = await bench.guest(layers=(many,))
        assert list(guest.sandbox.extensions) == [f"e{n:02}" for n in range(11)]
        plain = bench.package({"extensions/readme": "text", "extensions/sub/tool": QUIET})
        guest = await bench.guest(layers=(plain,))
        assert not guest.sandbox.extensions
        assert guest.sandbox.extension_output == -1
        assert await guest.run("result = 1") == 1  # and the runtime does not wait
