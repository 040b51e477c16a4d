"""Refusals as responses: the one place where a ServiceError becomes HTTP (AWS: spec 1.1)."""

import orjson

from lamplighter.api.http import Response
from lamplighter.model.errors import ServiceError, TooManyRequestsException


def refusal(error: ServiceError, request_id: str) -> Response:
    """Body members in AWS's spelling; a text that is None is sent as null, as AWS does.

    Only a failure of ours without a text gets one: it names the request, so that the operator finds it in the log."""
    text = error.message
    if text is None and error.status >= 500:
        text = f"The service failed to process the request. Request: {request_id}"
    body: dict[str, str | None] = {"Type": "User" if error.status < 500 else "Service"} if error.typed else {}
    body[error.key] = text
    body.update(error.extra)
    headers = (("Content-Type", "application/json"), ("x-amzn-ErrorType", error.code))
    if isinstance(error, TooManyRequestsException) and error.retry_after is not None:
        headers = (*headers, ("Retry-After", str(error.retry_after)))
    return Response(error.status, headers, orjson.dumps(body))
