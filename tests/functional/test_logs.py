"""Logs as people read them: boto3, the AWS CLI and `lamplighter logs`, against a service that runs functions."""

import base64
import contextlib
import http.client
import json
import os
import pty
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from lamplighter.neighbours.signing import Keys, sign
from support.functions import deploy_with
from support.service import COMMAND, Service, clean_environment, run

SOURCE = """
import base64, gzip, json
print("imported")
def handler(event, context):
    if "awslogs" in event:
        event = json.loads(gzip.decompress(base64.b64decode(event["awslogs"]["data"])))
        print("delivered", json.dumps(event))
    else:
        print(event.get("say", "hello"))
"""
GROUP = "/tests/group"
DEADLINE = 20.0  # seconds

# Calls ask for the log's tail where the log is read next: they are answered when all is written, the REPORT as well.


@pytest.fixture
def group(logs: Any, request: pytest.FixtureRequest) -> Iterator[str]:
    name = f"/tests/{request.node.name[:80]}"
    logs.create_log_group(logGroupName=re.sub(r"[^\w/.-]", "-", name))
    yield re.sub(r"[^\w/.-]", "-", name)
    logs.delete_log_group(logGroupName=re.sub(r"[^\w/.-]", "-", name))


def refused(call: Callable[..., Any], **members: Any) -> tuple[str, str]:
    with pytest.raises(ClientError) as caught:
        call(**members)
    error = caught.value.response["Error"]
    return error["Code"], error["Message"]


def messages(logs: Any, group: str, **members: Any) -> list[str]:
    pages = logs.get_paginator("filter_log_events").paginate(logGroupName=group, **members)
    return [event["message"] for page in pages for event in page["events"]]


def within(condition: Callable[[], Any], what: str) -> Any:
    deadline = time.monotonic() + DEADLINE
    while not (found := condition()):
        assert time.monotonic() < deadline, what
        time.sleep(0.1)
    return found


def put(logs: Any, group: str, stream: str, *texts: str, at: float = 0) -> Any:
    now = int((time.time() + at) * 1000)  # noqa: TID251
    events = [{"timestamp": now + number, "message": text} for number, text in enumerate(texts)]
    return logs.put_log_events(logGroupName=group, logStreamName=stream, logEvents=events)


def test_what_a_function_writes_is_in_the_group_and_stream_that_aws_names(
    client: Any, logs: Any, deploy: Callable[..., str]
) -> None:
    name = deploy(SOURCE)
    client.invoke(LogType="Tail", FunctionName=name, Payload=b'{"say": "first"}')
    client.invoke(LogType="Tail", FunctionName=name, Payload=b'{"say": "second"}')
    group = f"/aws/lambda/{name}"
    (stream,) = logs.describe_log_streams(logGroupName=group)["logStreams"]
    assert re.fullmatch(r"\d{4}/\d\d/\d\d/\[\$LATEST\][0-9a-f]{32}", stream["logStreamName"])
    shape = [
        r"INIT_START Runtime Version: .*",
        r"imported",
        *(
            r"START RequestId: [0-9a-f-]{36} Version: \$LATEST",
            r"first",
            r"END RequestId: [0-9a-f-]{36}",
            r"REPORT .*\t",
        ),
        *(
            r"START RequestId: [0-9a-f-]{36} Version: \$LATEST",
            r"second",
            r"END RequestId: [0-9a-f-]{36}",
            r"REPORT .*\t",
        ),
    ]
    found = messages(logs, group)
    assert len(found) == len(shape)
    for line, pattern in zip(found, shape, strict=True):
        assert re.fullmatch(pattern + "\n", line), line
    got = logs.get_log_events(logGroupName=group, logStreamName=stream["logStreamName"], startFromHead=True)
    assert [event["message"] for event in got["events"]] == found
    assert messages(logs, group, filterPattern="second") == ["second\n"]
    (described,) = logs.describe_log_groups(logGroupNamePrefix=group)["logGroups"]
    assert "retentionInDays" not in described
    assert described["storedBytes"] > 0


