"""How many invocations may run at once, how many do, and how often they may be asked for (AWS: spec 4.1, 4.2, 4.3).

The account's limit per region is one pool. A function keeps for itself what it reserved, or else what is provisioned
for it; the others share the rest. An invocation in a provisioned environment has its room already; any other one is
admitted against its function's reservation, less what is provisioned of it, or against what nobody keeps. Every
admission is matched by one release.
"""

from collections.abc import Callable, Mapping, Sequence
from weakref import WeakValueDictionary

from lamplighter.invoke.rates import Bucket
from lamplighter.model.errors import TooManyRequestsException
from lamplighter.model.functions import FunctionId
from lamplighter.model.usage import Peak

ACCOUNT_LIMIT = 1000
REQUESTS = 10  # per second, for each one that may run at once
GROWTH = 100.0  # new environments per second of one function: 1,000 in ten seconds
GROWTH_BURST = 1000.0


class _Account:
    """One account's concurrency in one region."""

    __slots__ = ("kept", "limit", "peak", "requests", "running", "shares", "unreserved", "unreserved_peak", "waiting")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.kept = 0  # set aside for functions, used or not
        self.shares: set[Share] = set()  # with something to keep or to tell; others last as long as who uses them
        self.running = 0
        self.unreserved = 0  # running on what nobody keeps
        self.peak = self.unreserved_peak = 0  # of both, since they were last asked for
        self.requests = Bucket()
        self.waiting: dict[Share, Callable[[], None]] = {}  # whom to tell; who was refused first comes first


class Share:
    """One function's part in it: counts its invocations, all versions together."""

    __slots__ = (
        "__weakref__",
        "_account",
        "_growth",
        "_requests",
        "ahead",
        "ahead_peak",
        "peak",
        "provisioned",
        "reserved",
        "running",
    )

    def __init__(self, account: _Account) -> None:
        self._account = account
        self.running = 0
        self.ahead = 0  # of these: in provisioned environments
        self.peak = self.ahead_peak = 0  # of both, since they were last asked for
        self.reserved: int | None = None
        self.provisioned = 0  # for all its versions together
        self._requests = Bucket()
        self._growth = Bucket()

    def admit(self, now: float | None = None) -> None:
        """Count one more, or raise TooManyRequestsException and count none. `now`: on the clock's monotonic time, if
        the rate of requests matters, too; it doesn't for queued events."""
        account = self._account
        reserved = self.reserved
        if reserved is not None:
            if self.running - self.ahead >= reserved - self.provisioned:
                raise TooManyRequestsException("ReservedFunctionConcurrentInvocationLimitExceeded")
        elif account.unreserved >= account.limit - account.kept:
            raise TooManyRequestsException("ConcurrentInvocationLimitExceeded")
        if now is not None:
            self._request(now)
        if reserved is None:
            account.unreserved += 1
            if account.unreserved > account.unreserved_peak:
                account.unreserved_peak = account.unreserved
        self._count()

    def admit_ahead(self, now: float | None = None) -> None:
        """Count one more in a provisioned environment. The rate of requests may refuse it; there is room for it."""
        if now is not None:
            self._request(now)
        self.ahead += 1
        if self.ahead > self.ahead_peak:
            self.ahead_peak = self.ahead
        self._count()

    def _request(self, now: float) -> None:
        if self.reserved is not None:
            rate = REQUESTS * self.reserved
            if not self._requests.take(now, rate, rate):
                raise TooManyRequestsException("ReservedFunctionInvocationRateLimitExceeded", retry_after=1)
        rate = REQUESTS * self._account.limit
        if not self._account.requests.take(now, rate, rate):
            raise TooManyRequestsException("FunctionInvocationRateLimitExceeded", retry_after=1)

    def _count(self) -> None:
        account = self._account
        self.running += 1
        if self.running > self.peak:
            self.peak = self.running
            account.shares.add(self)
        account.running += 1
        if account.running > account.peak:
            account.peak = account.running

    def release(self, ahead: bool = False) -> None:
        account = self._account
        self.running -= 1
        account.running -= 1
        if ahead:
            self.ahead -= 1
        elif self.reserved is None:
            account.unreserved -= 1
        if account.waiting:
            self._tell(ahead)

    def may_grow(self, now: float) -> bool:
        """Whether one more environment may be started for it now."""
        return self._growth.has(now, GROWTH, GROWTH_BURST)

    def grow(self, now: float) -> None:
        self._growth.take(now, GROWTH, GROWTH_BURST)

    def when_free(self, callback: Callable[[], None]) -> None:
        """Call back, once, when it may be worth trying again: one that counted here is released, or reservations
        have changed. It must only take note: it is called in the midst of things."""
        self._account.waiting[self] = callback

    def _tell(self, ahead: bool) -> None:
        """One of those whom this release lets in, if there are any."""
        waiting = self._account.waiting
        if self.reserved is not None or ahead:  # what it gives back is its own
            freed = self if self in waiting else None
        else:
            freed = next((share for share in waiting if share.reserved is None), None)
        if freed is not None:
            waiting.pop(freed)()

    def reserve(self, concurrency: int | None) -> None:
        """From now on the function may use this many and no more; None: it shares the rest again."""
        account = self._account
        kept = self.kept
        if self.reserved is None and concurrency is not None:  # what runs moves with the function
            account.unreserved -= self.running - self.ahead
        elif self.reserved is not None and concurrency is None:
            account.unreserved += self.running - self.ahead
        self.reserved = concurrency
        self._rekeep(kept)

    def provision(self, concurrency: int) -> None:
        """From now on so many are kept ready for the function's versions: out of its reservation if it has one."""
        kept = self.kept
        self.provisioned = concurrency
        self._rekeep(kept)

    @property
    def kept(self) -> int:
        """How many nobody else may use."""
        return self.provisioned if self.reserved is None else self.reserved

    def _rekeep(self, before: int) -> None:
        account = self._account
        account.kept += self.kept - before
        account.shares.add(self)
        _tell_all(account)

    def told(self) -> None:
        """Its peaks have been; from now on others are."""
        self.peak, self.ahead_peak = self.running, self.ahead
        if not self.running and not self.provisioned and self.reserved is None:
            self._account.shares.discard(self)


