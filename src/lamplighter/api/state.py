"""What the service is doing, for its owner: what `lamplighter top` shows. Signed as every call; functions' own
credentials don't open it."""

from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any, Final

import orjson

from lamplighter.api.http import Caller, Request, Response
from lamplighter.invoke.limits import Limits
from lamplighter.model.clock import Clock
from lamplighter.model.errors import AccessDeniedException
from lamplighter.model.functions import FunctionId
from lamplighter.telemetry.activity import Activity, Counts
from lamplighter.telemetry.own_memory import resident
from lamplighter.worker.worker import Worker

STATE: Final = "/_lamplighter/state"
_HEADERS: Final = (("Content-Type", "application/json"), ("Cache-Control", "no-store"))


class State:
    """`owner`: the access key that may ask; None: whoever passes `verify`. `limit`: of the account's concurrency."""

    def __init__(
        self,
        verify: Callable[[Request], Caller],
        owner: str | None,
        worker: Worker,
        limits: Limits,
        activity: Activity,
        limit: int,
        clock: Clock,
    ) -> None:
        self._verify = verify
        self._owner = owner
        self._worker = worker
        self._limits = limits
        self._activity = activity
        self._limit = limit
        self._clock = clock
        self._began = clock.monotonic()

    async def __call__(self, request: Request) -> Response:
        """Any request whose path starts with STATE."""
        caller = self._verify(request)
        if self._owner is not None and caller.access_key != self._owner:
            raise AccessDeniedException("Only the service's owner may see its state.")
        if request.path != STATE:
            return Response(404, _HEADERS, b"{}")
        if request.method != "GET":
            return Response(405, (*_HEADERS, ("Allow", "GET")), b"{}")
        return Response(200, _HEADERS, orjson.dumps(self._state(), option=orjson.OPT_NON_STR_KEYS))

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
