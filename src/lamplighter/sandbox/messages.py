"""What the service may ask of the sandbox server, and what it hears back.

The server trusts nobody: the service parses guests' bytes, so one day its requests may be a guest's. A request names
code by digest and runtimes by the names given at start, never paths; everything has a range. Bodies are JSON objects
with a "type"; `request` turns one into a value or raises Malformed. Answers need no checking: who can forge them is the
server already.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, cast, get_args

from lamplighter.model.command import Command
from lamplighter.sandbox.channel import Malformed
from lamplighter.sandbox.contract import Isolation
from lamplighter.sandbox.reach import Reach, networks

DIGEST = re.compile("[0-9a-f]{64}")
RUNTIME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
LAYERS = 5  # AWS: spec 11
MEMORY = range(128, 32_768 + 1)  # MB; managed instances go up to 32 GB
STORAGE = range(512, 10_240 + 1)  # MB
IDS = range(1, 2**53)
# Characters; users may set 4 KB of variables, the service adds its own. Together, each escaped as six bytes in the
# worst case, they still fit into a packet.
VARIABLES_LIMIT = 16 * 1024
VARIABLES_COUNT = 1024
COMMAND_LIMIT = 8 * 1024


Kind = Literal["python", "command"]


@dataclass(frozen=True, slots=True)
class Runtime:
    """What the fork servers of one runtime are made of.

    kind "python": a sandbox is a fork of `interpreter` with the client imported, whose bootstrap.py has a main().
    kind "command": a sandbox executes a command, or the function's own `bootstrap`; `interpreter` is any Python of the
    host, which makes the sandbox and then is gone from it.
    client: directory with the runtime client, read-only at /var/runtime inside; None: that is empty.
    program: for kind "command", the language's interpreter, which appears in /var/lang/bin inside.
    sdk: packages and modules that appear in /var/runtime/sdk inside. preload: whether the client is to import them
    before it is forked.
    """

    interpreter: str
    client: str | None
    kind: Kind = "python"
    program: str | None = None
    sdk: tuple[str, ...] = ()
    preload: bool = False


@dataclass(frozen=True, slots=True)
class Configuration:
    """Told once, at start, while the service is still what the operator started.

    code_root: has one directory per digest, the extracted package. run_dir: ours alone; its path also names the parent
    cgroup. first_uid: sandboxes run as this user id and those after it; the default lies in a range that distributions
    leave to nobody (sub-ids of users and systemd's containers end below it). reach: what functions connect to there is
    handed to the service's relay; None: there is no network. storage: a directory on the disk that /tmp is to be on,
    as root alone can have it; None: in memory.
    """

    code_root: str
    run_dir: str
    runtimes: Mapping[str, Runtime]
    isolation: Isolation = "full"
    first_uid: int = 1_900_000_000
    reach: Reach | None = None
    storage: str | None = None


@dataclass(frozen=True, slots=True)
class Start:
    """Make a sandbox. Comes with two or three descriptors: the status socket, the write end of the output pipe, and
    that of the pipe for framed log records, if the runtime is to have one."""

    id: int
    runtime: str
    code: str
    layers: tuple[str, ...]
    variables: Mapping[str, str]
    memory_size: int
    ephemeral_storage: int
    command: Command | None
    tmp_of: int | None = None  # the id of a sandbox that has ended, whose /tmp it gets
    template: bool = False  # it may be held, and copied from then on


@dataclass(frozen=True, slots=True)
class Hold:
    """Hold the runtime of a sandbox that was started as a template; answered by "held" or "unfit", then by "template"
    once the service has let it go on to its fork."""

    id: int


@dataclass(frozen=True, slots=True)
class Copy:
    """Make a sandbox that is a copy of a template, with the descriptors of `Start`, and the template's sizes."""

    id: int
    of: int
    variables: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Warm:
    """Start the fork server of a runtime, ahead of its first sandbox, and if it is given a command that can wait, a
    process of it."""

    runtime: str
    command: Command | None = None


@dataclass(frozen=True, slots=True)
class End:
    """Kill a sandbox; answered by "ended" once it is gone, also when it already was. keep_tmp: until a sandbox takes it
    over or this is asked for again without. What ends unasked keeps its /tmp."""

    id: int
    keep_tmp: bool = False


def configuration_body(given: Configuration) -> dict[str, Any]:
    return {
        "code_root": given.code_root,
        "run_dir": given.run_dir,
        "runtimes": {
            name: [
                runtime.interpreter,
                runtime.client,
                runtime.kind,
                runtime.program,
                list(runtime.sdk),
                runtime.preload,
            ]
            for name, runtime in given.runtimes.items()
        },
        "isolation": given.isolation,
        "first_uid": given.first_uid,
        "reach": given.reach and [[str(one) for one in given.reach.allowed], [str(one) for one in given.reach.refused]],
        "storage": given.storage,
    }


def configuration(body: dict[str, Any]) -> Configuration:
    runtimes: dict[str, Runtime] = {}
    for name, entry in _mapping(body, "runtimes").items():
        _require(RUNTIME.fullmatch(name), f"runtime name {name!r}")
        _require(isinstance(entry, list) and len(cast(list[Any], entry)) == 6, f"runtime {name}")
        interpreter, client, kind, program, sdk, preload = cast(list[Any], entry)
        _require(kind in get_args(Kind), f"kind of runtime {name}")
        _require(client is not None or kind != "python", f"client of {name}")
        _require(isinstance(sdk, list) and type(preload) is bool, f"SDK of {name}")
        runtimes[name] = Runtime(
            _absolute(interpreter, f"interpreter of {name}"),
            None if client is None else _absolute(client, f"client of {name}"),
            kind,
            None if program is None else _absolute(program, f"program of {name}"),
            tuple(_absolute(part, f"SDK of {name}") for part in cast(list[Any], sdk)),
            preload,
        )
    _require(body.get("isolation") in get_args(Isolation), "isolation")
    return Configuration(
        _absolute(body.get("code_root"), "code_root"),
        _absolute(body.get("run_dir"), "run_dir"),
        runtimes,
        cast(Isolation, body["isolation"]),
        _number(body, "first_uid", range(1000, 2**32 - 2**20)),
        _reach(body),
        None if body.get("storage") is None else _absolute(body["storage"], "storage"),
    )


def _reach(body: dict[str, Any]) -> Reach | None:
    if body.get("reach") is None:
        return None
    pair = _list(body, "reach", 2)
    try:
        allowed, refused = (networks(cast(list[str], names)) for names in pair)
    except (TypeError, ValueError):
        raise Malformed("malformed request: reach") from None
    return Reach(allowed, refused)


def request(body: dict[str, Any], descriptors: int) -> Start | Copy | Hold | Warm | End:
    """The request in a packet that came with this many descriptors. Raises Malformed."""
    kind = body.get("type")
    _require(descriptors in ((2, 3) if kind in ("start", "copy") else (0,)), "number of descriptors")
    if kind == "start":
        return _start(body)
    if kind == "copy":
        return Copy(
            _id(body),
            _number(body, "of", range(1, 2**53)),
            _variables(_mapping(body, "variables")),
        )
    if kind == "hold":
        return Hold(_id(body))
    if kind == "warm":
        return Warm(_matching(body.get("runtime"), RUNTIME, "runtime"), _command(body))
    _require(kind == "end", "type")
    return End(_id(body), body.get("keep_tmp") is True)


def _start(body: dict[str, Any]) -> Start:
    layers = _list(body, "layers", LAYERS)
    return Start(
        _id(body),
        _matching(body.get("runtime"), RUNTIME, "runtime"),
        _matching(body.get("code"), DIGEST, "code"),
        tuple(_matching(layer, DIGEST, "layer") for layer in layers),
        _variables(_mapping(body, "variables")),
        _number(body, "memory_size", MEMORY),
        _number(body, "ephemeral_storage", STORAGE),
        _command(body),
        None if body.get("tmp_of") is None else _number(body, "tmp_of", IDS),
        body.get("template") is True,
    )


def _variables(variables: dict[str, Any]) -> dict[str, str]:
    _require(len(variables) <= VARIABLES_COUNT, "number of variables")
    size = 0
    for name, value in variables.items():
        _require(isinstance(value, str), "value of a variable")
        _require(name and "=" not in name and "\0" not in name and "\0" not in value, "variable")
        size += len(name) + len(value)
    _require(size <= VARIABLES_LIMIT, "size of variables")
    return variables


def _command(body: dict[str, Any]) -> Command | None:
    """Written as a pair, or null."""
    if body.get("command") is None:
        return None
    pair = _list(body, "command", 2)
    _require(len(pair) == 2 and isinstance(pair[0], list), "command")
    words, waiting = cast(list[Any], pair[0]), pair[1]
    _require(len(words) <= 256, "command")
    _require(words and all(isinstance(word, str) and "\0" not in word for word in words), "command")
    _require(sum(map(len, words)) <= COMMAND_LIMIT, "size of command")
    _require(waiting is None or isinstance(waiting, dict), "variables of a command that waits")
    return Command(tuple(words), None if waiting is None else _variables(cast(dict[str, Any], waiting)))


def _id(body: dict[str, Any]) -> int:
    return _number(body, "id", IDS)


def _number(body: dict[str, Any], name: str, allowed: range) -> int:
    value = body.get(name)
    _require(type(value) is int and value in allowed, name)
    return cast(int, value)


def _matching(value: object, pattern: re.Pattern[str], name: str) -> str:
    _require(isinstance(value, str) and pattern.fullmatch(value), name)
    return cast(str, value)


def _absolute(value: object, name: str) -> str:
    _require(isinstance(value, str) and value.startswith("/") and "\0" not in value, name)
    return cast(str, value)


def _mapping(body: dict[str, Any], name: str) -> dict[str, Any]:
    _require(isinstance(body.get(name), dict), name)
    return body[name]


def _list(body: dict[str, Any], name: str, most: int) -> list[Any]:
    value = body.get(name)
    _require(isinstance(value, list) and len(cast(list[Any], value)) <= most, name)
    return cast(list[Any], value)


def _require(condition: object, what: str) -> None:
    if not condition:
        raise Malformed(f"malformed request: {what}")
