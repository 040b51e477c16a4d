"""The second argument of every handler. Attribute names, texts and types are AWS's (AWS: spec 2.5)."""

from __future__ import annotations

import json
import logging
import os
import sys
import time
from typing import Any, cast

from .faults import Fault

_TRACE_CONTEXT = ("traceparent", "tracestate", "baggage")


class _Record:
    """Fixed attributes, filled from a mapping; what is missing there is None."""

    __slots__: tuple[str, ...] = ()

    def __init__(self, values: dict[str, Any]) -> None:
        for name in self.__slots__:
            setattr(self, name, values.get(name))

    def __repr__(self) -> str:
        return _show(self, self.__slots__)


class CognitoIdentity(_Record):
    __slots__ = ("cognito_identity_id", "cognito_identity_pool_id")


class Client(_Record):
    __slots__ = ("app_package_name", "app_title", "app_version_code", "app_version_name", "installation_id")

    def __repr__(self) -> str:
        return _show(self, ("installation_id", "app_title", "app_version_name", "app_version_code", "app_package_name"))


class ClientContext(_Record):
    __slots__ = ("client", "custom", "env")

    def __repr__(self) -> str:
        return _show(self, ("custom", "env", "client"))


class LambdaContext:
    """`deadline`: milliseconds since the epoch. The JSON texts come from the Runtime API's headers, empty if absent.

    Raises Fault when one of them is not JSON."""

    def __init__(
        self,
        request_id: str,
        client_context: str,
        cognito_identity: str,
        deadline: int,
        invoked_arn: str,
        tenant_id: str | None,
    ) -> None:
        caller = _parse(client_context, "Client Context")
        identity: Any = _parse(cognito_identity, "Cognito Identity") or {}
        environ = os.environ.get
        self.aws_request_id = request_id
        self.log_group_name = environ("AWS_LAMBDA_LOG_GROUP_NAME")
        self.log_stream_name = environ("AWS_LAMBDA_LOG_STREAM_NAME")
        self.function_name = environ("AWS_LAMBDA_FUNCTION_NAME")
        self.memory_limit_in_mb = environ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE")
        self.function_version = environ("AWS_LAMBDA_FUNCTION_VERSION")
        self.invoked_function_arn = invoked_arn
        self.tenant_id = tenant_id
        self._w3c_fields = _take_trace_context(caller)
        self.client_context = None if caller is None else ClientContext(caller)
        if self.client_context is not None and self.client_context.client is not None:
            self.client_context.client = Client(self.client_context.client)
        self.identity = CognitoIdentity(
            {
                "cognito_identity_id": identity.get("cognitoIdentityId"),
                "cognito_identity_pool_id": identity.get("cognitoIdentityPoolId"),
            }
        )
        self._epoch_deadline_time_in_ms = deadline

    def get_remaining_time_in_millis(self) -> int:
        return max(0, self._epoch_deadline_time_in_ms - int(time.time() * 1000))  # noqa: TID251  # no Clock in here

    def w3c(self) -> dict[str, str]:
        """The W3C trace context that came with the invocation."""
        return dict(self._w3c_fields)

    def log(self, msg: object) -> None:
        """Write as it is: no time, no line end."""
        for handler in logging.getLogger().handlers:
            sink = getattr(handler, "log_sink", None)
            if sink is not None:
                sink.log(str(msg))
                return
        sys.stdout.write(str(msg))

    def __repr__(self) -> str:
        return _show(
            self,
            (
                "aws_request_id",
                "log_group_name",
                "log_stream_name",
                "function_name",
                "memory_limit_in_mb",
                "function_version",
                "invoked_function_arn",
                "client_context",
                "identity",
                "tenant_id",
            ),
        )


def _show(value: object, names: tuple[str, ...]) -> str:
    members = ",".join(f"{name}={getattr(value, name)}" for name in names)
    return f"{value.__class__.__name__}([{members}])"


def _parse(text: str, what: str) -> Any:
    if not text:
        return None
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise Fault("Runtime.LambdaContextUnmarshalError", f"Unable to parse {what} JSON: {error}") from None


def _take_trace_context(caller: Any) -> dict[str, str]:
    """Moves `w3c` out of the client context, where handlers don't see it, and keeps the members the standard knows."""
    fields: Any = cast("dict[str, Any]", caller).pop("w3c", None) if isinstance(caller, dict) else None
    if not isinstance(fields, dict):
        return {}
    fields = cast("dict[str, Any]", fields)
    return {name: fields[name] for name in _TRACE_CONTEXT if isinstance(fields.get(name), str)}
