"""How many run at once of what was called by an alias or a version, for metrics alone: no limit is counted here.

An unqualified invocation costs nothing here. One counts from when it has an environment until it is answered.
"""

from collections.abc import Sequence

from lamplighter.model.usage import Peak


class _Count:
    __slots__ = ("peak", "running")

    def __init__(self) -> None:
        self.running = 0
        self.peak = 0  # since it was last asked for


class Resources:
    def __init__(self) -> None:
        self._counts: dict[str, _Count] = {}  # by the ARN as invoked

    def enter(self, arn: str) -> None:
        count = self._counts.get(arn)
        if count is None:
            count = self._counts[arn] = _Count()
        count.running += 1
        if count.running > count.peak:
            count.peak = count.running

    def leave(self, arn: str) -> None:
        self._counts[arn].running -= 1

    def peaks(self) -> Sequence[Peak]:
        """The most since the last time this was asked."""
        found: list[Peak] = []
        for arn, count in tuple(self._counts.items()):
            _, _, _, region, account, _, name, qualifier = arn.split(":")
            if count.peak:
                found.append(Peak(account, region, name, "ConcurrentExecutions", count.peak, qualifier))
            count.peak = count.running
            if not count.running:
                del self._counts[arn]
        return found
