"""Spans as OpenTelemetry's protocol writes them: ExportTraceServiceRequest in JSON, for POST /v1/traces."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

import orjson

from lamplighter.model.functions import FunctionVersion
from lamplighter.model.usage import Thrown
from lamplighter.telemetry.traces.spans import Span, Value

_KINDS: Final = {"internal": 1, "server": 2, "client": 3}
_FAILED: Final = 2  # status code


def request(groups: Sequence[tuple[FunctionVersion, Sequence[Span]]]) -> bytes:
    """Spans by the function version that they are of."""
    return orjson.dumps({"resourceSpans": [_resource_spans(function, spans) for function, spans in groups]})


def _resource_spans(function: FunctionVersion, spans: Sequence[Span]) -> dict[str, Any]:
    of = {
        "service.name": function.id.name,
        "faas.name": function.id.name,
        "faas.version": function.version,
        "faas.max_memory": function.memory_size * 1_048_576,
        "cloud.account.id": function.id.account,
        "cloud.region": function.id.region,
        "cloud.resource_id": function.arn,
    }
    return {
        "resource": {"attributes": _attributes(of)},
        "scopeSpans": [{"scope": {"name": "lamplighter"}, "spans": [_span(span) for span in spans]}],
    }


def _span(span: Span) -> dict[str, Any]:
    written: dict[str, Any] = {
        "traceId": span.trace,
        "spanId": span.id,
        "name": span.name,
        "kind": _KINDS[span.kind],
        "startTimeUnixNano": _nanoseconds(span.began),
        "endTimeUnixNano": _nanoseconds(max(span.began, span.ended)),
        "attributes": _attributes(span.attributes),
    }
    if span.parent:
        written["parentSpanId"] = span.parent
    if span.failure is not None:
        written["status"] = {"code": _FAILED, "message": span.failure}
    if span.thrown:
        at = written["endTimeUnixNano"]
        written["events"] = [_event(thrown, at) for thrown in span.thrown]
    return written


def _event(thrown: Thrown, at: str) -> dict[str, Any]:
    """As OpenTelemetry names an exception's attributes."""
    said = {"type": thrown.type, "message": thrown.message, "stacktrace": thrown.stack}
    attributes = {f"exception.{name}": value for name, value in said.items() if value}
    return {"timeUnixNano": at, "name": "exception", "attributes": _attributes(attributes)}


def _nanoseconds(seconds: float) -> str:
    """64-bit numbers are texts in protobuf's JSON."""
    return str(int(seconds * 1e9) if math.isfinite(seconds) and 0 <= seconds < 1e10 else 0)


def _attributes(values: Mapping[str, Value]) -> list[dict[str, Any]]:
    return [{"key": key, "value": _value(value)} for key, value in values.items()]


def _value(value: Value) -> dict[str, Any]:
    if isinstance(value, bool):
        return {"boolValue": value}
    if isinstance(value, int):
        return {"intValue": str(value)}
    if isinstance(value, float):
        return {"doubleValue": value}
    return {"stringValue": value}
