"""EventBridge, as far as it is needed: an event for a bus."""

from collections.abc import Sequence
from typing import Any

from lamplighter.neighbours.wire import Endpoint, NeighbourError


class EventBridge:
    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint

    async def put(
        self,
        region: str,
        bus: str,
        source: str,
        detail_type: str,
        resources: Sequence[str],
        detail: str,
        time: float,
        trace: str | None = None,
    ) -> None:
        """`bus`: ARN or name; `detail`: a JSON object; `time`: seconds since the epoch. Raises NeighbourError."""
        entry: dict[str, Any] = {
            "EventBusName": bus,
            "Source": source,
            "DetailType": detail_type,
            "Resources": list(resources),
            "Detail": detail,
            "Time": time,
        }
        if trace:
            entry["TraceHeader"] = trace
        answer = await self._endpoint.call_json("AWSEvents.PutEvents", "1.1", region, {"Entries": [entry]})
        if answer.get("FailedEntryCount"):  # entries are refused one by one, in an answer with status 200
            refused: dict[str, Any] = answer["Entries"][0] if answer.get("Entries") else {}
            code = str(refused.get("ErrorCode"))
            raise NeighbourError(code, str(refused.get("ErrorMessage")), 500 if code.startswith("Internal") else 400)
