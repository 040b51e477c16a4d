"""The lines that the service itself writes into a function's log, in text form (AWS: spec 3.6).

Texts only: figures come in as arguments, milliseconds and bytes. What is returned ends without a line end.
"""

import math
import re
from datetime import UTC, datetime

from lamplighter.model.functions import FunctionVersion

_RUNTIME = re.compile(r"([a-z]+)(.*)")


def init_start(function: FunctionVersion) -> bytes:
    match = _RUNTIME.fullmatch(function.runtime or "")
    name, release = match.groups() if match else ("image", "")
    line = f"INIT_START Runtime Version: {name}:{release.lstrip('.')}.v1"
    if function.runtime_version_arn:
        line += f"\tRuntime Version ARN: {function.runtime_version_arn}"
    return line.encode()


def init_report(duration: float, phase: str, error_type: str | None) -> bytes:
    """Of a failed init; `error_type` None: it took too long."""
    line = f"INIT_REPORT Init Duration: {duration:.2f} ms\tPhase: {phase}\tStatus: "
    return (line + (f"error\tError Type: {error_type}" if error_type else "timeout")).encode()


def start(request_id: str, version: str) -> bytes:
    return f"START RequestId: {request_id} Version: {version}".encode()


def end_and_report(
    request_id: str,
    duration: float,
    memory_size: int,
    memory_peak: int | None,
    init_duration: float | None,
    status: str | None,
) -> bytes:
    """`memory_size` in MB, `memory_peak` in bytes. Init is billed with the first invocation (AWS: since 2025-08)."""
    billed = math.ceil(duration + (init_duration or 0.0))
    line = (
        f"END RequestId: {request_id}\nREPORT RequestId: {request_id}\t"
        f"Duration: {duration:.2f} ms\tBilled Duration: {billed} ms\tMemory Size: {memory_size} MB\t"
    )
    if memory_peak is not None:  # without cgroups nobody knows, and a made-up figure would be worse than none
        line += f"Max Memory Used: {math.ceil(memory_peak / 1048576)} MB\t"
    if init_duration is not None:
        line += f"Init Duration: {init_duration:.2f} ms\t"
    return (line + (status or "")).encode()


def timed_out(now: float, request_id: str, timeout: int) -> bytes:
    """`now` in seconds since the epoch, `timeout` in seconds."""
    at = datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3]
    return f"{at}Z {request_id} Task timed out after {timeout:.2f} seconds\n".encode()


def crashed(request_id: str, reason: str) -> bytes:
    return f"RequestId: {request_id} Error: {reason}".encode()
