"""What the service is doing, for its owner: what `lamplighter top` shows."""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

import orjson

from lamplighter.invoke.limits import Limits
from lamplighter.model.clock import Clock
from lamplighter.model.functions import FunctionId
from lamplighter.store.contract import QueueCounts
from lamplighter.telemetry.activity import Activity, Counts
from lamplighter.telemetry.own_memory import resident
from lamplighter.worker.worker import Worker

STATE: Final = "/_lamplighter/state"
_QUEUE: Final = "invoke:"


class State:
    """`limit`: of the account's concurrency. `queues`: what waits; may take its time, and is asked in a thread."""

    def __init__(
        self,
        worker: Worker,
        limits: Limits,
        activity: Activity,
        limit: int,
        queues: Callable[[], Sequence[QueueCounts]],
        clock: Clock,
    ) -> None:
        self._worker = worker
        self._limits = limits
        self._activity = activity
        self._limit = limit
        self._queues = queues
        self._clock = clock
        self._began = clock.monotonic()

    async def __call__(self, _: str) -> bytes:
        """An owner's page."""
        waiting = await asyncio.to_thread(self._waiting)
        return orjson.dumps(self._state() | {"waiting": waiting}, option=orjson.OPT_NON_STR_KEYS)

    def _waiting(self) -> Mapping[str, int]:
        """Events by function ARN that wait or are tried again."""
        return {
            each.queue.removeprefix(_QUEUE): each.waiting + each.retrying
            for each in self._queues()
            if each.queue.startswith(_QUEUE) and each.waiting + each.retrying
        }

    def _state(self) -> dict[str, Any]:
        """Times in seconds, sizes in bytes, counts since the service's start."""
        running, counts = self._limits.running, self._activity.functions
        environments: dict[FunctionId, Counter[str]] = {}
        none = Counter[str]()
        for environment in self._worker.environments:
            environments.setdefault(environment.function.id, Counter())[environment.stage] += 1
        shown: Iterable[FunctionId] = {**dict.fromkeys(counts), **environments, **running}
        return {
            "at": self._clock.monotonic(),
            "uptime_seconds": round(self._clock.monotonic() - self._began, 3),
            "memory_bytes": resident(),
            "concurrency": {"limit": self._limit, "running": sum(running.values())},
            "functions": [
                {
                    "account": id.account,
                    "region": id.region,
                    "name": id.name,
                    "running": running.get(id, 0),
                    "environments": environments.get(id, none),
                    **_counted(counts.get(id) or Counts()),
                }
                for id in sorted(shown, key=lambda id: id.name)
            ],
        }


def _counted(counts: Counts) -> dict[str, Any]:
    return {
        "invocations": counts.invocations,
        "errors": counts.errors,
        "throttles": counts.throttles,
        "cold_starts": counts.cold,
        "durations": counts.durations(),
        "memory_peak_bytes": counts.memory_peak,
        "memory_size_mb": counts.memory_size,
    }
