"""Spans: what an invocation's segments and a function's own subsegments become on their way to a collector.

Segments are X-Ray's idea (AWS: spec 10.3), spans OpenTelemetry's; the ids fit both.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

from lamplighter.model.usage import Ran, Thrown

Value = str | int | float | bool

_MEMBER: Final[re.Pattern[str]] = re.compile(r"(Root|Parent)=([^;]*)")
_FAILURES: Final = {"error": "the function returned an error", "timeout": "the function timed out"}


@dataclass(frozen=True, slots=True)
class Span:
    """`trace`: 32 hexadecimal digits, `id` and `parent`: 16, `parent` empty for a root. Times in seconds since the
    epoch. `failure`: None if all went well."""

    trace: str
    id: str
    parent: str
    name: str
    kind: Literal["server", "client", "internal"]
    began: float
    ended: float
    attributes: Mapping[str, Value] = field(default_factory=dict[str, Value])
    failure: str | None = None
    thrown: tuple[Thrown, ...] = ()  # what the failure came from, the outermost first


def of_invocation(ran: Ran, new_id: Callable[[], str]) -> list[Span]:
    """The service's segment, the function's below it, and in that Initialization (or Restore), Invocation and Overhead.
    Nothing for an invocation that is not traced."""
    members: dict[str, str] = dict(_MEMBER.findall(ran.trace))
    trace, function_id = trace_id(members.get("Root", "")), members.get("Parent", "")
    if ran.above is None or trace is None:
        return []
    function, service_id = ran.function, new_id()
    before = ran.init if ran.restore is None else ran.restore.duration
    began, ended = ran.began - (before or 0.0) / 1000, ran.began + ran.duration / 1000
    answered = ran.began + min(ran.duration, ran.duration if ran.answered is None else ran.answered) / 1000
    failure = None if ran.status == "success" else ran.error_type or _FAILURES.get(ran.status, "the runtime failed")
    name = function.id.name
    invocation: dict[str, Value] = {
        "faas.invocation_id": ran.request_id,
        "faas.coldstart": before is not None,
        "cloud.resource_id": ran.invoked_arn,
    }
    spans = [
        Span(trace, service_id, ran.above, name, "server", began, ended, {"aws.origin": "AWS::Lambda", **invocation}),
        Span(
            trace,
            function_id,
            service_id,
            name,
            "internal",
            began,
            ended,
            {"aws.origin": "AWS::Lambda::Function", **invocation},
            failure,
            ran.thrown,
        ),
        Span(trace, new_id(), function_id, "Invocation", "internal", ran.began, answered, {}, failure),
        Span(trace, new_id(), function_id, "Overhead", "internal", answered, ended),
    ]
    if before is not None:
        phase = "Initialization" if ran.restore is None else "Restore"
        spans.insert(2, Span(trace, new_id(), function_id, phase, "internal", began, ran.began))
    return spans


def trace_id(root: str) -> str | None:
    """X-Ray's 1-5759e988-bd862e3fe1be46a994272793 without its version and dashes."""
    version, _, rest = root.partition("-")
    digits = rest.replace("-", "")
    return digits if version == "1" and _hexadecimal(digits, 32) else None


def is_id(value: object) -> bool:
    return isinstance(value, str) and _hexadecimal(value, 16)


def _hexadecimal(text: str, digits: int) -> bool:
    return len(text) == digits and all(digit in "0123456789abcdef" for digit in text)
