"""InvokeAsync, the operation of 2014: Invoke of type Event in an older dress, with nothing to choose (AWS: spec 5)."""

from typing import Any

from lamplighter.api.http import Call, Operation
from lamplighter.api.invoke import ASYNC_LIMIT, Accept
from lamplighter.api.jackson import parse_failure
from lamplighter.bodies.judging import is_json
from lamplighter.invoke.invoker import Invoker
from lamplighter.model.errors import InvalidRequestContentException, RequestTooLargeException
from lamplighter.model.ids import Ids
from lamplighter.model.invocation import Invocation
from lamplighter.model.names import parse_function_name


class InvokeAsyncOperation:
    def __init__(self, invoker: Invoker, accept: Accept, ids: Ids) -> None:
        self._invoker = invoker
        self._accept = accept
        self._ids = ids

    def operations(self) -> dict[str, Operation]:
        return {"InvokeAsync": self.invoke_async}

    async def invoke_async(self, call: Call, values: dict[str, Any]) -> dict[str, Any]:
        """The checks are Invoke's, in its order."""
        target = parse_function_name(values["FunctionName"], None, call.account, call.region)
        function = await self._invoker.resolve(target.id, target.qualifier)
        payload: bytes = values["InvokeArgs"]
        if len(payload) > ASYNC_LIMIT:
            raise RequestTooLargeException(
                f"Request must be smaller than {ASYNC_LIMIT} bytes for the InvokeAsync operation"
            )
        if not is_json(payload):
            raise InvalidRequestContentException(
                f"Could not parse request body into json: Could not parse payload into json: {parse_failure(payload)}"
            )
        await self._accept(function, Invocation(call.request_id, payload, target.arn, self._ids.trace()))
        return {"Status": 202}
