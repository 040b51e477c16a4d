"""What is told about an event that has come to its end: the invocation record that destinations receive, and what a
dead-letter queue is told beside the event (AWS: spec 5; forms as recorded).

Values in, bytes out: who receives it, and how, is for `destinations`.
"""

import re
import time
import uuid
from dataclasses import dataclass
from typing import Any, Final, Literal, cast

import orjson

from lamplighter.model.functions import FunctionId

# Why an event is over, as its record says it. Each but the first is a failure.
Condition = Literal["Success", "RetriesExhausted", "EventAgeExceeded", "ZeroReservedConcurrency", "RecursiveInvocation"]

LARGEST_MESSAGE: Final = 1024  # bytes of the error message that a dead-letter queue is told
# Neither SQS nor SNS takes a message with any of these in it.
_UNFIT: Final = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(frozen=True, slots=True)
class Response:
    """What the last attempt that ran came back with. `version`: the one that ran; `error`: Handled or Unhandled."""

    payload: bytes
    version: str
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why the last attempt did not run: what a synchronous caller would have been told."""

    status: int
    message: str


@dataclass(frozen=True, slots=True)
class Ending:
    """An event's end. `qualifier`: as invoked, $LATEST without one; `attempts`: how often it ran; `at`: seconds since
    the epoch; `trace`: the X-Amzn-Trace-Id for who is told."""

    request_id: str
    function: FunctionId
    qualifier: str
    condition: Condition
    attempts: int
    at: float
    payload: bytes
    response: Response | None = None
    refusal: Refusal | None = None
    trace: str = ""

    @property
    def succeeded(self) -> bool:
        return self.condition == "Success"

    @property
    def arn(self) -> str:
        return f"{self.function.arn}:{self.qualifier}"


def invocation_record(ending: Ending) -> bytes:
    """JSON, version 1.0. Payloads stand in it as they are, to the byte; an answer that is no JSON becomes a string."""
    record: dict[str, Any] = {
        "version": "1.0",
        "timestamp": timestamp(ending.at),
        "requestContext": {
            "requestId": ending.request_id,
            "functionArn": ending.arn,
            "condition": ending.condition,
            "approximateInvokeCount": ending.attempts,
        },
        "requestPayload": orjson.Fragment(ending.payload),  # was JSON when it was accepted
    }
    if (response := ending.response) is not None:
        context: dict[str, Any] = {"statusCode": 200, "executedVersion": response.version}
        if response.error is not None:
            context["functionError"] = response.error
        record["responseContext"] = context
        record["responsePayload"] = _json(response.payload)
    return orjson.dumps(record)


def error_code(ending: Ending) -> int:
    """200 for a function that failed: the invocation as such did not."""
    return 200 if ending.refusal is None else ending.refusal.status


def error_message(ending: Ending) -> str:
    """Up to 1 KB: why it did not run, or the function's own words. Never empty, which no attribute may be."""
    if ending.refusal is not None:
        said = ending.refusal.message
    else:
        said = "" if ending.response is None else _words(ending.response.payload)
    return _UNFIT.sub("?", said).encode()[:LARGEST_MESSAGE].decode(errors="ignore") or ending.condition


def fit(json: bytes) -> str:
    """As text that SQS and SNS take. Nothing is lost: what they refuse stands in strings, where it can be escaped."""
    return _UNFIT.sub(lambda found: f"\\u{ord(found[0]):04x}", json.decode(errors="replace"))


def timestamp(at: float) -> str:
    """As in records: 2026-01-02T03:04:05.678Z."""
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(at)) + f".{int(at * 1000) % 1000:03d}Z"


def object_key(function: str, at: float, name: uuid.UUID) -> str:
    """Where in a bucket the record goes. `function`: its plain name."""
    moment = time.gmtime(at)
    day, second = time.strftime("%Y/%m/%d", moment), time.strftime("%Y-%m-%dT%H.%M.%S", moment)
    return f"aws/lambda/async/{function}/{day}/{second}-{name}"


def _json(payload: bytes) -> object:
    """For orjson to put in as it stands, if it is JSON."""
    if not payload:
        return None
    try:
        orjson.loads(payload)
    except orjson.JSONDecodeError:
        return payload.decode(errors="replace")
    return orjson.Fragment(payload)


def _words(payload: bytes) -> str:
    try:
        found: object = orjson.loads(payload)
    except orjson.JSONDecodeError:
        return payload.decode(errors="replace")
    if isinstance(found, dict):
        message = cast(dict[str, Any], found).get("errorMessage")
        if isinstance(message, str) and message:
            return message
    return payload.decode()
