"""PutRuntimeManagementConfig and GetRuntimeManagementConfig on the wire. The rules are in
`control/runtime_management.py`."""

from collections.abc import Mapping
from typing import Any

from lamplighter.api.http import Call, Operation
from lamplighter.control.runtime_management import RuntimeManagement, RuntimeManagementConfig
from lamplighter.model.names import FunctionRef, parse_function_name

Members = dict[str, Any]


class RuntimeManagementOperations:
    def __init__(self, runtime_management: RuntimeManagement) -> None:
        self._runtime_management = runtime_management

    def operations(self) -> Mapping[str, Operation]:
        return {
            "GetRuntimeManagementConfig": self.get_runtime_management_config,
            "PutRuntimeManagementConfig": self.put_runtime_management_config,
        }

    async def put_runtime_management_config(self, call: Call, members: Members) -> Members:
        reference = _reference(call, members)
        config = RuntimeManagementConfig(members["UpdateRuntimeOn"], members.get("RuntimeVersionArn"))
        await self._runtime_management.put(reference, config)
        return _config(reference, config)

    async def get_runtime_management_config(self, call: Call, members: Members) -> Members:
        reference = _reference(call, members)
        return _config(reference, self._runtime_management.get(reference))


def _reference(call: Call, members: Members) -> FunctionRef:
    return parse_function_name(members["FunctionName"], members.get("Qualifier"), call.account, call.region)


def _config(reference: FunctionRef, config: RuntimeManagementConfig) -> Members:
    members: Members = {"UpdateRuntimeOn": config.mode, "FunctionArn": reference.arn}
    if config.runtime_version is not None:
        members["RuntimeVersionArn"] = config.runtime_version
    return members
