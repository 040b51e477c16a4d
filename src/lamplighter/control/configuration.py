"""The configuration of a function version: what a request may ask, checked in AWS's order and words.

Pure: a version and what is wanted of it in, the version as it would be out (AWS: spec 1.2, 1.8, 1.9). What needs other
services, which are not there yet, is refused here too, in one place.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal, TypeVar

import orjson

from lamplighter.model.errors import InvalidParameterValueException, ResourceNotFoundException
from lamplighter.model.functions import FunctionVersion, LayerRef
from lamplighter.model.runtime_names import unknown_runtime
from lamplighter.model.targets import parse_target
from lamplighter.runtimes.catalogue import RUNTIMES, no_longer_supported

T = TypeVar("T")

LARGEST_MEMORY: Final = 10_240  # MB; more is for managed instances
LARGEST_EPHEMERAL_STORAGE: Final = 10_240  # MB
LONGEST_TIMEOUT: Final = 900  # seconds
LARGEST_ENVIRONMENT: Final = 4_096  # bytes of its JSON text
LARGEST_UNZIPPED: Final = 262_144_000  # bytes of the code and all layers together
MOST_TAGS: Final = 50

# Variables that Lambda sets itself and nobody may (AWS: spec 3).
RESERVED_VARIABLES: Final = frozenset(
    {
        "_HANDLER",
        "_X_AMZN_TRACE_ID",
        "AWS_DEFAULT_REGION",
        "AWS_REGION",
        "AWS_EXECUTION_ENV",
        "AWS_LAMBDA_FUNCTION_NAME",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE",
        "AWS_LAMBDA_FUNCTION_VERSION",
        "AWS_LAMBDA_INITIALIZATION_TYPE",
        "AWS_LAMBDA_LOG_GROUP_NAME",
        "AWS_LAMBDA_LOG_STREAM_NAME",
        "AWS_ACCESS_KEY",
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_SESSION_TOKEN",
        "AWS_SECURITY_TOKEN",
        "AWS_LAMBDA_RUNTIME_API",
        "AWS_LAMBDA_MAX_CONCURRENCY",
        "LAMBDA_TASK_ROOT",
        "LAMBDA_RUNTIME_DIR",
    }
)

# Java 11 and later, Python 3.12 and later, .NET 8 and later (AWS: spec 8).
SNAP_START: Final = re.compile(r"java(11|17|21|25)(\.al2023)?|python3\.(1[2-9])|dotnet(8|10)")

# What has to wait for machinery of its own; asked for, it is refused with what it is (nothing is accepted and ignored).
NOT_HERE: Final = {
    "AcceleratorConfig": "Accelerators",
    "DurableConfig": "Durable functions",
    "RuntimeConfig": "Customer-managed runtimes",
    "TenancyConfig": "Tenant isolation",
}


@dataclass(frozen=True, slots=True)
class Logging:
    """None: keep what is there (AWS: spec 1.8)."""

    format: Literal["Text", "JSON"] | None = None
    group: str | None = None
    application_level: str | None = None
    system_level: str | None = None


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a request asks of the configuration. None: it does not say, so what is there stays; empty: cleared.

    `other`: further members in AWS's spelling."""

    role: str | None = None
    handler: str | None = None
    runtime: str | None = None
    description: str | None = None
    timeout: int | None = None
    memory_size: int | None = None
    ephemeral_storage: int | None = None
    architectures: tuple[str, ...] | None = None
    environment: Mapping[str, str] | None = None
    layers: tuple[str, ...] | None = None
    tracing_mode: str | None = None
    logging: Logging | None = None
    snap_start: str | None = None
    kms_key_arn: str | None = None
    dead_letter_arn: str | None = None
    other: Mapping[str, Any] = field(default_factory=dict[str, Any])


