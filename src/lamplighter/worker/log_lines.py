"""The lines that the service itself writes into a function's log, in text form (AWS: spec 3.6).

Texts only: figures come in as arguments, milliseconds and bytes. What is returned ends without a line end where nothing
else is said.
"""

import math
import re
from datetime import UTC, datetime
from functools import lru_cache

from lamplighter.model.functions import FunctionVersion
from lamplighter.model.usage import Restore, billed

TAB = "\t"
_RUNTIME = re.compile(r"([a-z]+)(.*)")
_SAMPLED = re.compile(r"Root=([^;]+);Parent=([0-9a-f]+);Sampled=1(?:;.*)?")


def runtime_version(function: FunctionVersion) -> str | None:
    """As AWS writes it, python:3.13.v1; None: it has no runtime of ours."""
    match = _RUNTIME.fullmatch(function.runtime or "")
    return f"{match[1]}:{match[2].lstrip('.')}.v1" if match else None


def init_start(function: FunctionVersion) -> bytes:
    line = f"INIT_START Runtime Version: {runtime_version(function) or 'image:.v1'}"
    if function.runtime_version_arn:
        line += f"\tRuntime Version ARN: {function.runtime_version_arn}"
    return line.encode()


def restore_start(function: FunctionVersion) -> bytes:
    return b"RESTORE_START" + init_start(function).removeprefix(b"INIT_START")


def restore_report(duration: float, status: str, error_type: str | None) -> bytes:
    """`status`: success shows the duration alone."""
    line = f"RESTORE_REPORT Restore Duration: {duration:.2f} ms"
    if status != "success":
        line += f"\tStatus: {status}" + (f"\tError Type: {error_type}" if error_type else "")
    return line.encode()


def init_report(duration: float, phase: str, status: str, error_type: str | None) -> bytes:
    """`status`: success shows the duration alone."""
    line = f"INIT_REPORT Init Duration: {duration:.2f} ms"
    if status != "success":
        line += f"\tPhase: {phase}\tStatus: {status}" + (f"\tError Type: {error_type}" if error_type else "")
    return line.encode()


def start(request_id: str, version: str) -> bytes:
    """With its line end: every invocation has it."""
    return f"START RequestId: {request_id} Version: {version}\n".encode()


def plain_start(request_id: bytes, version: bytes) -> bytes:
    """As `start`, of many in a row."""
    return b"START RequestId: %b Version: %b\n" % (request_id, version)


def plain_end(request_id: bytes, duration: float, memory_size: int, memory_peak: int | None) -> bytes:
    """As `end_and_report`, of many in a row, when there is nothing else to say."""
    return b"END RequestId: %b\nREPORT RequestId: %b\tDuration: %.2f ms\tBilled Duration: %d ms\t%b\n" % (
        request_id,
        request_id,
        duration,
        math.ceil(duration),
        _memory_encoded(memory_size, memory_peak),
    )


def end_and_report(
    request_id: str,
    duration: float,
    memory_size: int,
    memory_peak: int | None,
    init_duration: float | None,
    status: str,
    trace_id: str | None = None,
    restore: Restore | None = None,
) -> bytes:
    """With their line ends. `memory_size` in MB, `memory_peak` in bytes; `trace_id` where tracing is active; `restore`:
    its duration, and what of it is billed.

    Init is billed with the first invocation (AWS: since 2025-08), and so is a restore's billed part."""
    line = (
        f"END RequestId: {request_id}\nREPORT RequestId: {request_id}\t"
        f"Duration: {duration:.2f} ms\tBilled Duration: {billed(duration, init_duration, restore)} ms\t"
        f"{_memory(memory_size, memory_peak)}"
    )
    if init_duration is not None:
        line += f"Init Duration: {init_duration:.2f} ms\t"
    if restore is not None:
        line += (
            f"Restore Duration: {restore.duration:.2f} ms\tBilled Restore Duration: {math.ceil(restore.billed)} ms\t"
        )
    line += status
    sampled = trace_id and _SAMPLED.fullmatch(trace_id)
    if sampled:
        line = f"{line.rstrip(TAB)}{TAB}\nXRAY TraceId: {sampled[1]}\tSegmentId: {sampled[2]}\tSampled: true\t"
    return f"{line}\n".encode()


@lru_cache  # it is the same for most invocations of an environment
def _memory(size: int, peak: int | None) -> str:
    line = f"Memory Size: {size} MB\t"
    if peak is not None:  # without cgroups nobody knows, and a made-up figure would be worse than none
        line += f"Max Memory Used: {math.ceil(peak / 1048576)} MB\t"
    return line


@lru_cache
def _memory_encoded(size: int, peak: int | None) -> bytes:
    return _memory(size, peak).encode()


def status(status: str, error_type: str | None) -> str:
    """Of a failure that the service noticed, as a REPORT shows it."""
    if status == "success":
        return ""
    if status == "timeout":
        return "Status: timeout"
    return "Status: error" + (f"\tError Type: {error_type}" if error_type else "")


def extension(name: str, state: str, events: list[str], error_type: str | None) -> bytes:
    line = f"EXTENSION\tName: {name}\tState: {state}\tEvents: [{', '.join(events)}]"
    return (line + (f"\tError Type: {error_type}" if error_type else "")).encode()


def subscription(kind: str, name: str, types: list[str]) -> bytes:
    """`kind`: telemetry or logs. Types are shown with a capital."""
    shown = ", ".join(type.capitalize() for type in types)
    return f"{kind.upper()}\tName: {name}\tState: Subscribed\tTypes: [{shown}]".encode()


def timed_out(now: float, request_id: str, timeout: int) -> bytes:
    """`now` in seconds since the epoch, `timeout` in seconds."""
    at = datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3]
    return f"{at}Z {request_id} Task timed out after {timeout:.2f} seconds\n".encode()


def crashed(request_id: str, reason: str) -> bytes:
    return f"RequestId: {request_id} Error: {reason}".encode()
