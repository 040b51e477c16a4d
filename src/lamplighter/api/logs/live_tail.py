"""StartLiveTail: what is written to some log groups, sent to the caller every second, for as long as both want."""

import asyncio
from collections.abc import Mapping
from typing import Any, Final

import orjson

from lamplighter.api import event_stream
from lamplighter.api.http import Call, Streamed, StreamingOperation
from lamplighter.api.logs.events import chosen
from lamplighter.api.logs.names import identified
from lamplighter.model.clock import Clock
from lamplighter.telemetry.logs.archive import Archive
from lamplighter.telemetry.logs.errors import InvalidParameterException, LimitExceededException
from lamplighter.telemetry.logs.pattern import parse_pattern
from lamplighter.telemetry.logs.watching import LiveTail

SESSIONS: Final = 15  # at once (AWS's quota)
LONGEST: Final = 3 * 3600.0  # seconds
PERIOD: Final = 1.0
_JSON: Final = "application/json"
_TIMED_OUT: Final = event_stream.encode_headers(
    {":exception-type": "SessionTimeoutException", ":content-type": _JSON, ":message-type": "exception"}
)


def _event(kind: str, members: dict[str, Any]) -> bytes:
    return event_stream.message(event_stream.event_headers(kind, _JSON), orjson.dumps(members))


class LiveTailOperation:
    def __init__(self, archive: Archive, clock: Clock) -> None:
        self._archive = archive
        self._clock = clock
        self._sessions: set[Session] = set()

    def operations(self) -> Mapping[str, StreamingOperation]:
        return {"StartLiveTail": self.start}

    def close(self) -> None:
        """End every session: the service stops."""
        for session in tuple(self._sessions):
            session.end()

    async def start(self, call: Call, members: dict[str, Any]) -> Streamed:
        ids = [identified(call, each) for each in members["logGroupIdentifiers"]]
        groups = [await self._archive.look(id, lambda group: group.about.arn) for id in ids]
        names, prefixes = members.get("logStreamNames"), members.get("logStreamNamePrefixes")
        if (names or prefixes) and len(groups) > 1:
            raise InvalidParameterException("Streams can be chosen of a single log group only.")
        if names and prefixes:
            raise InvalidParameterException("logStreamNames and logStreamNamePrefixes can't both be given.")
        wanted = chosen(names, None if not prefixes else tuple(prefixes))
        pattern = parse_pattern(members.get("logEventFilterPattern", ""))
        if len(self._sessions) >= SESSIONS:
            raise LimitExceededException(f"There are {SESSIONS} live tail sessions already.")
        given = {name: value for name, value in members.items() if value is not None}
        begun = {**given, "requestId": call.request_id, "sessionId": call.request_id, "logGroupIdentifiers": groups}
        tail = LiveTail(self._archive, groups, wanted, pattern)
        session = Session(tail, begun, self._clock, self._sessions)
        return Streamed(200, (("Content-Type", event_stream.CONTENT_TYPE),), session)


class Session:
    """A live tail as the body of a response (http.Source)."""

    def __init__(self, tail: LiveTail, begun: dict[str, Any], clock: Clock, sessions: "set[Session]") -> None:
        self._tail = tail
        self._begun = [_event("initial-response", {}), _event("sessionStart", begun)]
        self._clock = clock
        self._until = clock.monotonic() + LONGEST
        self._ended = asyncio.Event()
        self._timed_out = False
        self._sessions = sessions
        tail.__enter__()
        sessions.add(self)

    async def read(self) -> bytes:
        if self._begun:
            return self._begun.pop(0)
        if self._timed_out:
            return b""
        try:
            async with asyncio.timeout(PERIOD):
                await self._ended.wait()
        except TimeoutError:
            if self._clock.monotonic() < self._until:
                return self._update()
            self._timed_out = True
            return event_stream.message(_TIMED_OUT, b'{"message":"The session has been open for three hours."}')
        return b""

    async def finish(self) -> None:
        self.cancel()

    def cancel(self) -> None:
        if self in self._sessions:
            self._sessions.remove(self)
            self._tail.__exit__(None, None, None)

    def end(self) -> None:
        self._ended.set()

    def _update(self) -> bytes:
        events, sampled = self._tail.take()
        results = [
            {
                "logStreamName": event.stream,
                "logGroupIdentifier": f"{about.account}:{about.name}",
                "message": event.message.decode("utf-8", "replace"),
                "timestamp": event.key.time,
                "ingestionTime": event.taken,
            }
            for about, event in events
        ]
        return _event("sessionUpdate", {"sessionMetadata": {"sampled": sampled}, "sessionResults": results})