def test_groups_are_described_retained_and_tagged(logs: Any, group: str) -> None:
    logs.put_retention_policy(logGroupName=group, retentionInDays=7)
    (described,) = logs.describe_log_groups(logGroupNamePrefix=group)["logGroups"]
    assert described["retentionInDays"] == 7
    arn = described["logGroupArn"]
    assert described["arn"] == f"{arn}:*"
    logs.tag_resource(resourceArn=arn, tags={"team": "a", "x": "y"})
    logs.untag_resource(resourceArn=arn, tagKeys=["x"])
    assert logs.list_tags_for_resource(resourceArn=arn)["tags"] == {"team": "a"}
    logs.tag_log_group(logGroupName=group, tags={"old": "way"})
    assert logs.list_tags_log_group(logGroupName=group)["tags"] == {"team": "a", "old": "way"}
    logs.delete_retention_policy(logGroupName=group)
    assert "retentionInDays" not in logs.describe_log_groups(logGroupNamePrefix=group)["logGroups"][0]
    code, text = refused(logs.put_retention_policy, logGroupName=group, retentionInDays=2)
    assert (code, "enum value set: [1, 3, 5" in text) == ("InvalidParameterException", True)


def test_what_is_not_there_or_there_already_is_refused_as_aws_does(logs: Any, group: str) -> None:
    assert refused(logs.create_log_group, logGroupName=group) == (
        "ResourceAlreadyExistsException",
        "The specified log group already exists",
    )
    assert refused(logs.filter_log_events, logGroupName="/none") == (
        "ResourceNotFoundException",
        "The specified log group does not exist.",
    )
    assert refused(logs.get_log_events, logGroupName=group, logStreamName="none") == (
        "ResourceNotFoundException",
        "The specified log stream does not exist.",
    )
    assert refused(logs.create_log_group, logGroupName="a b") == (
        "InvalidParameterException",
        "1 validation error detected: Value 'a b' at 'logGroupName' failed to satisfy constraint: "
        "Member must satisfy regular expression pattern: [\\.\\-_/#A-Za-z0-9]+",
    )
    assert (
        refused(logs.filter_log_events, logGroupName=group, filterPattern="{ $.a }")[0] == "InvalidParameterException"
    )
    assert refused(logs.filter_log_events, logGroupName=group, nextToken="x") == (
        "InvalidParameterException",
        "The specified nextToken is invalid.",
    )
    assert refused(logs.start_query, logGroupName=group, startTime=0, endTime=1, queryString="x") == (
        "UnknownOperationException",
        "The operation StartQuery is not available in this version of Lamplighter.",
    )


def test_put_log_events_takes_what_aws_takes(logs: Any, group: str) -> None:
    logs.create_log_stream(logGroupName=group, logStreamName="s")
    put(logs, group, "s", "one", "two\nlines", "ü")
    assert messages(logs, group) == ["one", "two\nlines", "ü"]
    day = 86_400
    assert "rejectedLogEventsInfo" not in put(logs, group, "s", "older", at=-13 * day)
    assert put(logs, group, "s", "too old", at=-15 * day)["rejectedLogEventsInfo"] == {"tooOldLogEventEndIndex": 1}
    assert put(logs, group, "s", "too new", at=3 * 3600)["rejectedLogEventsInfo"] == {"tooNewLogEventStartIndex": 0}
    now = int(time.time() * 1000)  # noqa: TID251
    span = [{"timestamp": now - day * 1000 - 1, "message": "a"}, {"timestamp": now, "message": "b"}]
    assert refused(logs.put_log_events, logGroupName=group, logStreamName="s", logEvents=span)[1] == (
        "The batch of log events in a single PutLogEvents request cannot span more than 24 hours."
    )
    logs.put_retention_policy(logGroupName=group, retentionInDays=1)
    assert put(logs, group, "s", "expired", at=-2 * day)["rejectedLogEventsInfo"] == {"expiredLogEventEndIndex": 1}
    assert messages(logs, group) == ["one", "two\nlines", "ü"], "what has expired is not found"
    backwards = [{"timestamp": now, "message": "b"}, {"timestamp": now - 1, "message": "a"}]
    assert refused(logs.put_log_events, logGroupName=group, logStreamName="s", logEvents=backwards)[1] == (
        "Log events in a single PutLogEvents request must be in chronological order."
    )
    most = [{"timestamp": now, "message": "x"}] * 10_001
    assert (
        "length less than or equal to 10000"
        in (refused(logs.put_log_events, logGroupName=group, logStreamName="s", logEvents=most)[1])
    )
    assert refused(lambda: put(logs, group, "s", "x" * 1_048_551))[1] == (
        "Log event too large: 1048577 bytes exceeds limit of 1048576"
    )
    put(
        logs, group, "s", "y" * 1_048_550
    )  # with the 26 bytes that each event counts for, exactly as many as there may be
    assert [len(text) for text in messages(logs, group, filterPattern="yyyyy")] == [1_048_550]
    assert refused(lambda: put(logs, group, "none", "x"))[0] == "ResourceNotFoundException"
    assert refused(lambda: put(logs, group, "s", *["x" * 200_000] * 6))[1].startswith("Upload too large: ")


