"""CreateFunction, GetFunction and their kin on the wire: member names to values, and values to member names.

No rules here: `control/functions.py` has them. What a version looks like differs by operation only in what is left out
(AWS: spec 1.4, 1.8, 1.9).
"""

import base64
from collections.abc import Mapping
from typing import Any, Final

from lamplighter.api.downloads import Downloads
from lamplighter.api.http import Call, Operation
from lamplighter.control.configuration import Logging, Wanted
from lamplighter.control.functions import Functions
from lamplighter.control.sources import Source
from lamplighter.model.functions import LATEST, FunctionVersion
from lamplighter.model.names import parse_function_name, parse_unqualified

# Members that control takes and gives in AWS's own shape.
PASSED_ON: Final = (
    "VpcConfig",
    "FileSystemConfigs",
    "ImageConfig",
    "TenancyConfig",
    "CapacityProviderConfig",
    "DurableConfig",
    "RuntimeConfig",
    "AcceleratorConfig",
)

# What a list of functions does not tell.
NOT_IN_LISTS: Final = (
    "State",
    "StateReason",
    "StateReasonCode",
    "LastUpdateStatus",
    "LastUpdateStatusReason",
    "LastUpdateStatusReasonCode",
    "RuntimeVersionConfig",
)

Members = dict[str, Any]


class FunctionOperations:
    def __init__(self, functions: Functions, downloads: Downloads) -> None:
        self._functions = functions
        self._downloads = downloads

    def operations(self) -> Mapping[str, Operation]:
        return {
            "CreateFunction": self.create_function,
            "DeleteFunction": self.delete_function,
            "GetFunction": self.get_function,
            "GetFunctionConfiguration": self.get_function_configuration,
            "ListFunctions": self.list_functions,
            "UpdateFunctionCode": self.update_function_code,
            "UpdateFunctionConfiguration": self.update_function_configuration,
        }

    async def create_function(self, call: Call, members: Members) -> Members:
        function = await self._functions.create(
            parse_function_name(members["FunctionName"], None, call.account, call.region).id,
            source(members["Code"]),
            wanted(members),
            members.get("PackageType") or "Zip",
            members.get("Tags"),
            bool(members.get("Publish")),
            members.get("PublishTo"),
            members.get("CodeSigningConfigArn"),
        )
        return configuration(function)

    async def get_function(self, call: Call, members: Members) -> Members:
        reference = parse_function_name(members["FunctionName"], members.get("Qualifier"), call.account, call.region)
        function = await self._functions.find(reference)
        location = self._downloads.url(call.endpoint, function.code.digest)
        answer: Members = {
            "Configuration": configuration(function, reference.qualifier),
            "Code": {"RepositoryType": "S3", "Location": location},
        }
        if function.source_kms_key_arn is not None:
            answer["Code"]["SourceKMSKeyArn"] = function.source_kms_key_arn
        if reference.qualifier is None and (tags := await self._functions.tags(function.id)):
            answer["Tags"] = dict(tags)
        if (reserved := self._functions.reserved_concurrency(function.id)) is not None:
            answer["Concurrency"] = {"ReservedConcurrentExecutions": reserved}
        return answer

    async def get_function_configuration(self, call: Call, members: Members) -> Members:
        reference = parse_function_name(members["FunctionName"], members.get("Qualifier"), call.account, call.region)
        return configuration(await self._functions.find(reference), reference.qualifier)

    async def list_functions(self, call: Call, members: Members) -> Members:
        versions = members.get("FunctionVersion") == "ALL"
        page, marker = await self._functions.page(
            call.account, call.region, members.get("Marker"), members.get("MaxItems"), versions
        )
        items = [listed(function, function.version if versions else None) for function in page]
        answer: Members = {"Functions": items}
        if marker is not None:
            answer["NextMarker"] = marker
        return answer

    async def update_function_code(self, call: Call, members: Members) -> Members:
        architectures = members.get("Architectures")
        function = await self._functions.update_code(
            parse_unqualified(members["FunctionName"], call.account, call.region),
            source(members),
            None if architectures is None else tuple(architectures),
            bool(members.get("Publish")),
            members.get("PublishTo"),
            bool(members.get("DryRun")),
            members.get("RevisionId"),
        )
        # Qualified if it was published, other than what CreateFunction answers.
        return configuration(function, None if function.version == LATEST else function.version)

    async def update_function_configuration(self, call: Call, members: Members) -> Members:
        id = parse_unqualified(members["FunctionName"], call.account, call.region)
        function = await self._functions.update_configuration(id, wanted(members), members.get("RevisionId"))
        return configuration(function)

    async def delete_function(self, call: Call, members: Members) -> Members:
        await self._functions.delete(
            parse_function_name(members["FunctionName"], members.get("Qualifier"), call.account, call.region)
        )
        return {"StatusCode": 204}


