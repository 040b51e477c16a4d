"""The payloads of failures that the service reports on a function's behalf, byte for byte (AWS: spec 2.3).

What a runtime posts itself is passed through untouched and never comes by here.
"""

import re

import orjson

from lamplighter.sandbox.contract import Exit

RESPONSE_LIMIT = 6_291_556  # bytes of a buffered response

TOO_LARGE = orjson.dumps(
    {
        "errorType": "Function.ResponseSizeTooLarge",
        "errorMessage": f"Response payload size exceeded maximum allowed payload size ({RESPONSE_LIMIT} bytes).",
    }
)

EXIT_ERROR = "Runtime.ExitError"

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
    if exit.signal is not None:
        return f"Runtime exited with error: signal: {SIGNALS.get(exit.signal, f'signal {exit.signal}')}"
    if exit.code:
        return f"Runtime exited with error: exit status {exit.code}"
    return "Runtime exited without providing a reason"


def exited(request_id: str, exit: Exit) -> bytes:
    return orjson.dumps({"errorType": EXIT_ERROR, "errorMessage": f"RequestId: {request_id} Error: {reason(exit)}"})


def timed_out(request_id: str, timeout: int) -> bytes:
    """`timeout`: seconds, the function's."""
    message = f"RequestId: {request_id} Error: Task timed out after {timeout:.2f} seconds"
    return orjson.dumps({"errorType": "Sandbox.Timedout", "errorMessage": message})


def error_type(posted: str) -> str:
    """The error type a runtime posted, as log lines show it: what is not of AWS's form is unknown (AWS: spec 3.3)."""
    return posted if _ERROR_TYPE.fullmatch(posted) else "Runtime.Unknown"
