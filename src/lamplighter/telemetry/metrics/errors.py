"""Refusals as CloudWatch words them. `query` is the code of this service's first protocol, which SDKs show."""

from typing import ClassVar

from lamplighter.model.errors import ServiceError


class MetricsError(ServiceError):
    status = 400
    key = "message"
    typed: ClassVar[bool] = False
    query: ClassVar[str | None] = None


class InvalidParameterValueException(MetricsError):
    query = "InvalidParameterValue"


class InvalidParameterCombinationException(MetricsError):
    query = "InvalidParameterCombination"


class MissingRequiredParameterException(MetricsError):
    query = "MissingParameter"


class ValidationError(MetricsError):
    query = "ValidationError"


class RequestEntityTooLarge(MetricsError):
    status = 413
    query = "RequestEntityTooLarge"


class InvalidNextToken(MetricsError):
    query = "InvalidNextToken"
