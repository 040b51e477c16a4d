"""Reading logs by pages: what boto3 gets, page by page, is what was written, in AWS's order and within its bounds."""

import random
import re
import time
import uuid
from collections.abc import Callable, Iterator
from itertools import product
from typing import Any

import pytest
from botocore.exceptions import ClientError

STREAMS = ("s1", "s2", "s10", "t")


@pytest.fixture
def group(logs: Any) -> Iterator[str]:
    name = f"paged/{uuid.uuid4().hex}"
    logs.create_log_group(logGroupName=name)
    yield name
    logs.delete_log_group(logGroupName=name)


def refused(operation: Callable[..., Any], **members: Any) -> tuple[str, str]:
    with pytest.raises(ClientError) as caught:
        operation(**members)
    error = caught.value.response["Error"]
    return error["Code"], error["Message"]


def walk(operation: Callable[..., Any], member: str, **members: Any) -> list[Any]:
    """All pages, each no larger than `limit`; the last has no token."""
    found: list[Any] = []
    while True:
        page = operation(**members)
        assert len(page[member]) <= members["limit"]
        found += page[member]
        if "nextToken" not in page:
            return found
        assert page[member], "a page that is not the last has something in it, where nothing is searched"
        members["nextToken"] = page["nextToken"]


def test_groups_come_by_name_whoever_comes_and_goes_between_the_pages(logs: Any) -> None:
    prefix = f"g{uuid.uuid4().hex}/"
    names = [prefix + name for name in ("B", "a", "a-1", "a.1", "a/1", "a1", "b")]
    assert names == sorted(names, key=str.encode)
    for name in random.sample(names, len(names)):
        logs.create_log_group(logGroupName=name)
    asked = {"logGroupNamePrefix": prefix, "limit": 3}
    described = walk(logs.describe_log_groups, "logGroups", **asked)
    assert [each["logGroupName"] for each in described] == names
    assert described[0]["arn"] == f"{described[0]['logGroupArn']}:*" and "retentionInDays" not in described[0]
    first = logs.describe_log_groups(**asked)
    logs.create_log_group(logGroupName=f"{prefix}A")  # in front of the place that the token names
    logs.delete_log_group(logGroupName=names[2])  # the place itself
    rest = walk(logs.describe_log_groups, "logGroups", **asked, nextToken=first["nextToken"])
    assert [each["logGroupName"] for each in rest] == names[3:]
    exactly = logs.describe_log_groups(logGroupNamePrefix=f"{prefix}a/", limit=1)
    assert len(exactly["logGroups"]) == 1 and "nextToken" not in exactly
    part = logs.describe_log_groups(logGroupNamePattern=f"{prefix[5:]}a1")["logGroups"]
    assert [each["logGroupName"] for each in part] == [f"{prefix}a1"]
    assert logs.describe_log_groups(logGroupNamePattern=f"{prefix[5:]}A1")["logGroups"] == []
    both = {"logGroupNamePrefix": prefix, "logGroupNamePattern": prefix}
    assert refused(logs.describe_log_groups, **both)[0] == "InvalidParameterException"
    code, text = refused(logs.describe_log_groups, limit=51)
    assert code == "InvalidParameterException" and "'51' at 'limit'" in text
    for name in (f"{prefix}A", *names[:2], *names[3:]):
        logs.delete_log_group(logGroupName=name)


