"""Another AWS service on the same port, in the protocols that its clients speak (dialects.py).

Shapes and constraints come from the service model that botocore ships, as Lambda's do; the model is read when the first
request comes, outside of the event loop, and only what the served operations need of it is kept. So are requests and
responses that take their time: one caller's may not hold up the calls of all others.
"""

import asyncio
import logging
import zlib
from collections.abc import Callable, Mapping
from typing import Any, Final

from lamplighter.api import cbor, query, service_model
from lamplighter.api.authorization import authorize
from lamplighter.api.dialects import Cbor, Dialect, Json, OperationPlan, Query
from lamplighter.api.http import Call, Caller, Operation, Request, Response, Streamed, StreamingOperation
from lamplighter.api.shapes import Shapes
from lamplighter.api.validation import Checks, refuse
from lamplighter.model.errors import SerializationException, ServiceError, ServiceException, UnknownOperationException

_UNPACKED: Final = 4 << 20  # bytes of a request that came compressed
_AT_ONCE: Final = 8192  # bytes of a request that are read in the event loop

_log = logging.getLogger(__name__)


class OtherService:
    """`prefix`: of X-Amz-Target, and the service's name in paths. `scope`: the service's in credential scopes.
    `refused`: its own code for input that breaks a constraint. `closing` is called when the service is about to stop,
    to end what would otherwise go on. `large`: operations whose responses are written outside of the event loop.
    `namespace`: of XML, if the service is spoken to in the query protocol, too. `outspoken`: operations that refuse in
    their own words what breaks constraints. `limit`: raises what refuses a request for its size in bytes, given with
    the operation's name."""

    def __init__(
        self,
        name: str,
        version: str,
        prefix: str,
        operations: Mapping[str, Operation | StreamingOperation],
        verify: Callable[[Request], Caller],
        region: str,
        refused: type[ServiceError],
        closing: Callable[[], None] = lambda: None,
        scope: str | None = None,
        large: frozenset[str] = frozenset(),
        namespace: str | None = None,
        outspoken: frozenset[str] = frozenset(),
        limit: Callable[[str, int], None] = lambda name, size: None,
    ) -> None:
        self.prefix = prefix
        self.closing = closing
        self._name = name
        self._version = version
        self._operations = operations
        self._verify = verify
        self._region = region
        self._refused = refused
        self._scope = scope or name
        self._large = large
        self._outspoken = outspoken
        self._limit = limit
        self._plans: Mapping[str, OperationPlan] | None = None
        self._path = f"/service/{prefix}/operation/"
        self._spoken: Mapping[str, Dialect] = {"json": Json(), "cbor": Cbor()}
        self._query = None if namespace is None else Query(namespace)

    def dialect(self, request: Request) -> Dialect | None:
        """None: the request is for somebody else."""
        headers = request.headers
        target = headers.get("x-amz-target")
        if target is not None:
            return self._spoken["json"] if target.partition(".")[0] == self.prefix else None
        if request.method != "POST":
            return None
        kind = headers.get("content-type", "").partition(";")[0].strip().lower()
        if request.path.startswith(self._path):
            return self._spoken["cbor"] if kind == cbor.CONTENT_TYPE else None
        if self._query is not None and request.path == "/" and kind == query.CONTENT_TYPE:
            signed = f"/{self._scope}/aws4_request" in headers.get("authorization", "")
            return self._query if signed or f"Version={self._version}".encode() in request.body else None
        return None

    async def answer(self, dialect: Dialect, request: Request, request_id: str) -> Response | Streamed:
        try:
            return await self._answer(dialect, request, request_id)
        except ServiceError as error:
            if error.status >= 500:
                _log.error(
                    "request %s: %s", request_id, error, exc_info=error.__cause__, extra={"request_id": request_id}
                )
            return dialect.refusal(error, request_id)
        except Exception:  # the outermost loop, as in the front door
            _log.exception("request %s to %s failed", request_id, self._name, extra={"request_id": request_id})
            refused = ServiceException(f"The service failed to process the request. Request: {request_id}")
            return dialect.refusal(refused, request_id)

    async def _answer(self, dialect: Dialect, request: Request, request_id: str) -> Response | Streamed:
        caller = self._verify(request)
        if self._plans is None:
            self._plans = await asyncio.to_thread(self._compile)
        if len(request.body) > _AT_ONCE or "content-encoding" in request.headers:
            name, values = await asyncio.to_thread(self._parse, dialect, request, caller)
        else:
            name, values = self._parse(dialect, request, caller)
        plan = self._plans[name]
        call = Call(request_id, caller, self._region, f"http://{request.headers.get('host', '')}")
        output = await self._operations[name](call, values)
        if isinstance(output, Streamed):
            return output
        if name in self._large:
            return await asyncio.to_thread(dialect.response, name, plan, output, request_id)
        return dialect.response(name, plan, output, request_id)

    def _parse(self, dialect: Dialect, request: Request, caller: Caller) -> tuple[str, dict[str, Any]]:
        """The operation and its input."""
        body = unpacked(request)
        name = dialect.operation(request, body)
        plan = self._plans.get(name) if self._plans is not None else None
        if plan is None:
            raise UnknownOperationException(
                f"The operation {name[:100]} is not available in this version of Lamplighter."
            )
        authorize(caller, self._name, name, "*")
        self._limit(name, len(request.body))
        values: dict[str, Any] = plan.read(dialect.document(plan, body))
        if plan.check is not None and name not in self._outspoken:
            failures: list[str] = []
            plan.check(values, "", failures)
            if failures:
                raise self._refused(refuse(failures).message)
        return name, values

    def _compile(self) -> Mapping[str, OperationPlan]:
        model = service_model.load(service_model.read(self._name, self._version))
        definitions = {name: model["operations"][name] for name in self._operations}
        needed = _reachable(definitions, model["shapes"])
        shapes, checks = Shapes(needed), Checks(needed)
        return {name: _plan(definition, shapes, checks) for name, definition in definitions.items()}


def _plan(definition: Mapping[str, Any], shapes: Shapes, checks: Checks) -> OperationPlan:
    given: str = definition["input"]["shape"]
    returned: str | None = definition.get("output", {}).get("shape")
    write = shapes.writer(returned) if returned else None
    return OperationPlan(given, returned, shapes.reader(given), checks.of(given), write, shapes)


def unpacked(request: Request) -> bytes:
    """The body, which may have come as gzip. Raises SerializationException."""
    if request.headers.get("content-encoding") != "gzip":
        return request.body
    reader = zlib.decompressobj(wbits=31)
    try:
        body = reader.decompress(request.body, _UNPACKED)
    except zlib.error:
        body = b""
    if not reader.eof:
        raise SerializationException("The request body is no whole gzip stream, or too large.")
    return body


def _reachable(operations: Mapping[str, Any], shapes: Mapping[str, Any]) -> dict[str, Any]:
    """The shapes that these operations are made of, without their documentation, which is most of a model."""
    found: dict[str, Any] = {}
    wanted = [
        given["shape"] for each in operations.values() for name in ("input", "output") if (given := each.get(name))
    ]
    while wanted:
        name = wanted.pop()
        if name in found:
            continue
        shape = found[name] = {part: value for part, value in shapes[name].items() if part != "documentation"}
        parts = [
            *shape.get("members", {}).values(),
            *(shape[part] for part in ("member", "key", "value") if part in shape),
        ]
        wanted += [part["shape"] for part in parts]
    return found
