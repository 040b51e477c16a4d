"""How many invocations may run at once, and how many do (AWS: spec 4.1, 4.2).

The account's limit per region is one pool, from which functions may reserve a part: what they reserve is theirs alone,
the others share the rest. Every admission is matched by one release.
"""

from collections.abc import Callable, Mapping, Sequence

from lamplighter.model.errors import TooManyRequestsException
from lamplighter.model.functions import FunctionId
from lamplighter.model.usage import Peak

ACCOUNT_LIMIT = 1000


class _Account:
    """One account's concurrency in one region."""

    __slots__ = ("limit", "peak", "reserved", "running", "unreserved", "unreserved_peak", "waiting")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.reserved = 0  # set aside for functions, used or not
        self.running = 0
        self.unreserved = 0  # running outside of reservations
        self.peak = self.unreserved_peak = 0  # of both, since they were last asked for
        self.waiting: dict[Share, Callable[[], None]] = {}  # whom to tell; who was refused first comes first


class Share:
    """One function's part in it: counts its invocations, all versions together."""

    __slots__ = ("_account", "peak", "reserved", "running")

    def __init__(self, account: _Account) -> None:
        self._account = account
        self.running = 0
        self.peak = 0  # since it was last asked for
        self.reserved: int | None = None

    def admit(self) -> None:
        """Count one more, or raise TooManyRequestsException and count none."""
        account = self._account
        if self.reserved is not None:
            if self.running >= self.reserved:
                raise TooManyRequestsException("ReservedFunctionConcurrentInvocationLimitExceeded")
        elif account.unreserved >= account.limit - account.reserved:
            raise TooManyRequestsException("ConcurrentInvocationLimitExceeded")
        else:
            account.unreserved += 1
            if account.unreserved > account.unreserved_peak:
                account.unreserved_peak = account.unreserved
        self.running += 1
        if self.running > self.peak:
            self.peak = self.running
        account.running += 1
        if account.running > account.peak:
            account.peak = account.running

    def release(self) -> None:
        self.running -= 1
        self._account.running -= 1
        if self.reserved is None:
            self._account.unreserved -= 1
        if self._account.waiting:
            self._tell()

    def when_free(self, callback: Callable[[], None]) -> None:
        """Call back, once, when it may be worth trying again: one that counted here is released, or reservations
        have changed. It must only take note: it is called in the midst of things."""
        self._account.waiting[self] = callback

    def _tell(self) -> None:
        """One of those whom this release lets in, if there are any."""
        waiting = self._account.waiting
        if self.reserved is not None:
            freed = self if self in waiting else None
        else:
            freed = next((share for share in waiting if share.reserved is None), None)
        if freed is not None:
            waiting.pop(freed)()

    def reserve(self, concurrency: int | None) -> None:
        """From now on the function may use this many and no more; None: it shares the rest again."""
        account = self._account
        if self.reserved is None and concurrency is not None:  # what runs moves with the function
            account.unreserved -= self.running
        elif self.reserved is not None and concurrency is None:
            account.unreserved += self.running
        account.reserved += (concurrency or 0) - (self.reserved or 0)
        self.reserved = concurrency
        waiting, account.waiting = account.waiting, {}
        for callback in waiting.values():
            callback()


class Limits:
    def __init__(self, account_limit: int = ACCOUNT_LIMIT) -> None:
        self._account_limit = account_limit
        self._accounts: dict[tuple[str, str], _Account] = {}  # by account and region
        self._shares: dict[FunctionId, Share] = {}

    def share(self, function: FunctionId) -> Share:
        share = self._shares.get(function)
        if share is None:
            account = self._accounts.setdefault((function.account, function.region), _Account(self._account_limit))
            share = self._shares[function] = Share(account)
        return share

    @property
    def running(self) -> Mapping[FunctionId, int]:
        """Functions with invocations in flight, and how many."""
        return {function: share.running for function, share in self._shares.items() if share.running}

    def peaks(self) -> Sequence[Peak]:
        """The most that ran at once since the last time this was asked."""
        found: list[Peak] = []
        for function, share in self._shares.items():
            if share.peak:
                found.append(Peak(function.account, function.region, function.name, "ConcurrentExecutions", share.peak))
                share.peak = share.running
        for (account, region), counts in self._accounts.items():
            if counts.peak:
                claimed = counts.unreserved_peak + counts.reserved
                found.append(Peak(account, region, None, "ConcurrentExecutions", counts.peak))
                found.append(Peak(account, region, None, "UnreservedConcurrentExecutions", counts.unreserved_peak))
                found.append(Peak(account, region, None, "ClaimedAccountConcurrency", claimed))
                counts.peak, counts.unreserved_peak = counts.running, counts.unreserved
        return found
