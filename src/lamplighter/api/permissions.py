"""AddPermission and its kin, and the resource policies of functions, on the wire."""

from collections.abc import Mapping
from typing import Any

from lamplighter.api.http import Call, Operation
from lamplighter.control import policies
from lamplighter.control.permissions import CONDITIONS, NOT_THERE, Permissions
from lamplighter.model.errors import ResourceNotFoundException
from lamplighter.model.names import FUNCTION_NAME, FunctionRef, parse_function_name
from lamplighter.store.contract import Document

Members = dict[str, Any]


class PermissionOperations:
    def __init__(self, permissions: Permissions) -> None:
        self._permissions = permissions

    def operations(self) -> Mapping[str, Operation]:
        return {
            "AddPermission": self.add_permission,
            "DeleteResourcePolicy": self.delete_resource_policy,
            "GetPolicy": self.get_policy,
            "GetResourcePolicy": self.get_resource_policy,
            "PutResourcePolicy": self.put_resource_policy,
            "RemovePermission": self.remove_permission,
        }

    async def add_permission(self, call: Call, members: Members) -> Members:
        statement = await self._permissions.add(
            _function(call, members),
            members["StatementId"],
            members["Action"],
            members["Principal"],
            {name: members[name] for name in CONDITIONS if members.get(name) is not None},
            members.get("RevisionId"),
        )
        return {"Statement": policies.to_text(statement)}

    async def remove_permission(self, call: Call, members: Members) -> Members:
        await self._permissions.remove(_function(call, members), members["StatementId"], members.get("RevisionId"))
        return {}

    async def get_policy(self, call: Call, members: Members) -> Members:
        return _answer(await self._permissions.get(_function(call, members)))

    async def get_resource_policy(self, call: Call, members: Members) -> Members:
        return _answer(await self._permissions.get(_resource(call, members)))

    async def put_resource_policy(self, call: Call, members: Members) -> Members:
        policy = await self._permissions.put(_resource(call, members), members["Policy"], members.get("RevisionId"))
        return _answer(policy)

    async def delete_resource_policy(self, call: Call, members: Members) -> Members:
        await self._permissions.delete(_resource(call, members), members.get("RevisionId"))
        return {}


def _function(call: Call, members: Members) -> FunctionRef:
    return parse_function_name(members["FunctionName"], members.get("Qualifier"), call.account, call.region)


def _resource(call: Call, members: Members) -> FunctionRef:
    """The service model also lets ARNs of runtimes pass, of which there are none, and odd qualifiers."""
    if not FUNCTION_NAME.fullmatch(members["ResourceArn"]):
        raise ResourceNotFoundException(NOT_THERE)
    return parse_function_name(members["ResourceArn"], None, call.account, call.region)


def _answer(document: Document) -> Members:
    return {"Policy": policies.to_text(document["policy"]), "RevisionId": document["revision"]}
