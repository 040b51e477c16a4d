"""GetAccountSettings on the wire. What it tells is found in `control/account.py`."""

from collections.abc import Mapping
from typing import Any

from lamplighter.api.http import Call, Operation
from lamplighter.control.account import Account

Members = dict[str, Any]


class AccountOperations:
    def __init__(self, account: Account) -> None:
        self._account = account

    def operations(self) -> Mapping[str, Operation]:
        return {"GetAccountSettings": self.get_account_settings}

    async def get_account_settings(self, call: Call, members: Members) -> Members:
        settings = await self._account.settings(call.account, call.region)
        return {
            "AccountLimit": {
                "TotalCodeSize": settings.largest_code,
                "CodeSizeUnzipped": settings.largest_unzipped,
                "CodeSizeZipped": settings.largest_zip,
                "ConcurrentExecutions": settings.concurrency,
                "UnreservedConcurrentExecutions": settings.unreserved_concurrency,
            },
            "AccountUsage": {"TotalCodeSize": settings.code, "FunctionCount": settings.functions},
        }
