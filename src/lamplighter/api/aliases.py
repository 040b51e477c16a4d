"""CreateAlias, GetAlias and their kin on the wire. The rules are in `control/aliases.py`."""

from collections.abc import Mapping
from typing import Any

from lamplighter.api.http import Call, Operation
from lamplighter.control.aliases import Aliases
from lamplighter.model.aliases import Alias
from lamplighter.model.names import parse_unqualified

Members = dict[str, Any]


class AliasOperations:
    def __init__(self, aliases: Aliases) -> None:
        self._aliases = aliases

    def operations(self) -> Mapping[str, Operation]:
        return {
            "CreateAlias": self.create_alias,
            "DeleteAlias": self.delete_alias,
            "GetAlias": self.get_alias,
            "ListAliases": self.list_aliases,
            "UpdateAlias": self.update_alias,
        }

    async def create_alias(self, call: Call, members: Members) -> Members:
        alias = await self._aliases.create(
            parse_unqualified(members["FunctionName"], call.account, call.region),
            members["Name"],
            members["FunctionVersion"],
            members.get("Description") or "",
            _weights(members) or {},
        )
        return _configuration(alias)

    async def get_alias(self, call: Call, members: Members) -> Members:
        id = parse_unqualified(members["FunctionName"], call.account, call.region)
        return _configuration(await self._aliases.get(id, members["Name"]))

    async def update_alias(self, call: Call, members: Members) -> Members:
        alias = await self._aliases.update(
            parse_unqualified(members["FunctionName"], call.account, call.region),
            members["Name"],
            members.get("FunctionVersion"),
            members.get("Description"),
            _weights(members),
            members.get("RevisionId"),
        )
        return _configuration(alias)

    async def delete_alias(self, call: Call, members: Members) -> Members:
        id = parse_unqualified(members["FunctionName"], call.account, call.region)
        await self._aliases.delete(id, members["Name"])
        return {}

    async def list_aliases(self, call: Call, members: Members) -> Members:
        page, marker = await self._aliases.page(
            parse_unqualified(members["FunctionName"], call.account, call.region),
            members.get("FunctionVersion"),
            members.get("Marker"),
            members.get("MaxItems"),
        )
        answer: Members = {"Aliases": [_configuration(alias) for alias in page]}
        if marker is not None:
            answer["NextMarker"] = marker
        return answer


def _weights(members: Members) -> dict[str, float] | None:
    """None if the request does not say; a RoutingConfig without weights clears them."""
    routing: Members | None = members.get("RoutingConfig")
    if routing is None:
        return None
    weights: Mapping[str, float] = routing.get("AdditionalVersionWeights") or {}
    return {version: float(weight) for version, weight in weights.items()}


def _configuration(alias: Alias) -> Members:
    members: Members = {
        "AliasArn": alias.arn,
        "Name": alias.name,
        "FunctionVersion": alias.version,
        "Description": alias.description,
        "RevisionId": alias.revision,
    }
    if alias.weights:
        members["RoutingConfig"] = {"AdditionalVersionWeights": dict(alias.weights)}
    return members
