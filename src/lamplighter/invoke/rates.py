"""How often something may happen: a token bucket that is refilled continuously.

All it keeps is one time: when everything taken so far is paid for. So a bucket costs a comparison and an addition, and
its rate may change between two looks.
"""


class Bucket:
    __slots__ = ("_paid_at",)

    def __init__(self) -> None:
        self._paid_at = float("-inf")

    def take(self, now: float, rate: float, burst: float) -> bool:
        """One, if there is one. `rate`: per second; `burst`: the most that a full bucket gives at once, at least 1."""
        paid_at = self._paid_at
        if paid_at <= now:  # full
            if rate > 0:
                self._paid_at = now + 1 / rate
            return rate > 0
        if not self.has(now, rate, burst):
            return False
        self._paid_at = paid_at + 1 / rate
        return True

    def has(self, now: float, rate: float, burst: float) -> bool:
        # A thousandth of one more than there is: sums of fractions are not exact.
        return rate > 0 and (self._paid_at - now) * rate <= burst - 0.999
