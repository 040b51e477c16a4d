"""PutFunctionRecursionConfig and GetFunctionRecursionConfig on the wire. The rules are in `control/recursion.py`."""

from collections.abc import Mapping
from typing import Any

from lamplighter.api.http import Call, Operation
from lamplighter.control.recursion import Recursion
from lamplighter.model.names import parse_unqualified

Members = dict[str, Any]


class RecursionOperations:
    def __init__(self, recursion: Recursion) -> None:
        self._recursion = recursion

    def operations(self) -> Mapping[str, Operation]:
        return {
            "GetFunctionRecursionConfig": self.get_function_recursion_config,
            "PutFunctionRecursionConfig": self.put_function_recursion_config,
        }

    async def put_function_recursion_config(self, call: Call, members: Members) -> Members:
        id = parse_unqualified(members["FunctionName"], call.account, call.region)
        await self._recursion.put(id, members["RecursiveLoop"])
        return {"RecursiveLoop": members["RecursiveLoop"]}

    async def get_function_recursion_config(self, call: Call, members: Members) -> Members:
        id = parse_unqualified(members["FunctionName"], call.account, call.region)
        return {"RecursiveLoop": self._recursion.get(id)}
