"""The table of calls: whom they call, with what, how often, and which answers are right.

To add a kind: a line in KINDS. What is right depends on the kind alone, so that a service that answers quickly but
wrong is found out.
"""

import json
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

from bench.soak.caller import Answer

Right = Callable[[Answer, str], bool]
BETWEEN = ("ResourceNotFoundException", "ResourceConflictException")  # of what is just deleted, made or changed


@dataclass(frozen=True, slots=True)
class Kind:
    """`share`: of all calls, against the others' shares. `event`: beside its id. `runs`: whether it must have run just
    once (for an Event: at least once); else it may have. `refusals`: error types that are right, too."""

    name: str
    function: str
    share: float
    event: dict[str, Any]
    right: Right
    runs: bool = True
    asynchronous: bool = False
    streaming: bool = False
    hangs_up: bool = False
    qualifier: str = ""
    refusals: tuple[str, ...] = ()

    def request(self, id: str, chance: random.Random) -> tuple[str, str, bytes, dict[str, str]]:
        """Method, target, body and headers."""
        event = {"id": id, **{name: _chosen(value, chance) for name, value in self.event.items()}}
        version, operation = (
            ("2021-11-15", "response-streaming-invocations") if self.streaming else ("2015-03-31", "invocations")
        )
        target = f"/{version}/functions/{self.function}/{operation}"
        if self.qualifier:
            target += f"?Qualifier={self.qualifier}"
        headers = {"X-Amz-Invocation-Type": "Event"} if self.asynchronous else {}
        return "POST", target, json.dumps(event).encode(), headers


def _chosen(value: Any, chance: random.Random) -> Any:
    """A tuple is a choice, a range a number of it, and the text of so many characters is one of a Text."""
    if isinstance(value, range):
        return chance.randrange(value.start, value.stop)
    if isinstance(value, Text):
        return "x" * chance.randrange(value.most)
    return chance.choice(cast(tuple[Any, ...], value)) if isinstance(value, tuple) else value


@dataclass(frozen=True, slots=True)
class Text:
    most: int


def _answered(answer: Answer, id: str) -> bool:
    return answer.status == 200 and not answer.error_type and json.loads(answer.body)["id"] == id


def _accepted(answer: Answer, id: str) -> bool:
    return answer.status == 202 and answer.body == b""


def _streamed(answer: Answer, id: str) -> bool:
    return answer.status == 200 and not answer.error_type and answer.body.decode().endswith(id)


def _broken_off(answer: Answer, id: str) -> bool:
    return answer.status == 200 and answer.complete is not None and bool(answer.error_type)


def _failed(*error_types: str) -> Right:
    """A function's error of this type; those that the platform words name the request, and are this one's."""

    def right(answer: Answer, id: str) -> bool:
        if answer.status != 200 or "x-amz-function-error" not in answer.headers or answer.error_type not in error_types:
            return False
        told: dict[str, Any] = json.loads(answer.body)
        text = str(told.get("errorMessage", ""))
        return "RequestId: " not in text or answer.headers["x-amzn-requestid"] in text

    return right


def _either(*rights: Right) -> Right:
    return lambda answer, id: any(right(answer, id) for right in rights)


