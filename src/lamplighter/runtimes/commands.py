"""What a sandbox executes to run a function: program and arguments, where it is not a fork of a waiting process.

Paths are those inside a sandbox, or in isolation "none" the host's. A custom runtime has no command: its sandbox looks
for the function's own `bootstrap` (AWS: spec 3.3).
"""

import re
from collections.abc import Mapping

from lamplighter.model.command import Command
from lamplighter.runtimes.catalogue import client
from lamplighter.runtimes.interpreters import InstalledRuntime

Words = tuple[str, ...]

# The interpreter reads these when it starts, which a forked process does not.
_READ_AT_START = frozenset(
    f"PYTHON{name}"
    for name in (
        "ASYNCIODEBUG", "CASEOK", "COERCECLOCALE", "CPU_COUNT", "DEBUG", "DEVMODE", "DONTWRITEBYTECODE",
        "FAULTHANDLER", "HASHSEED", "HOME", "INSPECT", "INTMAXSTRDIGITS", "IOENCODING", "MALLOC", "NODEBUGRANGES",
        "OPTIMIZE", "PERFSUPPORT", "PLATLIBDIR", "PROFILEIMPORTTIME", "PYCACHEPREFIX", "SAFEPATH", "TRACEMALLOC",
        "UTF8", "VERBOSE", "WARNDEFAULTENCODING", "WARNINGS",
    )
)  # fmt: skip

# Node.js, Java, Ruby and the libraries they are linked with read these when they start: with a value of the function's
# own it is started for that function alone. With AWS's values, which these are, it can wait for any.
READ_AT_START = {
    "LANG": "en_US.UTF-8",
    "TZ": ":UTC",
    "LD_LIBRARY_PATH": "/var/lang/lib:/lib64:/usr/lib64:/var/runtime:/var/runtime/lib:/var/task:/var/task/lib:/opt/lib",
}
_ALSO_READ_AT_START = re.compile(
    "(NODE_(?!PATH$|ENV$)|RUBY(?!LIB$)|GEM_HOME$|_?JAVA_|JDK_|CLASSPATH$|LD_|LC_|GCONV_|MALLOC_|GLIBC_|OPENSSL_|SSL_|UV_|ICU_).*"
)

# And the first release that has the switch: an older one would refuse to start.
_EXPERIMENTAL = (("require-module", (20, 17)), ("detect-module", (22, 7)))

_WRAPPER = "AWS_LAMBDA_EXEC_WRAPPER"
# Started with the wrapper's path and the runtime's command; its complaints and exit codes are those of AWS's runtimes.
_WRAP = (
    '[ -f "$0" ] || { echo "$0: does not exist"; exit 127; }; '
    '[ -x "$0" ] || { echo "$0: is not an executable"; exit 126; }; exec "$0" "$@"'
)


class Commands:
    """`isolated`: whether functions see the sandbox's own file system. `runtimes`: by name, what this host has."""

    def __init__(self, runtimes: Mapping[str, InstalledRuntime], isolated: bool) -> None:
        self._runtimes = runtimes
        self._isolated = isolated

    def __call__(self, name: str, variables: Mapping[str, str]) -> Command | None:
        """For a runtime of this name with these variables; None: fork, or `bootstrap`."""
        runtime = self._runtimes.get(name)
        home = client(name)
        if runtime is None or runtime.interpreter is None or home is None:
            return None
        program = f"/var/lang/bin/{runtime.interpreter.name}" if self._isolated else str(runtime.interpreter)
        entry = _entry(runtime, program, "/var/runtime" if self._isolated else str(home), variables)
        if variables.get(_WRAPPER):
            return Command(("/bin/sh", "-c", _WRAP, variables[_WRAPPER], *entry))
        if name.startswith("python") and _READ_AT_START.isdisjoint(variables):
            return None
        return Command(entry, _waiting(variables) if self._isolated and not name.startswith("python") else None)


def _waiting(variables: Mapping[str, str]) -> Mapping[str, str] | None:
    """What to wait with for a function that has these; None: its own count from the start on."""
    if any(variables.get(name) != value for name, value in READ_AT_START.items()):
        return None
    if any(name not in READ_AT_START and _ALSO_READ_AT_START.fullmatch(name) for name in variables):
        return None
    return {**READ_AT_START, "LAMPLIGHTER_WAITS": "1"}


def _entry(runtime: InstalledRuntime, program: str, home: str, variables: Mapping[str, str]) -> Words:
    if runtime.name.startswith("python"):
        return (program, f"{home}/bootstrap.py")
    if runtime.name.startswith("java"):
        return (program, *_java_options(variables), "-cp", f"{home}/runtime.jar", "lamplighter.runtime.Main")
    if runtime.name.startswith("ruby"):
        return (program, f"{home}/bootstrap.rb")
    options = variables.get("NODE_OPTIONS", "")
    return (program, *_heap(options, variables), *_stable(runtime, options), f"{home}/bootstrap.cjs")


def _java_options(variables: Mapping[str, str]) -> Words:
    """As on AWS, 85 % of the memory are for the heap; and what makes a short life fast. The packages are opened for our
    client: it writes framed log records to a descriptor, and hears its variables late if it has waited."""
    memory = int(variables.get("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "128"))
    return (
        f"-XX:MaxHeapSize={memory * 1024 * 85 // 100}k",
        "-XX:+UseSerialGC",
        "-XX:TieredStopAtLevel=1",
        "-XX:-UsePerfData",
        "-Xshare:auto",
        "--add-opens=java.base/java.io=ALL-UNNAMED",
        "--add-opens=java.base/java.lang=ALL-UNNAMED",
        "--add-opens=java.base/java.util=ALL-UNNAMED",
    )


def _heap(options: str, variables: Mapping[str, str]) -> Words:
    """V8 would size its heap by the host's memory. As on AWS, a tenth is left for the young generation and for what is
    allocated outside of the heap; not if the function has its own idea."""
    if any(name in options.replace("_", "-") for name in ("--max-semi-space-size", "--max-old-space-size")):
        return ("--expose-gc",)
    memory = int(variables.get("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "128"))
    young = memory // 10
    return ("--expose-gc", f"--max-semi-space-size={max(1, young // 2)}", f"--max-old-space-size={memory - young}")


def _stable(runtime: InstalledRuntime, options: str) -> Words:
    """AWS switches off what Node.js itself calls experimental, unless the function's NODE_OPTIONS switch it on."""
    features = [name for name, since in _EXPERIMENTAL if runtime.order >= since]
    return tuple(f"--no-experimental-{name}" for name in features if f"--experimental-{name}" not in options.split())
