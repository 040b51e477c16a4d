"""Refusals as AWS Lambda words them on the wire: one class per exception of the service model, and AWS's common ones.

A class carries the code (its own name), the HTTP status and the spelling of its message member; whoever raises it gives
the text. `api/errors.py` turns it into a response in one place. A test holds status and spelling against the service
model (AWS: spec 1.1, appendix B).
"""

from typing import ClassVar


class ServiceError(Exception):
    """A refusal with AWS's code, status and text. `extra`: further body members, such as Reason of a throttle."""

    code: ClassVar[str] = "ServiceException"
    status: ClassVar[int] = 500
    key: ClassVar[str] = "Message"  # the other spelling is "message"; fixed per exception by the service model
    typed: ClassVar[bool] = True  # the body names the side at fault: "Type": "User" or "Service"

    def __init_subclass__(cls) -> None:
        if "code" not in cls.__dict__:
            cls.code = cls.__name__

    def __init__(self, message: str | None = None, **extra: str) -> None:
        super().__init__(message)
        self.message = message
        self.extra = extra


# What callers meet most.


class ServiceException(ServiceError):
    """500: something on our side failed; the text says no more than the caller may know."""

    status = 500


class InvalidParameterValueException(ServiceError):
    status = 400
    key = "message"


class InvalidRequestContentException(ServiceError):
    status = 400
    key = "message"


class ResourceNotFoundException(ServiceError):
    status = 404


class ResourceConflictException(ServiceError):
    status = 409
    key = "message"


class PreconditionFailedException(ServiceError):
    status = 412
    key = "message"


class TooManyRequestsException(ServiceError):
    """429; `Reason` says which limit (AWS: spec 2.2), `retry_after` becomes the Retry-After header (seconds)."""

    status = 429
    key = "message"

    def __init__(self, reason: str, message: str = "Rate Exceeded.", retry_after: int | None = None) -> None:
        super().__init__(message, Reason=reason)
        self.retry_after = retry_after


class RequestTooLargeException(ServiceError):
    status = 413
    key = "message"


class SerializedRequestEntityTooLargeException(ServiceError):
    status = 413
    key = "message"


class UnsupportedMediaTypeException(ServiceError):
    status = 415
    key = "message"


# Code, versions, limits of the account.


class CodeStorageExceededException(ServiceError):
    status = 400
    key = "message"


class InvalidZipFileException(ServiceError):
    status = 502


class InvalidRuntimeException(ServiceError):
    status = 502


class RuntimeAliasDeletedException(ServiceError):
    status = 409
    key = "message"


class RuntimeVersionDeletedException(ServiceError):
    status = 409
    key = "message"


class NoPublishedVersionException(ServiceError):
    status = 400


class AliasLimitExceededException(ServiceError):
    status = 400
    key = "message"


class ResourceInUseException(ServiceError):
    status = 400


class ServiceQuotaExceededException(ServiceError):
    status = 402


class CapacityProviderLimitExceededException(ServiceError):
    status = 400
    key = "message"


class FunctionVersionsPerCapacityProviderLimitExceededException(ServiceError):
    status = 400
    key = "message"


class ProvisionedConcurrencyConfigNotFoundException(ServiceError):
    status = 404
    key = "message"


class CodeArtifactUserDeletedException(ServiceError):
    status = 409
    key = "message"


class CodeArtifactUserFailedException(ServiceError):
    status = 409
    key = "message"


class CodeArtifactUserPendingException(ServiceError):
    status = 409
    key = "message"


# Code signing and policies.


class CodeSigningConfigNotFoundException(ServiceError):
    status = 404


class CodeVerificationFailedException(ServiceError):
    status = 400


class InvalidCodeSignatureException(ServiceError):
    status = 400


class PolicyLengthExceededException(ServiceError):
    status = 400
    key = "message"


class PublicPolicyException(ServiceError):
    status = 400


# Invocation modes and states.


class ModeNotSupportedException(ServiceError):
    status = 400
    key = "message"


class RecursiveInvocationException(ServiceError):
    status = 400


class ResourceNotReadyException(ServiceError):
    status = 502
    key = "message"


class DurableExecutionAlreadyStartedException(ServiceError):
    status = 409


class CallbackTimeoutException(ServiceError):
    status = 400


class SnapStartException(ServiceError):
    status = 400


class SnapStartNotReadyException(ServiceError):
    status = 409


class SnapStartRegenerationFailureException(ServiceError):
    status = 409


class SnapStartTimeoutException(ServiceError):
    status = 408


# What stands between a function and its VPC, keys and file systems.


class EC2AccessDeniedException(ServiceError):
    status = 502


class EC2ThrottledException(ServiceError):
    status = 502


class EC2UnexpectedException(ServiceError):
    """Takes EC2's own code as `EC2ErrorCode=`."""

    status = 502


class EFSIOException(ServiceError):
    status = 410


class EFSMountConnectivityException(ServiceError):
    status = 408


class EFSMountFailureException(ServiceError):
    status = 403


class EFSMountTimeoutException(ServiceError):
    status = 408


class ENILimitReachedException(ServiceError):
    status = 502


class ENINotReadyException(ServiceError):
    status = 502


class InvalidSecurityGroupIDException(ServiceError):
    status = 502


class InvalidSubnetIDException(ServiceError):
    status = 502


class KMSAccessDeniedException(ServiceError):
    status = 502


class KMSDisabledException(ServiceError):
    status = 502


class KMSInvalidStateException(ServiceError):
    status = 502


class KMSNotFoundException(ServiceError):
    status = 502


class S3FilesMountConnectivityException(ServiceError):
    status = 408


class S3FilesMountFailureException(ServiceError):
    status = 403


class S3FilesMountTimeoutException(ServiceError):
    status = 408


class SubnetIPAddressLimitReachedException(ServiceError):
    status = 502


# AWS's common errors: not in the service model, no Type in the body.


class ValidationException(ServiceError):
    """400 of the first validation layer (AWS: spec 1.2)."""

    status = 400
    key = "message"
    typed = False


class SerializationException(ServiceError):
    """400: the request cannot be read as the service model says, before anything is validated."""

    status = 400
    typed = False


class AccessDeniedException(ServiceError):
    """403; without a text, AWS sends a null one (function ARN of another account, as recorded)."""

    status = 403
    typed = False


class UnknownOperationException(ServiceError):
    """404: the service does not do this operation; SDKs do not retry it."""

    status = 404
    key = "message"
    typed = False


class RequestEntityTooLargeException(ServiceError):
    """413 of the front door: the request, or the zip in it, is too big (AWS: spec 1.2)."""

    status = 413
    key = "message"
    typed = False


class MissingAuthenticationTokenException(ServiceError):
    status = 403
    key = "message"
    typed = False


class IncompleteSignatureException(ServiceError):
    status = 400
    key = "message"
    typed = False


class UnrecognizedClientException(ServiceError):
    status = 403
    key = "message"
    typed = False


class InvalidSignatureException(ServiceError):
    status = 403
    key = "message"
    typed = False


class ExpiredTokenException(ServiceError):
    status = 403
    key = "message"
    typed = False
