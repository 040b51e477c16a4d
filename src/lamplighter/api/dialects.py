"""The protocols that a service beside Lambda is spoken to in: how a request names its operation, and what is on the
wire. AWS moved CloudWatch from one to the next, and each release of an SDK speaks one of them; the operations, their
checks and refusals are the same.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

import orjson

from lamplighter.api import cbor, query
from lamplighter.api.http import Request, Response
from lamplighter.api.shapes import Reader, Shapes, Writer
from lamplighter.api.validation import Check
from lamplighter.model.errors import SerializationException, ServiceError


@dataclass(frozen=True, slots=True)
class OperationPlan:
    """`given`, `returned`: the shapes of its input and its output."""

    given: str
    returned: str | None
    read: Reader
    check: Check | None
    write: Writer | None
    shapes: Shapes


class Dialect(Protocol):
    def operation(self, request: Request, body: bytes) -> str:
        """Its name, which may be none that there is."""
        ...

    def document(self, plan: OperationPlan, body: bytes) -> Any:
        """What JSON would have. Raises SerializationException."""
        ...

    def response(self, name: str, plan: OperationPlan, output: Mapping[str, Any], request_id: str) -> Response: ...

    def refusal(self, error: ServiceError, request_id: str) -> Response:
        """All that is the caller's fault is 400, but for 413."""
        ...


def status_of(error: ServiceError) -> int:
    return error.status if error.status >= 500 or error.status == 413 else 400


def _query_headers(error: ServiceError) -> tuple[tuple[str, str], ...]:
    """The code of the query protocol, by which SDKs know it."""
    found: str | None = getattr(error, "query", None)
    return () if found is None else (("x-amzn-query-error", f"{found};Sender"),)


class Json:
    """awsJson, which names the operation in X-Amz-Target."""

    TYPE: Final = ("Content-Type", "application/x-amz-json-1.1")

    def operation(self, request: Request, body: bytes) -> str:
        return request.headers["x-amz-target"].partition(".")[2]

    def document(self, plan: OperationPlan, body: bytes) -> Any:
        try:
            return orjson.loads(body) if body else {}
        except orjson.JSONDecodeError:
            raise SerializationException("Could not parse request body into json.") from None

    def response(self, name: str, plan: OperationPlan, output: Mapping[str, Any], request_id: str) -> Response:
        return Response(200, (self.TYPE,), b"" if plan.write is None else orjson.dumps(plan.write(output)))

    def refusal(self, error: ServiceError, request_id: str) -> Response:
        body = orjson.dumps({"__type": error.code, "message": error.message})
        headers = (self.TYPE, ("x-amzn-ErrorType", error.code), *_query_headers(error))
        return Response(status_of(error), headers, body)


class Cbor:
    """Smithy's rpc-v2-cbor, which names it in the path."""

    TYPE: Final = (("Content-Type", cbor.CONTENT_TYPE), ("smithy-protocol", "rpc-v2-cbor"))

    def operation(self, request: Request, body: bytes) -> str:
        return request.path.rpartition("/")[2]

    def document(self, plan: OperationPlan, body: bytes) -> Any:
        try:
            return cbor.loads(body) if body else {}
        except cbor.CborError as error:
            raise SerializationException(f"Could not parse request body into cbor: {error}.") from None

    def response(self, name: str, plan: OperationPlan, output: Mapping[str, Any], request_id: str) -> Response:
        return Response(200, self.TYPE, b"" if plan.returned is None else cbor.dumps(output))

    def refusal(self, error: ServiceError, request_id: str) -> Response:
        body = cbor.dumps({"__type": error.code, "message": error.message})
        return Response(status_of(error), (*self.TYPE, *_query_headers(error)), body)


@dataclass(frozen=True, slots=True)
class Query:
    """AWS's first: a form with an Action, and XML."""

    namespace: str
    type: tuple[str, str] = field(default=("Content-Type", "text/xml"))

    def operation(self, request: Request, body: bytes) -> str:
        return query.form(body).get("Action", "")

    def document(self, plan: OperationPlan, body: bytes) -> Any:
        fields = {name: text for name, text in query.form(body).items() if name not in ("Action", "Version")}
        return query.read(plan.shapes, plan.given, fields)

    def response(self, name: str, plan: OperationPlan, output: Mapping[str, Any], request_id: str) -> Response:
        body = query.response(name, self.namespace, plan.shapes, plan.returned, output, request_id)
        return Response(200, (self.type,), body)

    def refusal(self, error: ServiceError, request_id: str) -> Response:
        code: str = getattr(error, "query", None) or error.code
        body = query.refusal(self.namespace, code, error.message or "", error.status < 500, request_id)
        return Response(status_of(error), (self.type,), body)
