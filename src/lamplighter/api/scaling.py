"""PutFunctionScalingConfig and GetFunctionScalingConfig on the wire. The rules are in `control/scaling.py`."""

from collections.abc import Mapping
from typing import Any

from lamplighter.api.http import Call, Operation
from lamplighter.control.scaling import Scaling, ScalingConfig
from lamplighter.model.names import FunctionRef, parse_function_name

Members = dict[str, Any]


class ScalingOperations:
    def __init__(self, scaling: Scaling) -> None:
        self._scaling = scaling

    def operations(self) -> Mapping[str, Operation]:
        return {
            "GetFunctionScalingConfig": self.get_function_scaling_config,
            "PutFunctionScalingConfig": self.put_function_scaling_config,
        }

    async def put_function_scaling_config(self, call: Call, members: Members) -> Members:
        wanted: Members | None = members.get("FunctionScalingConfig")
        config = None
        if wanted is not None:
            config = ScalingConfig(wanted.get("MinExecutionEnvironments"), wanted.get("MaxExecutionEnvironments"))
        return {"FunctionState": await self._scaling.put(_reference(call, members), config)}

    async def get_function_scaling_config(self, call: Call, members: Members) -> Members:
        reference = _reference(call, members)
        config = self._scaling.get(reference)
        shown = {"MinExecutionEnvironments": config.least, "MaxExecutionEnvironments": config.most}
        return {
            "FunctionArn": reference.arn,
            "AppliedFunctionScalingConfig": shown,
            "RequestedFunctionScalingConfig": shown,
        }


def _reference(call: Call, members: Members) -> FunctionRef:
    return parse_function_name(members["FunctionName"], members["Qualifier"], call.account, call.region)