def test_streams_come_by_name_or_by_their_last_event(logs: Any, group: str) -> None:
    now = int(time.time() * 1000)  # noqa: TID251
    last = {"b": 3, "a": 3, "d": 1, "c": 2, "e": None, "B": None}  # seconds before now
    for name, before in last.items():
        logs.create_log_stream(logGroupName=group, logStreamName=name)
        if before is not None:
            event = {"timestamp": now - before * 1000, "message": "x"}
            logs.put_log_events(logGroupName=group, logStreamName=name, logEvents=[event])

    def order(limit: int = 50, **members: Any) -> str:
        found = walk(logs.describe_log_streams, "logStreams", logGroupName=group, limit=limit, **members)
        return "".join(each["logStreamName"] for each in found)

    for limit in (1, 2, 3, 6, 50):
        assert order(limit) == order(limit, orderBy="LogStreamName") == "Babcde"
        assert order(limit, descending=True) == "edcbaB"
        assert order(limit, orderBy="LastEventTime") == "Beabcd", "what has no event is before all that has one"
        assert order(limit, orderBy="LastEventTime", descending=True) == "dcbaeB"
    assert order(1, logStreamNamePrefix="d", descending=True) == "d"
    code, text = refused(
        logs.describe_log_streams, logGroupName=group, logStreamNamePrefix="a", orderBy="LastEventTime"
    )
    assert (code, text) == (
        "InvalidParameterException",
        "Cannot order by LastEventTime with a logStreamNamePrefix.",
    )
    (told,) = logs.describe_log_streams(logGroupName=group, logStreamNamePrefix="c")["logStreams"]
    assert told["firstEventTimestamp"] == told["lastEventTimestamp"] == now - 2000
    assert told["lastIngestionTime"] >= now - 1000
    assert told["arn"].endswith(f":log-group:{group}:log-stream:c")
    (told,) = logs.describe_log_streams(logGroupName=group, logStreamNamePrefix="e")["logStreams"]
    assert not told.keys() & {"firstEventTimestamp", "lastEventTimestamp", "lastIngestionTime"}


class Written:
    """Events of several streams at few different times, in several batches. `events`: (time, stream, message), in the
    order of their times and, of the same time, in the order in which they were written."""

    def __init__(self, logs: Any, group: str) -> None:
        seed = random.randrange(1 << 32)
        print(f"seed {seed}")  # shown if it fails
        chance = random.Random(seed)
        self.logs, self.group = logs, group
        self.first = int(time.time() * 1000) - 60_000  # noqa: TID251
        self.events: list[tuple[int, str, str]] = []
        for stream in STREAMS:
            logs.create_log_stream(logGroupName=group, logStreamName=stream)
        for number in range(8):
            self.put(chance.choice(STREAMS[:3]), [chance.randrange(6) for _ in range(chance.randrange(1, 5))], number)

    def put(self, stream: str, places: list[int], number: int) -> None:
        times = sorted(self.first + place for place in places)
        events = [(at, stream, f"{number}.{index}") for index, at in enumerate(times)]
        given = [{"timestamp": at, "message": text} for at, _, text in events]
        self.logs.put_log_events(logGroupName=self.group, logStreamName=stream, logEvents=given)
        self.events += events
        self.events.sort(key=lambda event: event[0])


BOUNDS = (None, -1, 0, 2, 5, 6, 7)  # ms from the first possible event


def test_events_of_a_stream_lie_between_the_bounds_in_both_directions(logs: Any, group: str) -> None:
    written = Written(logs, group)
    stream = max(STREAMS, key=lambda name: sum(name == event[1] for event in written.events))
    for start, end, limit in product(BOUNDS[1:], BOUNDS, (1, 3, 100)):
        if end is not None and end <= start:
            continue
        bounds = {"startTime": written.first + start} | ({} if end is None else {"endTime": written.first + end})
        asked = {"logGroupName": group, "logStreamName": stream, "limit": limit, **bounds}
        expected = [
            text
            for at, name, text in written.events
            if name == stream and at >= bounds["startTime"] and at < bounds.get("endTime", at + 1)
        ]
        for forward in (True, False):
            kind = "nextForwardToken" if forward else "nextBackwardToken"
            found: list[str] = []
            page = logs.get_log_events(**asked, startFromHead=forward)
            while True:
                texts = [event["message"] for event in page["events"]]
                found = found + texts if forward else texts + found
                assert re.fullmatch(r"f/\d{56}", page["nextForwardToken"])
                assert re.fullmatch(r"b/\d{56}", page["nextBackwardToken"])
                before = page[kind]
                page = logs.get_log_events(**asked, startFromHead=True, nextToken=before)
                if page[kind] == before:
                    assert page["events"] == []
                    break
            assert found == expected, (start, end, limit, forward)


