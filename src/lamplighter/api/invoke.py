"""Invoke: the one operation on the hot path, so it is read by hand and not through the service model.

Well-formed requests are recognised at a glance; whatever is not goes through the wire's own validation, which words the
refusal as AWS does. The order of checks is AWS's: parameters, (authorisation, which is over when we come in,) the
function, the body (AWS: spec 2.1).
"""

import asyncio
import base64
import binascii
import json
from collections.abc import Awaitable, Callable
from typing import NamedTuple

import orjson

from lamplighter.api.http import Caller, Request, Response
from lamplighter.api.jackson import parse_failure
from lamplighter.api.protocol import Wire
from lamplighter.bodies.judging import is_json
from lamplighter.bodies.large_bodies import LARGE, LargeBodies
from lamplighter.invoke.invoker import Invoker
from lamplighter.model.errors import (
    InvalidParameterValueException,
    InvalidRequestContentException,
    RequestTooLargeException,
    ServiceError,
    ServiceException,
    UnknownOperationException,
)
from lamplighter.model.functions import LATEST, FunctionId, FunctionVersion
from lamplighter.model.ids import Ids
from lamplighter.model.invocation import Invocation, Outcome
from lamplighter.model.names import parse_function_name
from lamplighter.model.parcels import Carrier, CarrierLost, Parcel
from lamplighter.model.pieces import whole

SYNC_LIMIT = 6_291_556  # bytes of a payload (AWS: spec 2.1)
ASYNC_LIMIT = 1_048_576
CLIENT_CONTEXT_LIMIT = 3583  # characters of base64
_PIECES = 512  # of an answer, which go to the caller as they came; a guest can make millions of them
_TARGETS = 4096  # remembered ways to name a function
_TRACE_LIMIT = 1024  # characters

# Takes an event for later: returns once it is durably queued. The response is a 202 (AWS: spec 5).
Accept = Callable[[FunctionVersion, Invocation], Awaitable[None]]

_EXECUTED_LATEST = (("X-Amz-Executed-Version", LATEST),)


class _Target(NamedTuple):
    id: FunctionId
    qualifier: str | None
    arn: str  # as invoked


class InvokeApi:
    def __init__(
        self,
        wire: Wire,
        invoker: Invoker,
        ids: Ids,
        region: str,
        accept: Accept | None = None,
        carrier: Carrier | None = None,
    ) -> None:
        self._wire = wire
        self._invoker = invoker
        self._ids = ids
        self._region = region
        self._accept = accept
        self._carrier = carrier
        self._large_bodies = LargeBodies()
        self._targets: dict[tuple[str, str, str], _Target] = {}

    async def answer(self, request: Request, name: str, caller: Caller, request_id: str) -> Response:
        """`name`: the path's label, still encoded. Raises ServiceError, and WorkerError when nothing can run."""
        headers = request.headers
        target = self._targets.get((caller.account, name, request.query))
        kind = headers.get("x-amz-invocation-type", "RequestResponse")
        log_type = headers.get("x-amz-log-type", "None")
        if (
            target is None
            or kind not in ("RequestResponse", "Event", "DryRun")
            or log_type not in ("None", "Tail")
            or "x-amz-tenant-id" in headers
            or "x-amz-durable-execution-name" in headers
        ):
            target = self._read(request, name, caller)
        context = headers.get("x-amz-client-context")
        if context is not None:
            context = read_client_context(context)
        function = self._invoker.known(target.id, target.qualifier)
        if function is None:
            await asyncio.sleep(0)  # what may have to wait gets a task (server.FrontDoor._step)
            function = await self._invoker.resolve(target.id, target.qualifier)
        check_tenant(headers.get("x-amz-tenant-id"))
        if kind == "DryRun":
            return Response(204)
        payload = request.body
        if kind == "Event" and len(payload) > ASYNC_LIMIT:
            raise request_too_large(ASYNC_LIMIT)
        parcel = request.parcel
        if parcel is not None:
            await check_parcel(parcel)
        else:
            payload = await read_large(self._large_bodies, payload) if len(payload) > LARGE else read_payload(payload)
        trace = read_trace(headers.get("x-amzn-trace-id"), self._ids)
        tail, carrier = log_type == "Tail", self._carrier
        invocation = Invocation(
            request_id, payload, target.arn, trace, context, None, None, tail, "sync", None, None, parcel, carrier
        )
        if kind == "Event":
            return await self._queue(function, invocation)
        outcome = await self._invoker.invoke(function, invocation)
        if outcome.pieces is not None and len(outcome.pieces) > _PIECES:
            outcome = await whole(outcome)
        return _response(function, outcome)

    def _read(self, request: Request, name: str, caller: Caller) -> _Target:
        """The function a request names. Raises what AWS's two validation layers say of its parameters."""
        route = self._wire.route("POST", f"/2015-03-31/functions/{name}/invocations", request.query)
        values = self._wire.parse(route, request.query, request.headers, b"")
        named = parse_function_name(values["FunctionName"], values.get("Qualifier"), caller.account, self._region)
        target = _Target(named.id, named.qualifier, named.arn)
        if len(self._targets) >= _TARGETS:
            self._targets.clear()
        self._targets[caller.account, name, request.query] = target
        return target

    async def _queue(self, function: FunctionVersion, invocation: Invocation) -> Response:
        if self._accept is None:
            raise UnknownOperationException("Invoke of type Event is not available in this version of Lamplighter.")
        await asyncio.sleep(0)  # as above
        await self._accept(function, invocation)
        return Response(202)