def test_pages_lead_through_a_stream_both_ways(logs: Any, group: str) -> None:
    logs.create_log_stream(logGroupName=group, logStreamName="s")
    texts = [str(number) for number in range(10)]
    asked = {"logGroupName": group, "logStreamName": "s", "limit": 4}
    empty = logs.get_log_events(**asked)
    put(logs, group, "s", *texts)

    def page(token: str) -> tuple[list[str], dict[str, Any]]:
        answer = logs.get_log_events(**asked, nextToken=token)
        return [event["message"] for event in answer["events"]], answer

    found, answer = page(empty["nextForwardToken"])
    forward = list(found)
    while found:
        before = answer["nextForwardToken"]
        found, answer = page(before)
        forward += found
    assert forward == texts
    assert answer["nextForwardToken"] == before, "at the end the token stays"
    backward: list[str] = []
    token = answer["nextBackwardToken"]
    while True:
        found, answer = page(token)
        backward = found + backward
        if answer["nextBackwardToken"] == token:
            break
        token = answer["nextBackwardToken"]
    assert backward == texts
    assert page(answer["nextForwardToken"])[0] == texts[:4]
    newest = logs.get_log_events(**asked)
    assert [event["message"] for event in newest["events"]] == texts[-4:]


def test_streams_are_described_in_order_and_pages(logs: Any, group: str) -> None:
    for number, name in enumerate("cab"):
        logs.create_log_stream(logGroupName=group, logStreamName=name)
        put(logs, group, name, "x", at=number)
    by_name = logs.get_paginator("describe_log_streams").paginate(logGroupName=group, PaginationConfig={"PageSize": 2})
    assert [each["logStreamName"] for page in by_name for each in page["logStreams"]] == ["a", "b", "c"]
    newest = logs.describe_log_streams(logGroupName=group, orderBy="LastEventTime", descending=True, limit=1)
    assert newest["logStreams"][0]["logStreamName"] == "b"
    logs.delete_log_stream(logGroupName=group, logStreamName="a")
    assert sorted(messages(logs, group)) == ["x", "x"]
    assert messages(logs, group, logStreamNames=["a"]) == []
    assert messages(logs, group, logStreamNamePrefix="c") == ["x"]