class Limits:
    def __init__(self, account_limit: int = ACCOUNT_LIMIT) -> None:
        self._account_limit = account_limit
        self._accounts: dict[tuple[str, str], _Account] = {}  # by account and region
        self._shares: WeakValueDictionary[FunctionId, Share] = WeakValueDictionary()

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

    def tell(self) -> None:
        """Whoever waits may try again: what refused them was no count, and is over."""
        for account in self._accounts.values():
            _tell_all(account)

    def peaks(self) -> Sequence[Peak]:
        """The most that ran at once since the last time this was asked."""
        found: list[Peak] = []
        for function, share in tuple(self._shares.items()):
            account, region, name = function.account, function.region, function.name
            if share.peak:
                found.append(Peak(account, region, name, "ConcurrentExecutions", share.peak))
            if share.provisioned:
                used = share.ahead_peak / share.provisioned
                found.append(Peak(account, region, name, "ProvisionedConcurrentExecutions", share.ahead_peak))
                found.append(Peak(account, region, name, "ProvisionedConcurrencyUtilization", used))
            share.told()
        for (account, region), counts in self._accounts.items():
            if counts.peak:
                claimed = counts.unreserved_peak + counts.kept
                found.append(Peak(account, region, None, "ConcurrentExecutions", counts.peak))
                found.append(Peak(account, region, None, "UnreservedConcurrentExecutions", counts.unreserved_peak))
                found.append(Peak(account, region, None, "ClaimedAccountConcurrency", claimed))
                counts.peak, counts.unreserved_peak = counts.running, counts.unreserved
        return found


def _tell_all(account: _Account) -> None:
    waiting, account.waiting = account.waiting, {}
    for callback in waiting.values():
        callback()
