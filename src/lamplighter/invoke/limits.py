"""How many invocations may run at once, and how many do (AWS: spec 4.1, 4.2).

The account's limit per region is one pool, from which functions may reserve a part: what they reserve is theirs alone,
the others share the rest. Every admission is matched by one release.
"""

from collections.abc import Mapping

from lamplighter.model.errors import TooManyRequestsException
from lamplighter.model.functions import FunctionId

ACCOUNT_LIMIT = 1000


class Limits:
    def __init__(self, account_limit: int = ACCOUNT_LIMIT) -> None:
        self._account_limit = account_limit
        self._reserved: dict[FunctionId, int] = {}
        self._running: dict[FunctionId, int] = {}
        self._unreserved: dict[tuple[str, str], int] = {}  # running outside of reservations, by account and region

    def reserve(self, function: FunctionId, concurrency: int | None) -> None:
        """From now on the function may use this many and no more; None: it shares the rest again."""
        pool = (function.account, function.region)
        running = self._running.get(function, 0)
        if (function in self._reserved) != (concurrency is not None):  # what runs moves with the function
            moved = -running if concurrency is not None else running
            self._unreserved[pool] = self._unreserved.get(pool, 0) + moved
        if concurrency is None:
            self._reserved.pop(function, None)
        else:
            self._reserved[function] = concurrency

    def admit(self, function: FunctionId) -> None:
        """Count one more, or raise TooManyRequestsException and count none."""
        running = self._running.get(function, 0)
        if self._reserved and function in self._reserved:
            if running >= self._reserved[function]:
                raise TooManyRequestsException("ReservedFunctionConcurrentInvocationLimitExceeded")
        else:
            pool = (function.account, function.region)
            unreserved = self._unreserved.get(pool, 0)
            if unreserved >= self._account_limit - self._set_aside(pool):
                raise TooManyRequestsException("ConcurrentInvocationLimitExceeded")
            self._unreserved[pool] = unreserved + 1
        self._running[function] = running + 1

    def release(self, function: FunctionId) -> None:
        left = self._running[function] - 1
        if left:
            self._running[function] = left
        else:
            del self._running[function]
        if not self._reserved or function not in self._reserved:
            self._unreserved[function.account, function.region] -= 1

    @property
    def running(self) -> Mapping[FunctionId, int]:
        """Functions with invocations in flight, and how many."""
        return self._running

    def _set_aside(self, pool: tuple[str, str]) -> int:
        if not self._reserved:
            return 0
        return sum(n for function, n in self._reserved.items() if (function.account, function.region) == pool)
