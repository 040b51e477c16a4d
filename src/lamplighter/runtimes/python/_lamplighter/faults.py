"""Failures as AWS words them: the error payload, the stack in it, and the cause for X-Ray (AWS: spec 2.3)."""

from __future__ import annotations

import os
import traceback
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from types import TracebackType

_OWN_FILES = os.path.dirname(__file__) + os.sep

Frame = tuple[str, Any, str, Any]  # file, line number, function, source line


class Fault(Exception):
    """The function cannot be run, or its answer not be sent; `kind` is the Runtime.… error type."""

    def __init__(self, kind: str, message: str, stack: list[str] | None = None) -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message
        self.stack = stack


def payload(message: str, kind: str, stack: list[str] | None, request_id: str = "") -> dict[str, Any]:
    """The body of an error report; the order of the members is part of it."""
    return {"errorMessage": message, "errorType": kind, "requestId": request_id, "stackTrace": stack or []}


def user_frames(tb: TracebackType | None) -> list[Frame]:
    """The frames from the function's own code on, where a file named bootstrap.py does not count as such, as on AWS.
    If there are none (the handler can't be called), the runtime's, as on AWS."""
    frames = [(frame.filename, frame.lineno, frame.name, frame.line) for frame in traceback.extract_tb(tb)]
    for index, frame in enumerate(frames):
        if "/bootstrap.py" not in frame[0] and not frame[0].startswith(_OWN_FILES):
            return frames[index:]
    return frames


def format_frames(frames: list[Frame]) -> list[str]:
    """One string per frame. From tuples, not frame summaries: those would add caret lines on newer interpreters."""
    return traceback.format_list(frames)


def cause(message: str, kind: str, frames: list[Frame]) -> dict[str, Any]:
    """What goes into the X-Ray error cause header."""
    return {
        "working_directory": os.getcwd(),
        "exceptions": [
            {
                "message": message,
                "type": kind,
                "stack": [{"label": name, "path": path, "line": line} for path, line, name, _ in frames],
            }
        ],
        "paths": list({frame[0] for frame in frames}),
    }


def without_own_frames(tb: TracebackType | None) -> TracebackType | None:
    while tb is not None and tb.tb_frame.f_code.co_filename.startswith(_OWN_FILES):
        tb = tb.tb_next
    return tb
