"""Sessions of StartLiveTail: how they begin and end, and how many there may be."""

import json
from pathlib import Path
from typing import Any

import pytest
from botocore.eventstream import EventStreamBuffer

from lamplighter.api.http import Call, Caller
from lamplighter.api.logs import live_tail
from lamplighter.api.logs.live_tail import LONGEST, SESSIONS, LiveTailOperation
from lamplighter.telemetry.logs.archive import Archive
from lamplighter.telemetry.logs.errors import LimitExceededException, ResourceNotFoundException
from lamplighter.telemetry.logs.group import About
from support.environments import HeldClock
from support.sandbox_server import story

GROUP = "/tests/group"
ARN = f"arn:aws:logs:us-east-1:000000000000:log-group:{GROUP}"
CALLER = Caller("key", "000000000000", "arn:aws:iam::000000000000:root")


def decoded(data: bytes) -> list[tuple[str, Any]]:
    buffer = EventStreamBuffer()
    buffer.add_data(data)
    return [
        (each.headers.get(":event-type") or each.headers[":exception-type"], json.loads(each.payload))
        for each in buffer
    ]


@story
async def test_a_session_tells_of_its_begin_and_its_end_and_makes_room_for_the_next(tmp_path: Path) -> None:
    clock = HeldClock()
    archive = Archive(tmp_path, clock, 0)
    await archive.open()
    await archive.create(About("000000000000", "us-east-1", GROUP, 0))
    operation = LiveTailOperation(archive, clock)
    call = Call("request", CALLER, "us-east-1", "http://here")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(live_tail, "PERIOD", 0.01)
        with pytest.raises(ResourceNotFoundException):
            await operation.start(call, {"logGroupIdentifiers": [ARN + "-none"]})
        started = [(await operation.start(call, {"logGroupIdentifiers": [ARN]})).body for _ in range(SESSIONS)]
        with pytest.raises(LimitExceededException):
            await operation.start(call, {"logGroupIdentifiers": [ARN]})
        first = started.pop()
        begun = decoded(await first.read()) + decoded(await first.read())
        assert [kind for kind, _ in begun] == ["initial-response", "sessionStart"]
        assert begun[1][1]["logGroupIdentifiers"] == [ARN]
        assert decoded(await first.read()) == [
            ("sessionUpdate", {"sessionMetadata": {"sampled": False}, "sessionResults": []})
        ]
        clock.move(LONGEST + 1)
        assert [kind for kind, _ in decoded(await first.read())] == ["SessionTimeoutException"]
        assert await first.read() == b""
        await first.finish()
        started.append((await operation.start(call, {"logGroupIdentifiers": [ARN]})).body)
        operation.close()
        for session in started:
            session.cancel()
    await archive.close()