def test_a_subscription_brings_matching_events_to_a_function(
    client: Any, logs: Any, group: str, deploy: Callable[..., str]
) -> None:
    name = deploy(SOURCE)
    arn = client.get_function(FunctionName=name)["Configuration"]["FunctionArn"]
    subscription = {"logGroupName": group, "filterName": "errors", "filterPattern": "ERROR", "destinationArn": arn}
    assert (
        "reserved for the function logs"
        in refused(logs.put_subscription_filter, **{**subscription, "logGroupName": f"/aws/lambda/{name}"})[1]
    )
    assert (
        "Could not execute the lambda function"
        in refused(logs.put_subscription_filter, **{**subscription, "destinationArn": arn + "x"})[1]
    )
    for principal, source in (  # another service, and another group: neither is this one's permission
        ("sns.amazonaws.com", f"arn:aws:logs:us-east-1:000000000000:log-group:{group}:*"),
        ("logs.us-east-1.amazonaws.com", "arn:aws:logs:us-east-1:000000000000:log-group:/another:*"),
        ("logs.eu-west-1.amazonaws.com", f"arn:aws:logs:us-east-1:000000000000:log-group:{group}:*"),
    ):
        assert refused(logs.put_subscription_filter, **subscription) == (
            "InvalidParameterException",
            "Could not execute the lambda function. Make sure you have given CloudWatch Logs permission to execute "
            "your function.",
        )
        allow(client, name, principal, source)
    assert "Could not execute" in refused(logs.put_subscription_filter, **subscription)[1]
    allow(client, name, "logs.us-east-1.amazonaws.com", f"arn:aws:logs:us-east-1:000000000000:log-group:{group}:*")
    logs.put_subscription_filter(**subscription)
    (described,) = logs.describe_subscription_filters(logGroupName=group)["subscriptionFilters"]
    assert {**subscription, "distribution": "ByLogStream"}.items() <= described.items()
    logs.create_log_stream(logGroupName=group, logStreamName="s")
    put(logs, group, "s", "fine", "ERROR one", "ERROR two")

    def delivered() -> list[str]:
        try:
            return messages(logs, f"/aws/lambda/{name}", filterPattern="delivered")
        except ClientError:
            return []

    (line,) = within(delivered, "the function was given the events")
    event = json.loads(line.removeprefix("delivered "))
    assert (event["messageType"], event["logGroup"], event["logStream"]) == ("DATA_MESSAGE", group, "s")
    assert event["subscriptionFilters"] == ["errors"]
    assert [each["message"] for each in event["logEvents"]] == ["ERROR one", "ERROR two"]
    ids = [each["eventId"] for each in logs.filter_log_events(logGroupName=group, filterPattern="ERROR")["events"]]
    assert [each["id"] for each in event["logEvents"]] == ids
    logs.delete_subscription_filter(logGroupName=group, filterName="errors")
    assert not logs.describe_subscription_filters(logGroupName=group)["subscriptionFilters"]


def allow(client: Any, name: str, principal: str, source: str, **more: str) -> None:
    client.add_permission(
        FunctionName=name,
        StatementId=f"s{time.monotonic_ns()}",
        Action="lambda:InvokeFunction",
        Principal=principal,
        SourceArn=source,
        **more,
    )


def test_a_subscription_ends_to_bring_when_its_permission_is_taken_away(
    client: Any, logs: Any, group: str, deploy: Callable[..., str], service: Service
) -> None:
    name = deploy(SOURCE)
    client.publish_version(FunctionName=name)
    arn = client.create_alias(FunctionName=name, Name="live", FunctionVersion="1")["AliasArn"]
    source = f"arn:aws:logs:us-east-1:000000000000:log-group:{group}:*"
    subscription = {"logGroupName": group, "filterName": "all", "filterPattern": "", "destinationArn": arn}
    allow(client, name, "logs.amazonaws.com", source)  # of the function, not of the alias
    assert "Could not execute" in refused(logs.put_subscription_filter, **subscription)[1]
    allow(client, name, "logs.amazonaws.com", source, Qualifier="live")
    logs.put_subscription_filter(**subscription)
    (statement,) = json.loads(client.get_policy(FunctionName=name, Qualifier="live")["Policy"])["Statement"]
    client.remove_permission(FunctionName=name, StatementId=statement["Sid"], Qualifier="live")
    logs.create_log_stream(logGroupName=group, logStreamName="s")
    put(logs, group, "s", "kept out")
    refusal = f"log-group:{group} are not brought to {arn}"
    within(lambda: refusal in service.log.read_text(), "it is told")
    put(logs, group, "s", "kept out as well")
    allow(client, name, "logs.amazonaws.com", f"{source[:-2]}-another:*", Qualifier="live")
    within(lambda: put(logs, group, "s", "kept out") and service.log.read_text().count(refusal) == 2, "and told anew")
    allow(client, name, "logs.amazonaws.com", source, Qualifier="live")
    put(logs, group, "s", "let in")
    log_group = f"/aws/lambda/{name}"
    within(lambda: logs.describe_log_groups(logGroupNamePrefix=log_group)["logGroups"], "it was called")
    (line,) = within(lambda: messages(logs, log_group, filterPattern="delivered"), "what came then was delivered")
    assert "let in" in line and "kept out" not in line
    assert service.log.read_text().count(refusal) == 2, "not with each line, but with each policy that refuses"


