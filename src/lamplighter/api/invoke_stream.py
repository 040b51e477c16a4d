"""InvokeWithResponseStream: what a function answers goes to the caller as events, as it comes (AWS: spec 2.4).

Whatever is refused is refused before the first byte, as for any other operation. From the function's first byte on the
status is 200, and how it ended is told by the last event. A caller who hangs up ends nothing: the function runs on.
"""

import asyncio
import base64
import logging
from collections.abc import Callable
from typing import Any

import orjson

from lamplighter.api import event_stream
from lamplighter.api.http import Call, Streamed, StreamingOperation
from lamplighter.api.invoke import (
    SYNC_LIMIT,
    check_tenant,
    read_client_context,
    read_large,
    read_payload,
    read_trace,
    request_too_large,
)
from lamplighter.bodies.large_bodies import LARGE, LargeBodies
from lamplighter.invoke.invoker import Invoker
from lamplighter.invoke.pace import Pace
from lamplighter.model.functions import FunctionVersion
from lamplighter.model.ids import Ids
from lamplighter.model.invocation import Invocation, Outcome
from lamplighter.model.names import parse_function_name
from lamplighter.model.pieces import whole
from lamplighter.worker.contract import WorkerError
from lamplighter.worker.stream import Stream

NAME = "InvokeWithResponseStream"

_PIECE = 65_536  # bytes of one event at most
_OCTETS = "application/octet-stream"  # of a function that doesn't say
_CHUNK = event_stream.event_headers("PayloadChunk", _OCTETS)
_COMPLETE = event_stream.event_headers("InvokeComplete", "application/json")

_log = logging.getLogger(__name__)


class InvokeStreamOperation:
    """`pace`: makes the pace of one stream."""

    def __init__(self, invoker: Invoker, ids: Ids, pace: Callable[[], Pace]) -> None:
        self._invoker = invoker
        self._ids = ids
        self._pace = pace
        self._large_bodies = LargeBodies()

    def operations(self) -> dict[str, StreamingOperation]:
        return {NAME: self.invoke}

    async def invoke(self, call: Call, values: dict[str, Any]) -> dict[str, Any] | Streamed:
        """The checks are Invoke's, in its order."""
        target = parse_function_name(values["FunctionName"], values.get("Qualifier"), call.account, call.region)
        context: str | None = values.get("ClientContext")
        if context is not None:
            context = read_client_context(context)
        function = await self._invoker.resolve(target.id, target.qualifier)
        check_tenant(values.get("TenantId"))
        if values.get("InvocationType") == "DryRun":
            return {"StatusCode": 204}
        payload: bytes = values["Payload"]
        if len(payload) > SYNC_LIMIT:
            raise request_too_large(SYNC_LIMIT, NAME)
        payload = await read_large(self._large_bodies, payload) if len(payload) > LARGE else read_payload(payload)
        trace = read_trace(call.trace, self._ids)
        tail = values.get("LogType") == "Tail"
        stream = Stream()
        invocation = Invocation(call.request_id, payload, target.arn, trace, context, None, None, log_tail=tail)
        running = asyncio.create_task(self._run(function, invocation, stream))
        answer = StreamedAnswer(running, stream, self._pace(), call.request_id)
        await answer.begun()
        headers = (
            ("Content-Type", event_stream.CONTENT_TYPE),
            ("X-Amz-Executed-Version", function.version),
            ("X-Amzn-Remapped-Content-Type", stream.content_type or _OCTETS),
        )
        return Streamed(200, headers, answer)

    async def _run(self, function: FunctionVersion, invocation: Invocation, stream: Stream) -> Outcome:
        return await whole(await self._invoker.invoke(function, invocation, stream))


class StreamedAnswer:
    """The answer of a running invocation as the bytes of its events; owns the invocation's task."""

    def __init__(self, running: asyncio.Task[Outcome], stream: Stream, pace: Pace, request_id: str) -> None:
        self._running = running
        self._stream = stream
        self._pace = pace
        self._request_id = request_id
        self._rest: memoryview | None = None  # of an answer that the function gave in one piece
        self._complete = False
        running.add_done_callback(lambda _: stream.wake())

    async def begun(self) -> None:
        """Until the function has begun to answer. Raises what it is refused with."""
        try:
            while not (self._stream.begun or self._running.done()):
                await self._stream.news()
        except asyncio.CancelledError:
            self._running.cancel()
            raise
        if self._running.done():
            self._running.result()

    async def read(self) -> bytes:
        while not self._complete:
            if piece := self._take():
                if delay := self._pace.delay(len(piece)):
                    await asyncio.sleep(delay)
                return event_stream.message(_CHUNK, piece)
            if self._running.done():
                self._complete = True
                return event_stream.message(_COMPLETE, orjson.dumps(self._ending()))
            await self._stream.news()
        return b""

    async def finish(self) -> None:
        self._stream.drop()
        try:
            await self._running
        except WorkerError as error:
            told = {"request_id": self._request_id}
            _log.error("request %s: the environment was lost: %s", self._request_id, error, extra=told)

    def cancel(self) -> None:
        self._running.cancel()

    def _take(self) -> bytes:
        if piece := self._stream.take(_PIECE):
            return piece
        if not self._running.done() or self._running.exception() is not None:
            return b""
        if self._rest is None:
            outcome = self._running.result()
            self._rest = memoryview(outcome.payload if outcome.error is None else b"")
        piece, self._rest = bytes(self._rest[:_PIECE]), self._rest[_PIECE:]
        return piece

    def _ending(self) -> dict[str, str]:
        if self._running.exception() is not None:
            return {"ErrorCode": "ServiceException", "ErrorDetails": "The service failed to process the request."}
        outcome = self._running.result()
        members: dict[str, str] = {}
        if outcome.error is not None:
            members["ErrorCode"] = outcome.error_type or outcome.error
            members["ErrorDetails"] = outcome.payload.decode("utf-8", "replace")
        if outcome.log_tail is not None:
            members["LogResult"] = base64.b64encode(outcome.log_tail).decode()
        return members
