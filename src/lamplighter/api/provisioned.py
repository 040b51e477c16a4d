"""PutProvisionedConcurrencyConfig and its kin on the wire. The rules are in `control/provisioned.py`."""

from collections.abc import Mapping
from typing import Any

from lamplighter.api.http import Call, Operation
from lamplighter.control.provisioned import Provisioned, ProvisionedConfig
from lamplighter.model.names import FunctionRef, parse_function_name, parse_unqualified

Members = dict[str, Any]


class ProvisionedOperations:
    def __init__(self, provisioned: Provisioned) -> None:
        self._provisioned = provisioned

    def operations(self) -> Mapping[str, Operation]:
        return {
            "DeleteProvisionedConcurrencyConfig": self.delete_provisioned_concurrency_config,
            "GetProvisionedConcurrencyConfig": self.get_provisioned_concurrency_config,
            "ListProvisionedConcurrencyConfigs": self.list_provisioned_concurrency_configs,
            "PutProvisionedConcurrencyConfig": self.put_provisioned_concurrency_config,
        }

    async def put_provisioned_concurrency_config(self, call: Call, members: Members) -> Members:
        wanted = members["ProvisionedConcurrentExecutions"]
        return _config(await self._provisioned.put(_reference(call, members), wanted))

    async def get_provisioned_concurrency_config(self, call: Call, members: Members) -> Members:
        return _config(self._provisioned.get(_reference(call, members)))

    async def delete_provisioned_concurrency_config(self, call: Call, members: Members) -> Members:
        await self._provisioned.delete(_reference(call, members))
        return {}

    async def list_provisioned_concurrency_configs(self, call: Call, members: Members) -> Members:
        page, marker = self._provisioned.page(
            parse_unqualified(members["FunctionName"], call.account, call.region),
            members.get("Marker"),
            members.get("MaxItems"),
        )
        items = [{"FunctionArn": config.of.arn, **_config(config)} for config in page]
        answer: Members = {"ProvisionedConcurrencyConfigs": items}
        if marker is not None:
            answer["NextMarker"] = marker
        return answer


def _reference(call: Call, members: Members) -> FunctionRef:
    return parse_function_name(members["FunctionName"], members["Qualifier"], call.account, call.region)


def _config(config: ProvisionedConfig) -> Members:
    """What is allocated is available, in use or not, as on AWS."""
    members: Members = {
        "RequestedProvisionedConcurrentExecutions": config.requested,
        "AvailableProvisionedConcurrentExecutions": config.allocated,
        "AllocatedProvisionedConcurrentExecutions": config.allocated,
        "Status": config.status,
        "LastModified": config.modified,
    }
    if config.reason is not None:
        members["StatusReason"] = config.reason
    return members