def test_live_tail_sends_what_comes(logs: Any, group: str) -> None:
    logs.create_log_stream(logGroupName=group, logStreamName="s")
    arn = logs.describe_log_groups(logGroupNamePrefix=group)["logGroups"][0]["logGroupArn"]
    stream = logs.start_live_tail(logGroupIdentifiers=[arn], logEventFilterPattern="wanted")["responseStream"]
    found: list[str] = []
    started = False
    deadline = time.monotonic() + DEADLINE
    for event in stream:
        if "sessionStart" in event:
            started = True
            put(logs, group, "s", "wanted 1", "other", "wanted 2")
        else:
            found += [each["message"] for each in event["sessionUpdate"]["sessionResults"]]
        if len(found) == 2 or time.monotonic() > deadline:
            break
    stream.close()
    assert started
    assert found == ["wanted 1", "wanted 2"]


def test_live_tail_watches_several_groups_and_streams_by_prefix(logs: Any, group: str) -> None:
    other = f"{group}-other"
    logs.create_log_group(logGroupName=other)
    for each in (group, other):
        for stream in ("good", "bad"):
            logs.create_log_stream(logGroupName=each, logStreamName=stream)
    arns = [logs.describe_log_groups(logGroupNamePrefix=each)["logGroups"][0]["logGroupArn"] for each in (group, other)]
    assert refused(logs.start_live_tail, logGroupIdentifiers=arns, logStreamNames=["good"])[0] == (
        "InvalidParameterException"
    )
    assert refused(logs.start_live_tail, logGroupIdentifiers=[arns[0] + "-none"])[0] == "ResourceNotFoundException"

    def tailed(wanted: int, **asked: Any) -> list[tuple[str, str, str]]:
        stream = logs.start_live_tail(**asked)["responseStream"]
        found: list[tuple[str, str, str]] = []
        deadline = time.monotonic() + DEADLINE
        for event in stream:
            if "sessionStart" in event:
                assert event["sessionStart"]["logGroupIdentifiers"] == asked["logGroupIdentifiers"]
                for each in (other, group):
                    put(logs, each, "bad", "E42", "E4")
                    put(logs, each, "good", "E43")
            else:
                assert event["sessionUpdate"]["sessionMetadata"] == {"sampled": False}
                found += [
                    (each["logGroupIdentifier"].partition(":")[2], each["logStreamName"], each["message"])
                    for each in event["sessionUpdate"]["sessionResults"]
                ]
            if len(found) >= wanted or time.monotonic() > deadline:
                break
        stream.close()
        return sorted(found)

    assert tailed(4, logGroupIdentifiers=arns, logEventFilterPattern=r"%^E\d{2}$%") == [
        *((group, "bad", "E42"), (group, "good", "E43"), (other, "bad", "E42"), (other, "good", "E43"))
    ]
    assert tailed(1, logGroupIdentifiers=arns[:1], logStreamNamePrefixes=["go", "x"]) == [(group, "good", "E43")]
    logs.delete_log_group(logGroupName=other)


def test_a_signature_must_be_for_this_service(service: Service) -> None:
    variables = service.environment()
    keys = Keys(variables["AWS_ACCESS_KEY_ID"], variables["AWS_SECRET_ACCESS_KEY"])
    given = {"Content-Type": "application/x-amz-json-1.1", "X-Amz-Target": "Logs_20140328.DescribeLogGroups"}
    now = time.time()  # noqa: TID251
    for scope, status in (("logs", 200), ("lambda", 400)):
        headers = sign("POST", f"{service.url}/", given, b"{}", keys, scope, "us-east-1", now)
        connection = http.client.HTTPConnection(headers["Host"], timeout=DEADLINE)
        connection.request("POST", "/", b"{}", headers)
        response = connection.getresponse()
        answer = json.loads(response.read())
        connection.close()
        assert response.status == status
    assert answer == {
        "__type": "InvalidSignatureException",
        "message": "Credential should be scoped to correct service: 'logs'. ",
    }