_ANSWER = {"do": "answer"}
_EXITED = _failed("Runtime.ExitError")
KINDS = (
    Kind("answered", "soak-steady", 20, _ANSWER, _answered),
    Kind("answered slowly", "soak-steady", 4, {"do": "sleep", "seconds": (0.02, 0.1, 0.4)}, _answered),
    Kind("hung up", "soak-steady", 1, {"do": "sleep", "seconds": 0.3}, _answered, runs=False, hangs_up=True),
    Kind(
        "streamed whole",
        "soak-steady",
        2,
        _ANSWER,
        lambda a, id: a.status == 200 and id in a.body.decode(),
        streaming=True,
    ),
    Kind("event", "soak-steady", 6, _ANSWER, _accepted, asynchronous=True),
    Kind("event that fails", "soak-broken", 1, {"do": ("fail", "leave"), "code": 1}, _accepted, asynchronous=True),
    Kind("function calls function", "soak-caller", 1, {"function": "soak-steady"}, _answered),
    Kind("raised", "soak-broken", 3, {"do": "fail"}, _failed("Sorrow")),
    Kind("exited", "soak-broken", 2, {"do": "leave", "code": range(256)}, _EXITED),
    Kind("sys.exit", "soak-broken", 1, {"do": "quit"}, _failed("Runtime.ExitError")),
    Kind("signalled", "soak-broken", 2, {"do": "kill", "signal": (4, 6, 9, 11, 15)}, _EXITED),
    Kind("unserialisable", "soak-broken", 1, {"do": "unserialisable"}, _failed("Runtime.MarshalError")),
    Kind(
        "out of memory",
        "soak-broken",
        0.5,
        {"do": "take memory"},
        _failed("Runtime.OutOfMemory", "Runtime.ExitError", "MemoryError"),
    ),
    Kind("well again", "soak-broken", 4, _ANSWER, _answered),
    Kind(
        "timed out", "soak-late", 1, {"do": "sleep", "seconds": 30}, _failed("Sandbox.Timedout"), runs=False
    ),  # init may take it all
    Kind("in time", "soak-late", 1, _ANSWER, _either(_answered, _failed("Sandbox.Timedout")), runs=False),
    Kind("large, both ways", "soak-large", 0.5, {**_ANSWER, "given": Text(6_000_000)}, _answered),
    Kind(
        "too large", "soak-large", 0.2, {"do": "enlarge", "size": 7_000_000}, _failed("Function.ResponseSizeTooLarge")
    ),
    Kind("log flood", "soak-loud", 0.5, {"do": "flood", "lines": range(2000)}, _answered, runs=False),
    Kind("litters", "soak-littering", 1, {"do": "litter"}, _answered),
    Kind("node", "soak-node", 4, {**_ANSWER, "given": Text(1000)}, _answered),
    Kind("node exits", "soak-node", 0.5, {"do": "leave", "code": 1}, _EXITED),
    Kind("node throws", "soak-node", 0.5, {"do": "fail"}, _failed("Error")),
    Kind(
        "streamed",
        "soak-streaming",
        2,
        {"do": "go", "pieces": range(20), "size": range(30_000), "pause": 1},
        _streamed,
        streaming=True,
    ),
    Kind(
        "stream hung up",
        "soak-streaming",
        0.5,
        {"do": "go", "pieces": 50, "size": 10_000, "pause": 20},
        _streamed,
        runs=False,
        streaming=True,
        hangs_up=True,
    ),
    Kind(
        "stream broken off",
        "soak-streaming",
        0.3,
        {"do": "leave", "pieces": 9, "size": 1000, "pause": 10},
        _broken_off,
        streaming=True,
    ),
    Kind("java", "soak-java", 2, {**_ANSWER, "given": Text(1000)}, _answered),
    Kind("java exits", "soak-java", 0.2, {"do": "leave"}, _EXITED),
    Kind("java throws", "soak-java", 0.3, {"do": "fail"}, _failed("java.lang.IllegalStateException")),
    Kind("shell", "soak-shell", 1, _ANSWER, _answered),
    Kind("shell exits", "soak-shell", 0.3, {"do": "leave"}, _EXITED),
    Kind("with an extension", "soak-watched", 1, _ANSWER, _answered),
    Kind("crashes with an extension", "soak-watched", 0.3, {"do": "leave", "code": 1}, _EXITED),
    Kind(
        "reserved",
        "soak-reserved",
        3,
        {"do": "sleep", "seconds": 0.1},
        _answered,
        runs=False,
        refusals=("TooManyRequestsException",),
    ),
    Kind(
        "while changed",
        "soak-changing",
        3,
        {"do": "sleep", "seconds": (0.0, 0.2)},
        _answered,
        runs=False,
        refusals=BETWEEN,
    ),
    Kind("by an alias", "soak-changing", 3, _ANSWER, _answered, runs=False, qualifier="live", refusals=BETWEEN),
    Kind(
        "from a snapshot",
        "soak-snapped",
        3,
        {"do": "sleep", "seconds": (0.0, 0.2)},
        _answered,
        runs=False,
        qualifier="live",
        refusals=(*BETWEEN, "SnapStartNotReadyException"),  # of a version just published
    ),
    Kind(
        "while deleted",
        "soak-phoenix",
        3,
        {"do": "sleep", "seconds": (0.0, 0.2)},
        _answered,
        runs=False,
        refusals=BETWEEN,
    ),
    Kind("event while deleted", "soak-phoenix", 1, _ANSWER, _accepted, runs=False, asynchronous=True, refusals=BETWEEN),
)