def check_runtime(runtime: str, available: Callable[[str], str | None]) -> None:
    """`available`: None for a runtime that this host has, else a sentence that says how to get it."""
    known = RUNTIMES.get(runtime)
    if known is None:
        raise unknown_runtime(runtime)
    if known.state == "retired":
        raise no_longer_supported(runtime)
    remedy = available(runtime)
    if remedy is not None:
        raise InvalidParameterValueException(remedy)


def check_tags(tags: Mapping[str, str]) -> None:
    if len(tags) > MOST_TAGS:
        raise InvalidParameterValueException("Number of tags exceeds resource tag limit.")
    if any(key.lower().startswith("aws:") for key in tags):
        raise InvalidParameterValueException("Tag keys that start with aws: are reserved.")


def check_unzipped(function: FunctionVersion) -> None:
    """Code and layers share one limit, whichever of them comes last."""
    of_layers = sum(layer.package.unzipped for layer in function.layers)
    if of_layers > LARGEST_UNZIPPED:
        raise InvalidParameterValueException(f"Layers consume more than the available size of {LARGEST_UNZIPPED} bytes")
    total = of_layers + function.code.unzipped
    if total > LARGEST_UNZIPPED:
        raise InvalidParameterValueException(
            f"Function code combined with layers exceeds the maximum allowed size of {LARGEST_UNZIPPED} bytes. "
            f"The actual size is {total} bytes."
        )


def apply(function: FunctionVersion, wanted: Wanted, layers: tuple[LayerRef, ...] | None = None) -> FunctionVersion:
    """The version as wanted; runtime, code and layers are checked elsewhere, before. Raises what AWS would.

    `layers`: those wanted, found; None: it has those that it has."""
    for member in wanted.other:
        _refuse_what_is_not_here(member)
    if layers is not None:
        function = replace(function, layers=layers)
        check_unzipped(function)
    _check_environment(wanted.environment or {})
    _check_sizes(wanted)
    _check_dead_letter(wanted.dead_letter_arn)
    function = _with_logging(function, wanted.logging)
    other = dict(function.other)
    if (vpc := wanted.other.get("VpcConfig")) is not None:
        other["VpcConfig"] = _vpc(vpc)
    _check_file_systems(wanted.other.get("FileSystemConfigs") or ())
    if wanted.other.get("ImageConfig"):
        raise InvalidParameterValueException("Please don't provide ImageConfig for a function with packageType Zip.")
    function = replace(
        function,
        role=_or(wanted.role, function.role),
        handler=_or(wanted.handler, function.handler),
        runtime=_or(wanted.runtime, function.runtime),
        description=_or(wanted.description, function.description),
        timeout=_or(wanted.timeout, function.timeout),
        memory_size=_or(wanted.memory_size, function.memory_size),
        ephemeral_storage=_or(wanted.ephemeral_storage, function.ephemeral_storage),
        architectures=_or(wanted.architectures, function.architectures),
        environment=_or(wanted.environment, function.environment),
        tracing_mode=_or(wanted.tracing_mode, function.tracing_mode),
        snap_start=_or(wanted.snap_start, function.snap_start),
        kms_key_arn=_or(wanted.kms_key_arn, function.kms_key_arn) or None,
        dead_letter_arn=_or(wanted.dead_letter_arn, function.dead_letter_arn) or None,
        other=other,
    )
    _check_snap_start(function)
    return function


def _or(wanted: T | None, present: T) -> T:
    return present if wanted is None else wanted


def _refuse_what_is_not_here(member: str) -> None:
    if member in NOT_HERE:
        raise InvalidParameterValueException(f"{NOT_HERE[member]} ({member}) are not available in this installation.")


def _check_environment(variables: Mapping[str, str]) -> None:
    reserved = [name for name in variables if name in RESERVED_VARIABLES]
    if reserved:
        raise InvalidParameterValueException(
            "Lambda was unable to configure your environment variables because the environment variables you have "
            "provided contains reserved keys that are currently not supported for modification. "
            f"Reserved keys used in this request: {', '.join(reserved)}"
        )
    text = orjson.dumps(dict(variables))
    if len(text) > LARGEST_ENVIRONMENT:
        raise InvalidParameterValueException(
            "Lambda was unable to configure your environment variables because the environment variables you have "
            f"provided exceeded the 4KB limit. String measured: {text.decode()}"
        )