# What InvokeWithResponseStream reads in the same way.


def request_too_large(limit: int, operation: str = "InvokeFunction") -> ServiceError:
    return RequestTooLargeException(f"Request must be smaller than {limit} bytes for the {operation} operation")


def check_tenant(tenant: str | None) -> None:
    if tenant is not None:
        raise InvalidParameterValueException(
            "The invoked function is not enabled with tenancy configuration. Remove the TenantId and try again."
        )


def read_payload(body: bytes) -> bytes:
    """The event. Raises InvalidRequestContentException."""
    if not body:
        return b"{}"
    if not is_json(body):
        raise _not_json(body)
    return body


async def read_large(large_bodies: LargeBodies, body: bytes) -> bytes:
    """As `read_payload`, without keeping others waiting."""
    if not await large_bodies.is_json(body, is_json):
        raise _not_json(body)
    return body


async def check_parcel(parcel: Parcel) -> None:
    """As `read_payload`."""
    if not parcel.is_json:
        try:
            body = await parcel.fetch()
        except CarrierLost as error:
            raise ServiceException from error
        raise _not_json(body)


def _not_json(body: bytes) -> ServiceError:
    return InvalidRequestContentException(
        f"Could not parse request body into json: Could not parse payload into json: {parse_failure(body)}"
    )


def read_trace(given: str | None, ids: Ids) -> str:
    """The caller's trace, or a new one."""
    if given is None or "Root=" not in given or len(given) > _TRACE_LIMIT:
        return ids.trace()
    return given


def _response(function: FunctionVersion, outcome: Outcome) -> Response:
    headers: tuple[tuple[str, str], ...]
    headers = _EXECUTED_LATEST if function.version == LATEST else (("X-Amz-Executed-Version", function.version),)
    if outcome.error is not None:
        headers = (*headers, ("X-Amz-Function-Error", outcome.error))
    if outcome.log_tail is not None:
        headers = (*headers, ("X-Amz-Log-Result", base64.b64encode(outcome.log_tail).decode()))
    return Response(200, headers, outcome.payload, outcome.pieces, outcome.parcel)


def read_client_context(text: str) -> str:
    """From base64 to JSON in ASCII, as it travels on in a header. Raises InvalidRequestContentException."""
    if len(text) > CLIENT_CONTEXT_LIMIT:
        raise InvalidRequestContentException(f"Client context must be no larger than {CLIENT_CONTEXT_LIMIT} bytes.")
    try:
        context = orjson.loads(base64.b64decode(text, validate=True))
    except (binascii.Error, orjson.JSONDecodeError):
        context = None
    if not isinstance(context, dict):
        raise InvalidRequestContentException("Client context must be a valid Base64-encoded JSON object.")
    return json.dumps(context, separators=(",", ":"))