def test_the_token_of_the_end_leads_to_what_is_written_later(logs: Any, group: str) -> None:
    written = Written(logs, group)
    asked = {"logGroupName": group, "logStreamName": "t"}
    empty = logs.get_log_events(**asked)
    assert empty["events"] == []
    for number in range(100, 103):
        written.put("t", [number], number)
        later = logs.get_log_events(**asked, nextToken=empty["nextForwardToken"], startFromHead=True)
        assert [event["message"] for event in later["events"]] == [f"{number}.0"]
        empty = logs.get_log_events(**asked, nextToken=later["nextForwardToken"], startFromHead=True)
        assert (empty["events"], empty["nextForwardToken"]) == ([], later["nextForwardToken"])
    for token in ("f/1", "x/" + "1" * 56, "f/" + "x" * 56, "anything"):
        assert refused(logs.get_log_events, **asked, nextToken=token) == (
            "InvalidParameterException",
            "The specified nextToken is invalid.",
        )
        assert refused(logs.filter_log_events, logGroupName=group, nextToken=token)[0] == "InvalidParameterException"
    assert refused(logs.get_log_events, logGroupName=group, logStreamName="no")[0] == "ResourceNotFoundException"
    assert refused(logs.get_log_events, logGroupName="no/group", logStreamName="t")[0] == "ResourceNotFoundException"


def test_events_of_streams_are_interleaved_whatever_the_size_of_a_page(logs: Any, group: str) -> None:
    written = Written(logs, group)
    streams: tuple[dict[str, Any], ...] = (
        {},
        {"logStreamNames": ["s1", "s10"]},
        {"logStreamNamePrefix": "s1"},
        {"logStreamNames": ["t"]},
    )
    everything = product(BOUNDS[1:], BOUNDS, (2, 5, 100), streams)
    for start, end, limit, chosen in random.sample(list(everything), 24):
        if end is not None and end < start:
            continue
        bounds = {"startTime": written.first + start} | ({} if end is None else {"endTime": written.first + end})
        names = chosen.get("logStreamNames", ["s1", "s10"] if "logStreamNamePrefix" in chosen else STREAMS)
        expected = [
            event
            for event in written.events
            if event[1] in names and event[0] >= bounds["startTime"] and event[0] <= bounds.get("endTime", event[0])
        ]
        asked = {"logGroupName": group, "limit": limit, **bounds, **chosen}
        page = walk(logs.filter_log_events, "events", **asked)
        assert [(each["timestamp"], each["logStreamName"], each["message"]) for each in page] == expected
        assert len({each["eventId"] for each in page}) == len(page)
        backwards = walk(logs.filter_log_events, "events", **asked, startFromHead=False)
        assert backwards == page[::-1]
    one = logs.filter_log_events(logGroupName=group, limit=1)
    assert one["searchedLogStreams"] == []
    asked = {"logGroupName": group, "limit": 5, "nextToken": one["nextToken"], "startFromHead": False}
    texts = [each["message"] for each in one["events"] + walk(logs.filter_log_events, "events", **asked)]
    assert texts == [event[2] for event in written.events], "the token decides the direction"
    assert refused(logs.filter_log_events, logGroupName=group, logStreamNames=["t"], logStreamNamePrefix="t")[0] == (
        "InvalidParameterException"
    )


def test_a_pattern_and_a_limit_together_lead_to_all_that_matches(logs: Any, group: str) -> None:
    written = Written(logs, group)
    for limit in (1, 2, 50):
        found = walk(logs.filter_log_events, "events", logGroupName=group, limit=limit, filterPattern='".0"')
        assert [each["message"] for each in found] == [event[2] for event in written.events if event[2].endswith(".0")]
    assert "nextToken" not in logs.filter_log_events(logGroupName=group, filterPattern="nothing")
