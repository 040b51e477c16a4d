"""PutFunctionConcurrency and its kin on the wire. The rules are in `control/concurrency.py`."""

from collections.abc import Mapping
from typing import Any

from lamplighter.api.http import Call, Operation
from lamplighter.control.concurrency import Concurrency
from lamplighter.model.names import parse_unqualified

Members = dict[str, Any]


class ConcurrencyOperations:
    def __init__(self, concurrency: Concurrency) -> None:
        self._concurrency = concurrency

    def operations(self) -> Mapping[str, Operation]:
        return {
            "DeleteFunctionConcurrency": self.delete_function_concurrency,
            "GetFunctionConcurrency": self.get_function_concurrency,
            "PutFunctionConcurrency": self.put_function_concurrency,
        }

    async def put_function_concurrency(self, call: Call, members: Members) -> Members:
        wanted = members["ReservedConcurrentExecutions"]
        await self._concurrency.reserve(parse_unqualified(members["FunctionName"], call.account, call.region), wanted)
        return {"ReservedConcurrentExecutions": wanted}

    async def get_function_concurrency(self, call: Call, members: Members) -> Members:
        reserved = self._concurrency.reserved(parse_unqualified(members["FunctionName"], call.account, call.region))
        return {} if reserved is None else {"ReservedConcurrentExecutions": reserved}

    async def delete_function_concurrency(self, call: Call, members: Members) -> Members:
        await self._concurrency.release(parse_unqualified(members["FunctionName"], call.account, call.region))
        return {}
