"""What a runtime is told about an event beside its payload: the head of the answer to its poll (AWS: spec 3.3)."""

from lamplighter.model.invocation import Invocation


def event_head(invocation: Invocation, deadline: int) -> bytes:
    """`deadline`: milliseconds since the epoch."""
    more = ""
    if invocation.client_context is not None:
        more += f"Lambda-Runtime-Client-Context: {_one_line(invocation.client_context)}\r\n"
    if invocation.cognito_identity is not None:
        more += f"Lambda-Runtime-Cognito-Identity: {_one_line(invocation.cognito_identity)}\r\n"
    if invocation.tenant_id is not None:
        more += f"Lambda-Runtime-Aws-Tenant-Id: {_one_line(invocation.tenant_id)}\r\n"
    return (
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
        f"Lambda-Runtime-Aws-Request-Id: {invocation.request_id}\r\n"
        f"Lambda-Runtime-Deadline-Ms: {deadline}\r\n"
        f"Lambda-Runtime-Invoked-Function-Arn: {invocation.invoked_arn}\r\n"
        f"Lambda-Runtime-Trace-Id: {_one_line(invocation.trace_id)}\r\n"
        f"{more}Content-Length: {invocation.size}\r\n\r\n"
    ).encode()


def _one_line(value: str) -> str:
    """A caller's text as a header's value: it must not begin another header."""
    return value if value.isprintable() else "".join(c if c.isprintable() else " " for c in value)
