"""Custom runtimes (AWS: spec 3.3): which `bootstrap` is run, what is around it, and what is said when it can't be.

As the sandbox shows it, in each isolation; `tests/functional/test_runtimes_run.py` has the same from a caller's side.
"""

import sys

import pytest

from lamplighter.sandbox.contract import Exit, Isolation
from support.sandbox_server import VARIABLES, serving, story

MODES = pytest.mark.parametrize("mode", [pytest.param("full", marks=pytest.mark.root), "user", "none"])
ISOLATED = pytest.mark.parametrize("mode", [pytest.param("full", marks=pytest.mark.root), "user"])
SAY = "#!/bin/sh\necho {}; exit 3\n"


@MODES
@story
async def test_the_functions_own_bootstrap_is_preferred_to_a_layers(mode: Isolation) -> None:
    async with serving(mode) as bench:
        layer = bench.package({"bootstrap": SAY.format("from the layer")}, executable=True)
        own: dict[str, str | bytes] = {"bootstrap": SAY.format("from the function")}
        guest = await bench.guest(own, runtime="custom", executable=True, layers=(layer,))
        assert await guest.output() == b"from the function\n"
        assert await guest.sandbox.exited == Exit(code=3)
        guest = await bench.guest({"data": ""}, runtime="custom", layers=(layer,))
        assert await guest.output() == b"from the layer\n"


@MODES
@story
async def test_a_directory_called_bootstrap_is_passed_over(mode: Isolation) -> None:
    async with serving(mode) as bench:
        layer = bench.package({"bootstrap": SAY.format("from the layer")}, executable=True)
        guest = await bench.guest({"bootstrap/file": ""}, runtime="custom", layers=(layer,))
        assert await guest.output() == b"from the layer\n"


@MODES
@pytest.mark.parametrize(
    ("content", "executable", "code", "why"),
    [
        (SAY.format("never"), False, 126, "permission denied"),
        ("neither a program nor a script", True, 126, "exec format error"),
        ("#!/nowhere/sh\n", True, 127, "no such file or directory"),
    ],
)
@story
async def test_a_bootstrap_that_cannot_be_run_says_why(
    mode: Isolation, content: str, executable: bool, code: int, why: str
) -> None:
    async with serving(mode) as bench:
        guest = await bench.guest({"bootstrap": content}, runtime="custom", executable=executable)
        assert await guest.output() == b""
        ended = await guest.sandbox.exited
        assert ended.code == code
        task = "/var/task" if mode != "none" else str(bench.code_root)
        assert ended.refusal is not None
        assert ended.refusal.startswith(f"fork/exec {task}")
        assert ended.refusal.endswith(f"/bootstrap: {why}")


@ISOLATED
@story
async def test_without_any_bootstrap_the_places_are_named(mode: Isolation) -> None:
    async with serving(mode) as bench:
        guest = await bench.guest({"other": ""}, runtime="custom")
        ended = Exit(127, refusal="Couldn't find valid bootstrap(s): [/var/task/bootstrap /opt/bootstrap]")
        assert await guest.sandbox.exited == ended


@MODES
@story
async def test_an_exit_with_the_codes_of_a_refusal_is_none(mode: Isolation) -> None:
    """What has been run says what it likes with its exit code."""
    async with serving(mode) as bench:
        for code in (126, 127):
            script = f"#!/bin/sh\necho no >&3 2>/dev/null; exit {code}\n"
            guest = await bench.guest({"bootstrap": script}, runtime="custom", executable=True)
            assert await guest.sandbox.exited == Exit(code)


@MODES
@story
async def test_a_bootstrap_killed_by_a_signal_is_known_by_it(mode: Isolation) -> None:
    async with serving(mode) as bench:
        guest = await bench.guest({"bootstrap": "#!/bin/sh\nkill -9 $$\n"}, runtime="custom", executable=True)
        assert await guest.sandbox.exited == Exit(signal=9)


@ISOLATED
@story
async def test_its_variables_are_those_given_and_no_others(mode: Isolation) -> None:
    async with serving(mode) as bench:
        script = "#!/bin/sh\ntr '\\0' '\\n' < /proc/$$/environ\n"
        guest = await bench.guest(
            {"bootstrap": script}, runtime="custom", executable=True, variables={"GREETING": "grüß dich"}
        )
        said = (await guest.output()).decode().splitlines()
        assert dict(line.split("=", 1) for line in said) == {**VARIABLES, "GREETING": "grüß dich"}


@ISOLATED
@story
async def test_nothing_is_left_in_it_of_the_python_that_made_the_sandbox(mode: Isolation) -> None:
    async with serving(mode) as bench:
        script = """#!/bin/sh
echo /mnt/* /var/lang/* /var/runtime/*
grep -E '^(CapEff|CapPrm|CapBnd|NoNewPrivs|Seccomp):' /proc/$$/status
echo mounts; cat /proc/$$/mountinfo; cat /proc/$$/maps
"""
        guest = await bench.guest({"bootstrap": script}, runtime="custom", executable=True)
        said = (await guest.output()).decode()
        places, rest = said.split("\n", 1)
        status, _, world = rest.partition("mounts\n")
        assert places == "/mnt/* /var/lang/* /var/runtime/*", "these directories are empty"
        assert dict(line.split(":\t") for line in status.splitlines()) == {
            "CapPrm": "0" * 16,
            "CapEff": "0" * 16,
            "CapBnd": "0" * 16,
            "NoNewPrivs": "1",
            "Seccomp": "2",
        }
        assert "python" not in world
        assert sys.base_prefix == "/usr" or sys.base_prefix not in world
        lister = await bench.guest(runtime="custom", command=("/bin/ls", "/proc/self/fd"))
        assert (await lister.output()).split() == [b"0", b"1", b"2", b"3"], "3 is the directory it lists"


@ISOLATED
@story
async def test_of_a_languages_prefix_only_the_program_and_its_libraries_are_there(mode: Isolation) -> None:
    async with serving(mode) as bench:
        guest = await bench.guest(runtime="language", command=("/var/lang/bin/tool", "-R", "/var/lang"))
        listing = (await guest.output()).decode().split()
        assert listing == ["/var/lang:", "bin", "lib", "/var/lang/bin:", "tool", "/var/lang/lib:", "of-lib"]
        guest = await bench.guest(runtime="language", command=("/var/lang/bin/tool", "/var/runtime", "/mnt"))
        assert (await guest.output()).decode().split() == ["/mnt:", "/var/runtime:", "bootstrap.py", "template.py"]


@MODES
@story
async def test_programs_inherit_no_ignored_signals(mode: Isolation) -> None:
    """Python ignores SIGPIPE, which would break pipes in shell scripts."""
    async with serving(mode) as bench:
        script = "#!/bin/sh\ngrep SigIgn /proc/$$/status\n"
        guest = await bench.guest({"bootstrap": script}, runtime="custom", executable=True)
        assert (await guest.output()).split() == [b"SigIgn:", b"0" * 16]
