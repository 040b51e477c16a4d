"""The payloads of failures that the service reports on a function's behalf, byte for byte (AWS: spec 2.3).

What a runtime posts itself is passed through untouched and never comes by here.
"""

import re

import orjson

from lamplighter.model.errors import SnapStartException, SnapStartTimeoutException
from lamplighter.sandbox.contract import Exit
from lamplighter.worker.stream import STREAM_LIMIT

RESPONSE_LIMIT = 6_291_556  # bytes of a buffered response

TOO_LARGE_TYPE = "Function.ResponseSizeTooLarge"


def _too_large(limit: int) -> bytes:
    message = f"Response payload size exceeded maximum allowed payload size ({limit} bytes)."
    return orjson.dumps({"errorType": TOO_LARGE_TYPE, "errorMessage": message})


TOO_LARGE = _too_large(RESPONSE_LIMIT)
STREAM_TOO_LARGE = (TOO_LARGE_TYPE, _too_large(STREAM_LIMIT))

EXIT_ERROR = "Runtime.ExitError"
TIMED_OUT = "Sandbox.Timedout"
TRUNCATED = "Runtime.TruncatedResponse"  # a streamed response whose end never came, whatever the reason
INVALID_ENTRYPOINT = "Runtime.InvalidEntrypoint"

# AWS's agent is written in Go: signals carry Go's names.
SIGNALS = {
    1: "hangup",
    2: "interrupt",
    3: "quit",
    4: "illegal instruction",
    5: "trace/breakpoint trap",
    6: "aborted",
    7: "bus error",
    8: "floating point exception",
    9: "killed",
    10: "user defined signal 1",
    11: "segmentation fault",
    12: "user defined signal 2",
    13: "broken pipe",
    14: "alarm clock",
    15: "terminated",
    16: "stack fault",
    24: "CPU time limit exceeded",
    25: "file size limit exceeded",
    26: "virtual timer expired",
    27: "profiling timer expired",
    31: "bad system call",
}

_ERROR_TYPE = re.compile(r"(?:Runtime|Function)\.[A-Z][a-zA-Z]+")


def reason(exit: Exit) -> str:
    """How the process ended, in AWS's words."""
    if exit.refusal is not None:
        return exit.refusal
    if exit.signal is not None:
        return f"Runtime exited with error: signal: {SIGNALS.get(exit.signal, f'signal {exit.signal}')}"
    if exit.code:
        return f"Runtime exited with error: exit status {exit.code}"
    return "Runtime exited without providing a reason"


def exit_type(exit: Exit) -> str:
    return EXIT_ERROR if exit.refusal is None else INVALID_ENTRYPOINT


def exited(request_id: str, exit: Exit) -> bytes:
    message = f"RequestId: {request_id} Error: {reason(exit)}"
    return orjson.dumps({"errorType": exit_type(exit), "errorMessage": message})


def extension_failure(exit: Exit | None, initializing: bool, posted: bool) -> tuple[str, str]:
    """Error type and reason of an extension that failed: how it exited, if it has, and whether it `posted` that it
    would have to."""
    if exit is not None and exit.refusal is not None:
        return "Extension.LaunchError", exit.refusal
    if exit is not None and exit.signal is not None:
        how = f"signal: {SIGNALS.get(exit.signal, f'signal {exit.signal}')}"
    else:
        how = f"exit code {(exit.code if exit is not None else None) or 0}"
    if posted:
        return "Extension.InitError" if initializing else "Extension.ExitError", how
    return "Extension.Crash", how


def extension_failed(request_id: str, error_type: str, reason: str) -> bytes:
    return orjson.dumps({"errorType": error_type, "errorMessage": f"RequestId: {request_id} Error: {reason}"})


def timed_out(request_id: str, timeout: int) -> bytes:
    """`timeout`: seconds, the function's."""
    message = f"RequestId: {request_id} Error: Task timed out after {timeout:.2f} seconds"
    return orjson.dumps({"errorType": TIMED_OUT, "errorMessage": message})


def not_restored(status: str) -> SnapStartException | SnapStartTimeoutException:
    """`status`: error or timeout."""
    if status == "timeout":
        return SnapStartTimeoutException("Lambda couldn't restore the snapshot within the timeout limit.")
    return SnapStartException(
        "The afterRestore() runtime hook encountered an error. For more information, check the Amazon CloudWatch logs."
    )


def truncated(request_id: str) -> bytes:
    message = f"RequestId: {request_id} Error: The response was broken off before its end"
    return orjson.dumps({"errorType": TRUNCATED, "errorMessage": message})


def error_type(posted: str) -> str:
    """The error type a runtime posted, as log lines show it: what is not of AWS's form is unknown (AWS: spec 3.3)."""
    if _ERROR_TYPE.fullmatch(posted):
        return posted
    return "Function.Unknown" if posted.startswith("Function.") else "Runtime.Unknown"
