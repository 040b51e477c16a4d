"""Refusals as AWS Lambda words them on the wire: one class per exception of the service model.

A class carries the code and the HTTP status; whoever raises it gives the text. `api/` turns it into a response in one
place. `key` is the spelling of the message member, fixed per exception by the service model (AWS: spec 1.1, appendix B).
"""

from typing import ClassVar


class ServiceError(Exception):
    """A refusal with AWS's code, status and text. `extra`: further body members, such as Reason of a throttle."""

    code: ClassVar[str] = "ServiceException"
    status: ClassVar[int] = 500
    key: ClassVar[str] = "Message"

    def __init__(self, message: str | None = None, **extra: str) -> None:
        super().__init__(message)
        self.message = message
        self.extra = extra


class ServiceException(ServiceError):
    """500: something on our side failed; the text says no more than the caller may know."""


class ValidationException(ServiceError):
    """400 of the first validation layer (AWS: spec 1.2): lower-case `message`, no Type."""

    code = "ValidationException"
    status = 400
    key = "message"


class InvalidParameterValueException(ServiceError):
    code = "InvalidParameterValueException"
    status = 400
    key = "message"


class InvalidRequestContentException(ServiceError):
    code = "InvalidRequestContentException"
    status = 400
    key = "message"


class ResourceNotFoundException(ServiceError):
    code = "ResourceNotFoundException"
    status = 404


class ResourceConflictException(ServiceError):
    code = "ResourceConflictException"
    status = 409
    key = "message"


class PreconditionFailedException(ServiceError):
    code = "PreconditionFailedException"
    status = 412
    key = "message"


class TooManyRequestsException(ServiceError):
    """429; `Reason` says which limit (AWS: spec 2.2), `retry_after` becomes the Retry-After header (seconds)."""

    code = "TooManyRequestsException"
    status = 429
    key = "message"

    def __init__(self, reason: str, message: str = "Rate Exceeded.", retry_after: int | None = None) -> None:
        super().__init__(message, Reason=reason)
        self.retry_after = retry_after


class AccessDeniedException(ServiceError):
    code = "AccessDeniedException"
    status = 403


class RequestTooLargeException(ServiceError):
    code = "RequestTooLargeException"
    status = 413
    key = "message"


class RequestEntityTooLargeException(ServiceError):
    code = "RequestEntityTooLargeException"
    status = 413
    key = "message"


class UnsupportedMediaTypeException(ServiceError):
    code = "UnsupportedMediaTypeException"
    status = 415
    key = "message"


class CodeStorageExceededException(ServiceError):
    code = "CodeStorageExceededException"
    status = 400
    key = "message"


class InvalidRuntimeException(ServiceError):
    code = "InvalidRuntimeException"
    status = 502


class InvalidZipFileException(ServiceError):
    code = "InvalidZipFileException"
    status = 502