def source(members: Mapping[str, Any]) -> Source:
    return Source(
        zip_file=members.get("ZipFile"),
        s3_bucket=members.get("S3Bucket"),
        s3_key=members.get("S3Key"),
        s3_object_version=members.get("S3ObjectVersion"),
        s3_storage_mode=members.get("S3ObjectStorageMode"),
        image_uri=members.get("ImageUri"),
        kms_key_arn=members.get("SourceKMSKeyArn"),
    )


def wanted(members: Mapping[str, Any]) -> Wanted:
    layers, architectures = members.get("Layers"), members.get("Architectures")
    environment = members.get("Environment")
    return Wanted(
        role=members.get("Role"),
        handler=members.get("Handler"),
        runtime=members.get("Runtime"),
        description=members.get("Description"),
        timeout=members.get("Timeout"),
        memory_size=members.get("MemorySize"),
        ephemeral_storage=_inner(members, "EphemeralStorage", "Size"),
        architectures=None if architectures is None else tuple(architectures),
        environment=None if environment is None else environment.get("Variables") or {},
        layers=None if layers is None else tuple(layers),
        tracing_mode=_inner(members, "TracingConfig", "Mode"),
        logging=_logging(members.get("LoggingConfig")),
        snap_start=_inner(members, "SnapStart", "ApplyOn"),
        kms_key_arn=members.get("KMSKeyArn"),
        dead_letter_arn=_inner(members, "DeadLetterConfig", "TargetArn"),
        other={name: members[name] for name in PASSED_ON if members.get(name) is not None},
    )


def _inner(members: Mapping[str, Any], outer: str, inner: str) -> Any:
    structure: Mapping[str, Any] = members.get(outer) or {}
    return structure.get(inner)


def _logging(members: Mapping[str, Any] | None) -> Logging | None:
    if members is None:
        return None
    return Logging(
        format=members.get("LogFormat"),
        group=members.get("LogGroup"),
        application_level=members.get("ApplicationLogLevel"),
        system_level=members.get("SystemLogLevel"),
    )


def configuration(function: FunctionVersion, qualifier: str | None = None) -> Members:
    """A FunctionConfiguration; its ARN is qualified when the request was."""
    id = function.id
    members: Members = {
        "FunctionName": id.name,
        "FunctionArn": id.arn if qualifier is None else f"{id.arn}:{qualifier}",
        "Runtime": function.runtime,
        "Role": function.role,
        "Handler": function.handler,
        "CodeSize": function.code.size,
        "Description": function.description,
        "Timeout": function.timeout,
        "MemorySize": function.memory_size,
        "LastModified": function.last_modified,
        "CodeSha256": base64.b64encode(bytes.fromhex(function.code.digest)).decode(),
        "Version": function.version,
        "Environment": None if function.environment is None else {"Variables": dict(function.environment)},
        "DeadLetterConfig": None if function.dead_letter_arn is None else {"TargetArn": function.dead_letter_arn},
        "KMSKeyArn": function.kms_key_arn,
        "TracingConfig": {"Mode": function.tracing_mode},
        "RevisionId": function.revision,
        "Layers": [{"Arn": layer.arn, "CodeSize": layer.package.size} for layer in function.layers] or None,
        "State": function.state,
        "StateReason": function.state_reason,
        "StateReasonCode": function.state_reason_code,
        "LastUpdateStatus": function.last_update_status,
        "LastUpdateStatusReason": function.last_update_reason,
        "LastUpdateStatusReasonCode": function.last_update_reason_code,
        "PackageType": function.package_type,
        "Architectures": list(function.architectures),
        "EphemeralStorage": {"Size": function.ephemeral_storage},
        "SnapStart": {"ApplyOn": function.snap_start, "OptimizationStatus": _optimized(function)},
        "RuntimeVersionConfig": (
            None if function.runtime_version_arn is None else {"RuntimeVersionArn": function.runtime_version_arn}
        ),
        "LoggingConfig": _present(
            {
                "LogFormat": function.log_format,
                "ApplicationLogLevel": function.application_log_level,
                "SystemLogLevel": function.system_log_level,
                "LogGroup": function.log_group,
            }
        ),
        **function.other,
    }
    return _present(members)


def listed(function: FunctionVersion, qualifier: str | None = None) -> Members:
    """A FunctionConfiguration as lists show it."""
    members = configuration(function, qualifier)
    return {name: value for name, value in members.items() if name not in NOT_IN_LISTS}


def _optimized(function: FunctionVersion) -> str:
    """On for what was published with SnapStart and starts from a snapshot (AWS: spec 8)."""
    return "On" if function.snap_start_on else "Off"


def _present(members: Members) -> Members:
    return {name: value for name, value in members.items() if value is not None}