def _check_sizes(wanted: Wanted) -> None:
    for member, value, largest in (
        ("MemorySize", wanted.memory_size, LARGEST_MEMORY),
        ("Timeout", wanted.timeout, LONGEST_TIMEOUT),
        ("EphemeralStorage", wanted.ephemeral_storage, LARGEST_EPHEMERAL_STORAGE),
    ):
        if value is not None and value > largest:
            raise InvalidParameterValueException(
                f"'{member}' value failed to satisfy constraint: Member must have value less than or equal to {largest}"
            )


def _check_dead_letter(arn: str | None) -> None:
    if not arn:
        return
    target = parse_target(arn)
    if target is None or target.service not in ("sqs", "sns"):
        raise InvalidParameterValueException(
            f"The dead letter target {arn} is invalid: it must be the ARN of an SQS queue or of an SNS topic."
        )


def _with_logging(function: FunctionVersion, wanted: Logging | None) -> FunctionVersion:
    """JSON has levels, INFO unless given; Text has none, and going back to it forgets them."""
    if wanted is None:
        return function
    format = _or(wanted.format, function.log_format)
    group = _or(wanted.group, function.log_group)
    if format == "Text":
        if wanted.application_level or wanted.system_level:
            raise InvalidParameterValueException(
                "ApplicationLogLevel and SystemLogLevel can only be set when LogFormat is JSON."
            )
        application, system = None, None
    else:
        application = wanted.application_level or function.application_log_level or "INFO"
        system = wanted.system_level or function.system_log_level or "INFO"
    return replace(
        function, log_format=format, log_group=group, application_log_level=application, system_log_level=system
    )


def _vpc(wanted: Mapping[str, Any]) -> dict[str, Any]:
    """Only the empty one: no subnet exists here, and so EC2 would answer."""
    for subnet in wanted.get("SubnetIds") or ():
        raise InvalidParameterValueException(
            "Error occurred while DescribeSubnets. EC2 Error Code: InvalidSubnetID.NotFound. "
            f"EC2 Error Message: The subnet ID '{subnet}' does not exist"
        )
    for group in wanted.get("SecurityGroupIds") or ():
        raise InvalidParameterValueException(
            "Error occurred while DescribeSecurityGroups. EC2 Error Code: InvalidGroup.NotFound. "
            f"EC2 Error Message: The security group '{group}' does not exist"
        )
    dual_stack = bool(wanted.get("Ipv6AllowedForDualStack"))
    return {"SubnetIds": [], "SecurityGroupIds": [], "VpcId": "", "Ipv6AllowedForDualStack": dual_stack}


def _check_file_systems(wanted: tuple[Mapping[str, Any], ...]) -> None:
    """All of them are in a VPC, and no function is in one yet."""
    for file_system in wanted:
        raise InvalidParameterValueException(
            f"Function must be configured to execute in a VPC to reference access point {file_system['Arn']}."
        )


def _check_snap_start(function: FunctionVersion) -> None:
    if function.snap_start == "None":
        return
    if not SNAP_START.fullmatch(function.runtime or ""):
        raise InvalidParameterValueException(f"{function.runtime} is not supported for SnapStart enabled functions.")
    if function.ephemeral_storage > 512:
        raise InvalidParameterValueException(
            "SnapStart is not supported for functions with more than 512 MB of ephemeral storage."
        )


def check_capacity_provider(wanted: Mapping[str, Any] | None) -> None:
    """There are none yet."""
    if wanted:
        arn = wanted["LambdaManagedInstancesCapacityProviderConfig"]["CapacityProviderArn"]
        raise ResourceNotFoundException(f"Capacity provider not found: {arn}")
