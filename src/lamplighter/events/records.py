"""What is told about an event that has come to its end: the invocation record that destinations receive, and what a
dead-letter queue is told beside the event (AWS: spec 5; forms as recorded).

Values in, bytes out: who receives it, and how, is for `destinations`.
"""

import re
import time
from datetime import datetime
from typing import Any, Final, NamedTuple, cast

import orjson

from lamplighter.events.contract import Ended
from lamplighter.model.functions import LATEST

SUCCESS: Final = "Success"  # the one condition that is none of failure
LARGEST_MESSAGE: Final = 1024  # bytes of the error message that a dead-letter queue is told
# Neither SQS nor SNS takes a message with any of these in it.
_UNFIT: Final = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")

_HEAD: Final = re.compile(
    rb'\{"version":"1\.0","timestamp":"(?P<timestamp>[^"]+)","requestContext":(?P<context>\{[^{}]+\}),'
)


def invocation_record(ended: Ended) -> bytes:
    """JSON, version 1.0. Payloads stand in it as they are, to the byte; an answer that is no JSON becomes a string."""
    record: dict[str, Any] = {
        "version": "1.0",
        "timestamp": timestamp(ended.at),
        "requestContext": {
            "requestId": ended.request_id,
            "functionArn": f"{ended.function.arn}:{ended.qualifier or LATEST}",
            "condition": ended.condition,
            "approximateInvokeCount": ended.invoke_count,
        },
        "requestPayload": orjson.Fragment(ended.payload),  # was JSON when it was accepted
    }
    if (outcome := ended.outcome) is not None:
        context: dict[str, Any] = {"statusCode": 200, "executedVersion": ended.executed_version}
        if outcome.error is not None:
            context["functionError"] = outcome.error
        record["responseContext"] = context
        record["responsePayload"] = _json(outcome.payload)
    return orjson.dumps(record)


def message_attributes(ended: Ended) -> dict[str, tuple[str, str]]:
    """Of a dead letter. The code is 200 for a function that failed: the invocation as such did not."""
    return {
        "RequestID": ("String", ended.request_id),
        "ErrorCode": ("Number", str(ended.status)),
        "ErrorMessage": ("String", error_message(ended)),
    }


def error_message(ended: Ended) -> str:
    """Up to 1 KB: the function's own words, or why it did not run. Never empty, which no attribute may be."""
    said = ended.message
    if ended.status == 200 and ended.outcome is not None:
        said = _words(ended.outcome.payload)
    return _UNFIT.sub("?", said).encode()[:LARGEST_MESSAGE].decode(errors="ignore") or ended.condition


def fit(json: bytes) -> str:
    """As text that SQS and SNS take. Nothing is lost: what they refuse stands in strings, where it can be escaped."""
    return _UNFIT.sub(lambda found: f"\\u{ord(found[0]):04x}", json.decode(errors="replace"))


def timestamp(at: float) -> str:
    """As in records: 2026-01-02T03:04:05.678Z."""
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(at)) + f".{int(at * 1000) % 1000:03d}Z"


class RecordHead(NamedTuple):
    timestamp: str
    succeeded: bool
    function_arn: str  # qualified


def read_head(record: bytes) -> RecordHead:
    """Of what `invocation_record` made, without a look at the payloads: they are large, and what one parser took as JSON
    (nesting, lone surrogates) another may not."""
    head = _HEAD.match(record)
    assert head is not None, "a record that we made"
    context: dict[str, Any] = orjson.loads(head["context"])
    return RecordHead(head["timestamp"].decode(), context["condition"] == SUCCESS, context["functionArn"])


def seconds(timestamp: str) -> float:
    """Since the epoch, of a record's timestamp."""
    return datetime.fromisoformat(timestamp).timestamp()


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
