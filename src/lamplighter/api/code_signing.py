"""CreateCodeSigningConfig and its kin on the wire. The rules are in `control/code_signing.py`."""

from collections.abc import Mapping
from typing import Any

from lamplighter.api.http import Call, Operation
from lamplighter.control.code_signing import CodeSigning, SigningConfig
from lamplighter.control.configuration import check_tags
from lamplighter.model.names import parse_unqualified

Members = dict[str, Any]


class CodeSigningOperations:
    def __init__(self, signing: CodeSigning) -> None:
        self._signing = signing

    def operations(self) -> Mapping[str, Operation]:
        return {
            "CreateCodeSigningConfig": self.create_code_signing_config,
            "DeleteCodeSigningConfig": self.delete_code_signing_config,
            "DeleteFunctionCodeSigningConfig": self.delete_function_code_signing_config,
            "GetCodeSigningConfig": self.get_code_signing_config,
            "GetFunctionCodeSigningConfig": self.get_function_code_signing_config,
            "ListCodeSigningConfigs": self.list_code_signing_configs,
            "ListFunctionsByCodeSigningConfig": self.list_functions_by_code_signing_config,
            "PutFunctionCodeSigningConfig": self.put_function_code_signing_config,
            "UpdateCodeSigningConfig": self.update_code_signing_config,
        }

    async def create_code_signing_config(self, call: Call, members: Members) -> Members:
        tags: dict[str, str] = members.get("Tags") or {}
        check_tags(tags)
        config = await self._signing.create(
            call.account,
            call.region,
            members["AllowedPublishers"]["SigningProfileVersionArns"],
            _policy(members),
            members.get("Description"),
            tags,
        )
        return {"CodeSigningConfig": _configuration(config)}

    async def get_code_signing_config(self, call: Call, members: Members) -> Members:
        config = await self._signing.get(call.account, call.region, members["CodeSigningConfigArn"])
        return {"CodeSigningConfig": _configuration(config)}

    async def update_code_signing_config(self, call: Call, members: Members) -> Members:
        publishers = members.get("AllowedPublishers")
        config = await self._signing.update(
            call.account,
            call.region,
            members["CodeSigningConfigArn"],
            None if publishers is None else publishers["SigningProfileVersionArns"],
            _policy(members),
            members.get("Description"),
        )
        return {"CodeSigningConfig": _configuration(config)}

    async def delete_code_signing_config(self, call: Call, members: Members) -> Members:
        await self._signing.delete(call.account, call.region, members["CodeSigningConfigArn"])
        return {}

    async def list_code_signing_configs(self, call: Call, members: Members) -> Members:
        page, marker = await self._signing.page(
            call.account, call.region, members.get("Marker"), members.get("MaxItems")
        )
        return {"CodeSigningConfigs": [_configuration(config) for config in page], "NextMarker": marker}

    async def list_functions_by_code_signing_config(self, call: Call, members: Members) -> Members:
        page, marker = await self._signing.functions(
            call.account,
            call.region,
            members["CodeSigningConfigArn"],
            members.get("Marker"),
            members.get("MaxItems"),
        )
        return {"FunctionArns": [id.arn for id in page], "NextMarker": marker}

    async def put_function_code_signing_config(self, call: Call, members: Members) -> Members:
        id = parse_unqualified(members["FunctionName"], call.account, call.region)
        await self._signing.attach(id, members["CodeSigningConfigArn"])
        return {"CodeSigningConfigArn": members["CodeSigningConfigArn"], "FunctionName": id.name}

    async def get_function_code_signing_config(self, call: Call, members: Members) -> Members:
        id = parse_unqualified(members["FunctionName"], call.account, call.region)
        return {"CodeSigningConfigArn": await self._signing.attached(id), "FunctionName": id.name}

    async def delete_function_code_signing_config(self, call: Call, members: Members) -> Members:
        await self._signing.detach(parse_unqualified(members["FunctionName"], call.account, call.region))
        return {}


def _policy(members: Members) -> str | None:
    policies: Members = members.get("CodeSigningPolicies") or {}
    return policies.get("UntrustedArtifactOnDeployment")


def _configuration(config: SigningConfig) -> Members:
    """Members that are None do not travel."""
    return {
        "CodeSigningConfigId": config.id,
        "CodeSigningConfigArn": config.arn,
        "Description": config.description,
        "AllowedPublishers": {"SigningProfileVersionArns": config.publishers},
        "CodeSigningPolicies": {"UntrustedArtifactOnDeployment": config.policy},
        "LastModified": config.modified,
    }
