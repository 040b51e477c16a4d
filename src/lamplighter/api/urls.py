"""CreateFunctionUrlConfig and its kin on the wire. The rules are in `control/urls.py`."""

from collections.abc import Mapping
from typing import Any

from lamplighter.api.http import Call, Operation
from lamplighter.control.urls import UrlConfig, Urls
from lamplighter.model.names import FunctionRef, parse_function_name, parse_unqualified

Members = dict[str, Any]


class UrlOperations:
    def __init__(self, urls: Urls) -> None:
        self._urls = urls

    def operations(self) -> Mapping[str, Operation]:
        return {
            "CreateFunctionUrlConfig": self.create_function_url_config,
            "DeleteFunctionUrlConfig": self.delete_function_url_config,
            "GetFunctionUrlConfig": self.get_function_url_config,
            "ListFunctionUrlConfigs": self.list_function_url_configs,
            "UpdateFunctionUrlConfig": self.update_function_url_config,
        }

    async def create_function_url_config(self, call: Call, members: Members) -> Members:
        """Answers no LastModifiedTime, and InvokeMode only if it was asked for, as recorded."""
        invoke_mode = members.get("InvokeMode")
        config = await self._urls.create(
            _function(call, members), members["AuthType"], invoke_mode, members.get("Cors")
        )
        return _configuration(config) | {"InvokeMode": invoke_mode, "LastModifiedTime": None}

    async def get_function_url_config(self, call: Call, members: Members) -> Members:
        return _configuration(await self._urls.get(_function(call, members)))

    async def update_function_url_config(self, call: Call, members: Members) -> Members:
        config = await self._urls.update(
            _function(call, members), members.get("AuthType"), members.get("InvokeMode"), members.get("Cors")
        )
        return _configuration(config)

    async def delete_function_url_config(self, call: Call, members: Members) -> Members:
        await self._urls.delete(_function(call, members))
        return {}

    async def list_function_url_configs(self, call: Call, members: Members) -> Members:
        page, marker = await self._urls.page(
            parse_unqualified(members["FunctionName"], call.account, call.region),
            members.get("Marker"),
            members.get("MaxItems"),
        )
        return {"FunctionUrlConfigs": [_configuration(config) for config in page], "NextMarker": marker}


def _function(call: Call, members: Members) -> FunctionRef:
    return parse_function_name(members["FunctionName"], members.get("Qualifier"), call.account, call.region)


def _configuration(config: UrlConfig) -> Members:
    return {
        "FunctionUrl": config.url,
        "FunctionArn": config.function.arn,
        "AuthType": config.auth_type,
        "Cors": config.cors,
        "CreationTime": config.created,
        "LastModifiedTime": config.modified,
        "InvokeMode": config.invoke_mode,
    }
