"""PutFunctionEventInvokeConfig and its kin on the wire. The rules are in `control/event_invoke.py`."""

from collections.abc import Mapping
from typing import Any

from lamplighter.api.http import Call, Operation
from lamplighter.control.event_invoke import SIDES, EventInvokeConfig, EventInvokeConfigs, Side, Wanted
from lamplighter.model.names import FunctionRef, parse_function_name, parse_unqualified

Members = dict[str, Any]


class EventInvokeOperations:
    def __init__(self, configs: EventInvokeConfigs) -> None:
        self._configs = configs

    def operations(self) -> Mapping[str, Operation]:
        return {
            "DeleteFunctionEventInvokeConfig": self.delete_function_event_invoke_config,
            "GetFunctionEventInvokeConfig": self.get_function_event_invoke_config,
            "ListFunctionEventInvokeConfigs": self.list_function_event_invoke_configs,
            "PutFunctionEventInvokeConfig": self.put_function_event_invoke_config,
            "UpdateFunctionEventInvokeConfig": self.update_function_event_invoke_config,
        }

    async def put_function_event_invoke_config(self, call: Call, members: Members) -> Members:
        return _configuration(await self._configs.put(_function(call, members), _wanted(members)))

    async def update_function_event_invoke_config(self, call: Call, members: Members) -> Members:
        return _configuration(await self._configs.update(_function(call, members), _wanted(members)))

    async def get_function_event_invoke_config(self, call: Call, members: Members) -> Members:
        return _configuration(await self._configs.get(_function(call, members)))

    async def delete_function_event_invoke_config(self, call: Call, members: Members) -> Members:
        await self._configs.delete(_function(call, members))
        return {}

    async def list_function_event_invoke_configs(self, call: Call, members: Members) -> Members:
        page, marker = await self._configs.page(
            parse_unqualified(members["FunctionName"], call.account, call.region),
            members.get("Marker"),
            members.get("MaxItems"),
        )
        return {"FunctionEventInvokeConfigs": [_configuration(config) for config in page], "NextMarker": marker}


def _function(call: Call, members: Members) -> FunctionRef:
    return parse_function_name(members["FunctionName"], members.get("Qualifier"), call.account, call.region)


def _wanted(members: Members) -> Wanted:
    given: Members | None = members.get("DestinationConfig")
    destinations: dict[Side, str | None] | None = None
    if given is not None:
        destinations = {side: given[side].get("Destination") for side in SIDES if given.get(side) is not None}
    return Wanted(members.get("MaximumRetryAttempts"), members.get("MaximumEventAgeInSeconds"), destinations)


def _configuration(config: EventInvokeConfig) -> Members:
    destinations = config.destinations
    return {
        "LastModified": config.modified,
        "FunctionArn": config.function.arn,
        "MaximumRetryAttempts": config.retries,
        "MaximumEventAgeInSeconds": config.age,
        "DestinationConfig": {
            side: {"Destination": destinations[side]} if side in destinations else {} for side in SIDES
        },
    }
