"""The Telemetry API, and the older Logs API, of one environment (AWS: spec 3.5): who has subscribed to what.

Exists from an environment's first subscription on; before it, nobody makes an event. An environment can be subscribed
to while it initialises, by either API but not both.
"""

import asyncio
import contextlib
from collections.abc import Iterator

import orjson

from lamplighter.model.clock import Clock
from lamplighter.worker import platform_events
from lamplighter.worker.platform_events import Record
from lamplighter.worker.telemetry_delivery import Connect, Delivery
from lamplighter.worker.telemetry_subscription import Api, Invalid, Subscription, subscription

_NAMES = {"telemetry": "Telemetry", "logs": "Logs"}
# What the Logs API knows of platform events, and the members of their records that it knows.
_OF_LOGS_API = {
    "platform.start": ("requestId", "version"),
    "platform.runtimeDone": ("requestId", "status"),
    "platform.report": ("requestId", "metrics", "tracing"),
    "platform.extension": ("name", "state", "events", "errorType"),
    "platform.logsSubscription": ("name", "state", "types"),
    "platform.logsDropped": ("reason", "droppedRecords", "droppedBytes"),
}


class Refused(Exception):
    """A subscription that is not taken: HTTP status, error type, text."""

    def __init__(self, status: int, error_type: str, message: str) -> None:
        super().__init__(message)
        self.status, self.error_type, self.message = status, error_type, message


class TelemetryApi:
    """Implements `platform_log.Subscribers`. `close` it in the environment's end; until then it owns its tasks."""

    def __init__(self, connect: Connect, clock: Clock, json: bool) -> None:
        """`json`: the function logs in JSON, so records that are objects are shown as such."""
        self._connect = connect
        self._clock = clock
        self._json = json
        self._deliveries: dict[str, tuple[Delivery, asyncio.Task[None]]] = {}
        self.api: Api | None = None
        self.open = True  # False: initialisation is over

    def subscribe(self, extension: str, api: Api, body: bytes) -> Subscription:
        """Raises Refused. A second subscription of an extension takes the place of its first."""
        name = _NAMES[api]
        if not self.open:
            raise Refused(403, f"{name}.SubscriptionClosed", f"{name} API subscription is closed already")
        if self.api not in (None, api):
            raise Refused(403, f"{name}.NotSupported", "The other of Telemetry API and Logs API is in use here")
        try:
            asked = subscription(api, body)
        except Invalid as error:
            raise Refused(400, "ValidationError", str(error)) from None
        self.api = api
        earlier = self._deliveries.pop(extension, None)
        if earlier is not None:
            earlier[1].cancel()
        delivery = Delivery(asked, self._connect, self._clock)
        self._deliveries[extension] = delivery, asyncio.get_running_loop().create_task(delivery.run())
        return asked

    def wants(self, kind: str) -> bool:
        """Whether anybody has subscribed to platform, function or extension."""
        return any(kind in delivery.subscription.types for delivery, _ in self._deliveries.values())

    def platform(self, now: float, kind: str, record: Record) -> None:
        if self.api == "logs":
            for known, members in _for_logs_api(kind, record):
                self._give("platform", platform_events.line(now, known, members))
        else:
            self._give("platform", platform_events.line(now, kind, record))

    def tap(self, kind: str) -> "Tap":
        """Takes what the function or an extension writes: `kind`."""
        return Tap(self, kind)

    @property
    def told(self) -> bool:
        """Every subscriber has what there is, or it was dropped."""
        return all(delivery.told for delivery, _ in self._deliveries.values())

    async def finish(self, seconds: float) -> None:
        """Send what waits, for so long at most."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await asyncio.gather(*(delivery.finish() for delivery, _ in self._deliveries.values()))

    async def close(self) -> None:
        """What still waits is lost with the environment."""
        self.open = False
        tasks = [task for _, task in self._deliveries.values()]
        self._deliveries.clear()
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    def _give(self, kind: str, event: bytes) -> None:
        for delivery in self._to(kind):
            delivery.add(event)

    def _to(self, kind: str) -> "Iterator[Delivery]":
        return (delivery for delivery, _ in self._deliveries.values() if kind in delivery.subscription.types)

    def record(self, now: float, kind: str, text: bytes) -> None:
        """Whatever lines it has, it is one."""
        head = _head(now, kind)
        self._give(kind, head + self._shown(text.removesuffix(b"\n")) + b"}")

    def lines(self, now: float, kind: str, lines: bytes) -> None:
        """Of a flood, only what a subscriber could keep is made into events at all: it would be thrown away again, and
        meanwhile everybody else waits."""
        each = lines.removesuffix(b"\n").split(b"\n")
        most = max((delivery.most for delivery in self._to(kind)), default=0)
        lost = len(each) - most
        if lost > 0:
            size = sum(map(len, each[:lost]))
            for delivery in self._to(kind):
                delivery.lose(lost, size)
            del each[:lost]
        head = _head(now, kind)
        events = [head + self._shown(line) + b"}" for line in each]
        for delivery in self._to(kind):
            delivery.add(*events)

    def _shown(self, line: bytes) -> bytes:
        """A record as JSON."""
        if self._json and line.startswith(b"{"):
            with contextlib.suppress(orjson.JSONDecodeError):
                return orjson.dumps(orjson.loads(line))
        return orjson.dumps(line.decode(errors="replace"))


def _head(now: float, kind: str) -> bytes:
    return b'{"time":"%b","type":"%b","record":' % (platform_events.timestamp(now).encode(), kind.encode())


class Tap:
    """Implements `logs.Tap`."""

    def __init__(self, api: TelemetryApi, kind: str) -> None:
        self._api = api
        self._kind = kind

    def lines(self, now: float, data: bytes) -> None:
        self._api.lines(now, self._kind, data)

    def record(self, now: float, text: bytes) -> None:
        self._api.record(now, self._kind, text)


def _for_logs_api(kind: str, record: Record) -> Iterator[tuple[str, Record]]:
    known = _OF_LOGS_API.get(kind)
    if known is None:
        return
    if kind == "platform.report":
        yield "platform.end", {"requestId": record["requestId"]}
    yield kind, {name: record[name] for name in known if name in record}
