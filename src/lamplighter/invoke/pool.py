"""What there is for one version in one generation: invocations that are admitted, environments idle and on their way.

State only; `assignment` acts on what is started for invocations, `ahead` on what is started ahead of them.
"""

import asyncio
from collections import deque

from lamplighter.invoke.ahead import Ahead
from lamplighter.invoke.limits import Share
from lamplighter.model.functions import FunctionId, FunctionVersion
from lamplighter.worker.contract import Environment

Key = tuple[FunctionId, str, int]  # function, version, generation


class Pool:
    __slots__ = (
        "admitted",
        "ahead",
        "finishing",
        "function",
        "idle",
        "key",
        "retired",
        "share",
        "start_took",
        "starting",
        "waiting",
    )

    def __init__(self, key: Key, function: FunctionVersion, share: Share) -> None:
        self.key = key
        self.function = function
        self.share = share
        self.admitted = 0  # invocations not yet released
        self.finishing = 0  # of these: answered, but their phase is not over
        self.waiting: deque[asyncio.Future[Environment]] = deque()  # of these: without an environment; oldest first
        self.starting = 0  # environments on their way
        self.start_took = 0.0  # seconds, the last of them
        self.idle: list[tuple[Environment, float]] = []  # with the time since when; the most recently used last
        self.ahead: Ahead | None = None  # what is provisioned, if anything is
        self.retired = False  # no longer current: nothing is kept

    @property
    def unused(self) -> bool:
        ahead = self.ahead is None or self.ahead.unused
        return ahead and not (self.admitted or self.idle or self.starting)
