"""Refusals as CloudWatch Logs words them. All are 400s with `message`, told apart by their code (AWS: appendix G)."""

from typing import ClassVar

from lamplighter.model.errors import ServiceError


class LogsError(ServiceError):
    status = 400
    key = "message"
    typed: ClassVar[bool] = False


class InvalidParameterException(LogsError): ...


class ResourceNotFoundException(LogsError): ...


class ResourceAlreadyExistsException(LogsError): ...


class LimitExceededException(LogsError): ...


class TooManyTagsException(LogsError): ...


class ValidationException(LogsError): ...


class ServiceUnavailableException(LogsError):
    """503: the disk is full or broken; nothing of the call was kept."""

    status = 503


def no_group() -> ResourceNotFoundException:
    return ResourceNotFoundException("The specified log group does not exist.")


def no_stream() -> ResourceNotFoundException:
    return ResourceNotFoundException("The specified log stream does not exist.")
