"""Another AWS service on the same port: the JSON 1.1 protocol, whose requests name their operation in X-Amz-Target.

Shapes and constraints come from the service model that botocore ships, as Lambda's do; the model is read when the first
request comes, outside of the event loop, and only what the served operations need of it is kept. Refusals are answered
as this protocol has them: a code in `__type`, and the text in `message`.
"""

import asyncio
import logging
import zlib
from collections.abc import Callable, Mapping
from typing import Any, Final

import orjson

from lamplighter.api import service_model
from lamplighter.api.authorization import authorize
from lamplighter.api.http import Call, Caller, Operation, Request, Response, Streamed, StreamingOperation
from lamplighter.api.shapes import Reader, Shapes, Writer
from lamplighter.api.validation import Check, Checks, refuse
from lamplighter.model.errors import SerializationException, ServiceError, ServiceException, UnknownOperationException

CONTENT_TYPE = ("Content-Type", "application/x-amz-json-1.1")
_UNPACKED: Final = 4 << 20  # bytes of a request that came compressed

_log = logging.getLogger(__name__)


class OperationPlan:
    def __init__(self, definition: Mapping[str, Any], shapes: Shapes, checks: Checks) -> None:
        given: str = definition["input"]["shape"]
        returned: str | None = definition.get("output", {}).get("shape")
        self.read: Reader = shapes.reader(given)
        self.check: Check | None = checks.of(given)
        self.write: Writer | None = shapes.writer(returned) if returned else None


class JsonService:
    """`prefix`: of X-Amz-Target. `refused`: the service's own code for input that breaks a constraint. `closing` is
    called when the service is about to stop, to end what would otherwise go on."""

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
    ) -> None:
        self.prefix = prefix
        self.closing = closing
        self._name = name
        self._version = version
        self._operations = operations
        self._verify = verify
        self._region = region
        self._refused = refused
        self._plans: Mapping[str, OperationPlan] | None = None

    async def answer(self, request: Request, request_id: str) -> Response | Streamed:
        try:
            return await self._answer(request, request_id)
        except ServiceError as error:
            if error.status >= 500:
                _log.error(
                    "request %s: %s", request_id, error, exc_info=error.__cause__, extra={"request_id": request_id}
                )
            return refusal(error)
        except Exception:  # the outermost loop, as in the front door
            target = request.headers["x-amz-target"].encode("ascii", "backslashreplace").decode()[:100]
            _log.exception("request %s failed: %s", request_id, target, extra={"request_id": request_id})
            return refusal(ServiceException(f"The service failed to process the request. Request: {request_id}"))

    async def _answer(self, request: Request, request_id: str) -> Response | Streamed:
        caller = self._verify(request)
        name = request.headers["x-amz-target"].partition(".")[2]
        run = self._operations.get(name)
        if run is None:
            raise UnknownOperationException(f"The operation {name} is not available in this version of Lamplighter.")
        authorize(caller, self._name, name, "*")
        if self._plans is None:
            self._plans = await asyncio.to_thread(self._compile)
        plan = self._plans[name]
        values = self._parse(plan, unpacked(request))
        call = Call(request_id, caller, self._region, f"http://{request.headers.get('host', '')}")
        output = await run(call, values)
        if isinstance(output, Streamed):
            return output
        return Response(200, (CONTENT_TYPE,), b"" if plan.write is None else orjson.dumps(plan.write(output)))

    def _parse(self, plan: OperationPlan, body: bytes) -> dict[str, Any]:
        try:
            document: Any = orjson.loads(body) if body else {}
        except orjson.JSONDecodeError:
            raise SerializationException("Could not parse request body into json.") from None
        values: dict[str, Any] = plan.read(document)
        if plan.check is not None:
            failures: list[str] = []
            plan.check(values, "", failures)
            if failures:
                raise self._refused(refuse(failures).message)
        return values

    def _compile(self) -> Mapping[str, OperationPlan]:
        model = service_model.load(service_model.read(self._name, self._version))
        definitions = {name: model["operations"][name] for name in self._operations}
        needed = _reachable(definitions, model["shapes"])
        shapes, checks = Shapes(needed), Checks(needed)
        return {name: OperationPlan(definition, shapes, checks) for name, definition in definitions.items()}


def refusal(error: ServiceError) -> Response:
    """In this protocol all that is the caller's fault is 400."""
    body = orjson.dumps({"__type": error.code, "message": error.message})
    status = error.status if error.status >= 500 else 400
    headers = (CONTENT_TYPE, ("x-amzn-ErrorType", error.code))
    query: str | None = getattr(error, "query", None)  # the code of the query protocol, by which SDKs know it
    return Response(status, headers if query is None else (*headers, ("x-amzn-query-error", f"{query};Sender")), body)


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