def test_lamplighter_logs_shows_follows_and_filters(service: Service, client: Any, deploy: Callable[..., str]) -> None:
    name = deploy(SOURCE)
    client.invoke(LogType="Tail", FunctionName=name, Payload=b'{"say": "\\u001b[31mERROR once"}')
    options = ("--data-dir", str(service.data_dir), "--port", str(service.port))
    shown = run("logs", name, *options)
    assert shown.returncode == 0, shown.stderr
    lines = shown.stdout.splitlines()
    assert len(lines) == 6
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} [0-9a-f]{8} START RequestId: .*", lines[2])
    assert lines[3].endswith(" [31mERROR once"), "no function steers the terminal"
    assert len(run("logs", name, *options, "--filter", "ERROR").stdout.splitlines()) == 1
    assert not run("logs", name, *options, "--since", "0s").stdout
    missing = run("logs", "nobody", *options)
    assert (missing.returncode, missing.stderr) == (
        1,
        "lamplighter: There is no log group /aws/lambda/nobody: nothing has been written to it yet.\n",
    )
    assert run("logs", name, *options, "--since", "soon").returncode == 2
    assert run("logs", name, *options, "--filter", "{").stderr == "lamplighter: Invalid filter pattern\n"
    away = run("logs", name, "--data-dir", str(service.data_dir), "--port", "1")
    assert (away.returncode, away.stderr.startswith("lamplighter: No service answers at http://127.0.0.1:1")) == (
        1,
        True,
    )
    following = subprocess.Popen(
        (*COMMAND, "logs", name, *options, "--follow", "--since", "0s"),
        env=clean_environment(PYTHONUNBUFFERED="1"),
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        seen: list[str] = []
        reader = threading.Thread(target=lambda: seen.extend(following.stdout or ()))
        reader.start()

        def followed() -> bool:
            client.invoke(LogType="Tail", FunctionName=name, Payload=b'{"say": "followed"}')
            return any("followed" in line for line in tuple(seen))

        within(followed, "what comes is shown")
    finally:
        following.terminate()
        following.wait(DEADLINE)
        reader.join()
        if following.stdout is not None:
            following.stdout.close()
    assert any("followed" in line for line in seen)
    assert len(set(seen)) == len(seen), "nothing is shown twice"


def on_a_terminal(*arguments: str, **variables: str) -> bytes:
    """What `lamplighter …` prints to one; until its end."""
    near, far = pty.openpty()
    with subprocess.Popen(
        (*COMMAND, *arguments), env=clean_environment(TERM="xterm", **variables), stdin=far, stdout=far, stderr=far
    ) as process:
        os.close(far)
        printed = b""
        with contextlib.suppress(OSError):  # how a terminal ends
            while data := os.read(near, 65_536):
                printed += data
        os.close(near)
        assert process.wait(DEADLINE) == 0, printed
    return printed


def test_lamplighter_logs_has_colours_on_a_terminal_only_and_ends_as_other_tools_do(
    service: Service, client: Any, deploy: Callable[..., str]
) -> None:
    name = deploy(SOURCE)
    client.invoke(LogType="Tail", FunctionName=name, Payload=b'{"say": "ERROR here"}')
    asked = ("logs", name, "--data-dir", str(service.data_dir), "--port", str(service.port), "--filter", "ERROR")
    assert b"\x1b[31mERROR here\x1b[0m" in on_a_terminal(*asked)
    assert b"\x1b" not in on_a_terminal(*asked, NO_COLOR="1")
    assert b"\x1b" not in on_a_terminal(*asked, "--no-color")
    assert "\x1b" not in run(*asked).stdout
    for end, code in (("Ctrl-C", 0), ("a reader that is gone", 1)):
        with subprocess.Popen(
            (*COMMAND, *asked, "--follow"),
            env=clean_environment(PYTHONUNBUFFERED="1"),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        ) as following:
            assert following.stdout and following.stderr
            assert b"ERROR here" in following.stdout.readline()
            if end == "Ctrl-C":
                following.send_signal(signal.SIGINT)
            else:
                following.stdout.close()
                client.invoke(LogType="Tail", FunctionName=name, Payload=b'{"say": "ERROR again"}')
            assert (following.wait(DEADLINE), following.stderr.read()) == (code, b""), end


def test_the_aws_cli_reads_logs(service: Service, logs: Any, group: str, tmp_path: Path) -> None:
    logs.create_log_stream(logGroupName=group, logStreamName="s")
    put(logs, group, "s", "from the CLI")

    def aws(*arguments: str) -> Any:
        done = subprocess.run(
            [sys.executable, "-m", "awscli", "logs", *arguments, "--output", "json"],
            env=clean_environment(**service.environment(), AWS_CONFIG_FILE="", HOME=str(tmp_path)),
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    (found,) = aws("filter-log-events", "--log-group-name", group, "--filter-pattern", "CLI")["events"]
    assert found["message"] == "from the CLI"
    got = aws("get-log-events", "--log-group-name", group, "--log-stream-name", "s")
    assert got["events"][0]["message"] == "from the CLI"


@pytest.mark.skipif(shutil.which("aws2") is None, reason="`aws logs tail` is of the AWS CLI 2; make it known as aws2")
def test_the_aws_cli_tails_and_follows(
    service: Service, client: Any, deploy: Callable[..., str], tmp_path: Path
) -> None:
    name = deploy(SOURCE)
    client.invoke(LogType="Tail", FunctionName=name, Payload=b'{"say": "before"}')
    command = ["aws2", "--endpoint-url", service.url, "logs", "tail", f"/aws/lambda/{name}"]
    variables = clean_environment(**service.environment(), HOME=str(tmp_path), PYTHONUNBUFFERED="1")
    done = subprocess.run(command, env=variables, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 6
    following = subprocess.Popen([*command, "--follow"], env=variables, stdout=subprocess.PIPE, text=True)
    assert following.stdout is not None
    try:
        lines = iter(following.stdout.readline, "")
        for _ in range(6):
            next(lines)
        client.invoke(LogType="Tail", FunctionName=name, Payload=b'{"say": "after"}')
        assert " START RequestId: " in next(lines)
        assert next(lines).endswith(" after\n")
    finally:
        following.terminate()
        following.wait(DEADLINE)
        following.stdout.close()


def test_what_asks_as_sam_and_the_aws_cli_2_do_misses_and_repeats_nothing(logs: Any, group: str) -> None:
    """SAM goes on a millisecond after the newest event; the AWS CLI at it, knowing by ids which it has shown."""
    written = [f"{number}" for number in range(30)]
    by_sam: list[str] = []
    by_cli: dict[str, str] = {}
    sam_from = cli_from = int(time.time() * 1000) - 60_000  # noqa: TID251

    def pages(start: int) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        asked: dict[str, Any] = {"logGroupName": group, "interleaved": True, "startTime": start}
        while True:
            answer = logs.filter_log_events(**asked, limit=4)
            found += answer["events"]
            if not (token := answer.get("nextToken")):
                return found
            asked["nextToken"] = token

    with pytest.raises(logs.exceptions.ResourceNotFoundException):  # until it is called the first time
        logs.filter_log_events(logGroupName=group + "-none", interleaved=True, startTime=sam_from)
    for stream in ("a", "b"):
        logs.create_log_stream(logGroupName=group, logStreamName=stream)
    for count in range(0, 30, 10):
        put(logs, group, "ab"[count // 10 % 2], *written[count : count + 10], at=count / 50)  # each behind those before
        for event in pages(sam_from):
            by_sam.append(event["message"])
            sam_from = max(sam_from, event["timestamp"] + 1)
        for event in pages(cli_from):
            by_cli[event["eventId"]] = event["message"]
            cli_from = max(cli_from, event["timestamp"])
    assert by_sam == written
    assert list(by_cli.values()) == written
    last = pages(cli_from)
    assert [event["message"] for event in last] == ["29"]
    assert last[0]["eventId"] in by_cli


def test_a_time_that_ends_before_it_begins_has_no_events(logs: Any, group: str) -> None:
    logs.create_log_stream(logGroupName=group, logStreamName="s")
    put(logs, group, "s", "x")
    begin = int(time.time() * 1000) + 60_000  # noqa: TID251
    for end, expected in ((begin - 120_000, []), (begin, [])):
        asked = {"logGroupName": group, "startTime": begin, "endTime": end}
        assert logs.filter_log_events(**asked)["events"] == expected
        assert logs.get_log_events(**asked, logStreamName="s")["events"] == expected
    asked = {"logGroupName": group, "startTime": begin - 120_000, "endTime": begin}
    assert [event["message"] for event in logs.filter_log_events(**asked)["events"]] == ["x"]
    assert [event["message"] for event in logs.get_log_events(**asked, logStreamName="s")["events"]] == ["x"]


def test_a_live_tail_that_is_not_read_keeps_nobody_and_little(service: Service, logs: Any, group: str) -> None:
    """80 MB are written while its reader takes nothing off the socket."""
    logs.create_log_stream(logGroupName=group, logStreamName="s")
    arn = logs.describe_log_groups(logGroupNamePrefix=group)["logGroups"][0]["logGroupArn"]
    stream = logs.start_live_tail(logGroupIdentifiers=[arn])["responseStream"]
    reading = logs.start_live_tail(logGroupIdentifiers=[arn], logEventFilterPattern="last")["responseStream"]
    other = iter(reading)
    assert "sessionStart" in next(other)
    put(logs, group, "s", *["warm" * 20_000] * 12)
    before = resident(service.process.pid)
    for number in range(80):
        put(logs, group, "s", *[f"{number} " + "x" * 80_000] * 12)
    assert resident(service.process.pid) - before < 40 << 20
    put(logs, group, "s", "the last")
    within(lambda: next(other)["sessionUpdate"]["sessionResults"], "who reads is told")
    stream.close()
    reading.close()


def resident(pid: int) -> int:
    """Bytes."""
    text = Path(f"/proc/{pid}/status").read_text()
    (line,) = (line for line in text.splitlines() if line.startswith("VmRSS:"))
    return int(line.split()[1]) << 10


def test_logs_survive_kill_9_and_a_restart(data_dir: Path) -> None:
    with Service(data_dir) as service:
        client, logs = service.client(), service.client("logs")
        name = deploy_with(client, SOURCE)
        client.invoke(LogType="Tail", FunctionName=name, Payload=b'{"say": "kept"}')
        logs.create_log_group(logGroupName=GROUP, tags={"a": "b"})
        segments = "logs/*/*.log"
        within(lambda: any(b"kept" in path.read_bytes() for path in data_dir.glob(segments)), "the log is on disk")
        service.kill()
        client.close()
        logs.close()
    for path in data_dir.glob(segments):
        with path.open("ab") as file:
            file.write(os.urandom(50))  # a write that was torn
    with Service(data_dir) as service:
        client, logs = service.client(), service.client("logs")
        assert "kept\n" in messages(logs, f"/aws/lambda/{name}")
        assert logs.list_tags_log_group(logGroupName=GROUP)["tags"] == {"a": "b"}
        client.invoke(LogType="Tail", FunctionName=name, Payload=b'{"say": "more"}')
        assert messages(logs, f"/aws/lambda/{name}", filterPattern="?kept ?more") == ["kept\n", "more\n"]
        client.close()
        logs.close()


def test_without_logs_nothing_is_kept(data_dir: Path) -> None:
    with Service(data_dir, "--logs", "off") as service:
        client, logs = service.client(), service.client("logs")
        name = deploy_with(client, SOURCE)
        tail = client.invoke(FunctionName=name, Payload=b"{}", LogType="Tail")["LogResult"]
        assert b"hello\n" in base64.b64decode(tail)
        assert not logs.describe_log_groups()["logGroups"]
        client.close()
        logs.close()
