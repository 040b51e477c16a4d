"""Invoke over HTTP, from its headers to its headers (AWS: spec 2.1 to 2.3)."""

import asyncio
import base64
import json
import re
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from lamplighter.model.functions import FunctionVersion
from lamplighter.model.invocation import Invocation
from support.environments import version
from support.front_door import House, invoke_path, message
from support.raw_http import Client, Reply, request
from support.sandbox_server import story, until

ECHO = "def handler(event, context):\n    return event\n"
ARN = "arn:aws:lambda:us-east-1:000000000000:function:f"


def invoke(payload: bytes = b"{}", name: str = "f", query: str = "", **headers: str) -> bytes:
    return request("POST", invoke_path(name, query), payload, **headers)


@asynccontextmanager
async def house(task: Path, source: str = ECHO, **members: object) -> AsyncGenerator[tuple[House, Client]]:
    async with House(task) as made, made.client() as client:
        made.deploy(source, **members)
        yield made, client


def refusal(reply: Reply) -> tuple[int, str, str]:
    return reply.status, reply.headers["x-amzn-errortype"], message(reply.body)


@story
async def test_a_call_is_answered_with_what_the_function_returned(tmp_path: Path) -> None:
    async with house(tmp_path) as (made, client):
        for _ in range(3):
            reply = await client.call(invoke(b'{"a": 1}'))
            assert (reply.status, reply.body) == (200, b'{"a": 1}')
            headers = dict(reply.headers)
            assert re.fullmatch(
                r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", headers.pop("x-amzn-requestid")
            )
            assert headers.pop("date").endswith("GMT")
            assert headers == {
                "content-type": "application/json",
                "content-length": "8",
                "x-amz-executed-version": "$LATEST",
            }
        assert len(made.sandboxes.started) == 1
        assert made.store.reads == 1


@story
async def test_no_return_is_null_and_no_payload_is_an_empty_object(tmp_path: Path) -> None:
    async with house(tmp_path, "def handler(event, context):\n    return None if event else event\n") as (_, client):
        assert (await client.call(invoke(b'{"a": 1}'))).body == b"null"
        assert (await client.call(invoke(b""))).body == b"{}"


@story
async def test_a_function_error_is_a_200_that_says_unhandled(tmp_path: Path) -> None:
    async with house(tmp_path, "def handler(event, context):\n    raise ValueError('broken')\n") as (_, client):
        reply = await client.call(invoke())
        assert (reply.status, reply.headers["x-amz-function-error"]) == (200, "Unhandled")
        assert json.loads(reply.body)["errorMessage"] == "broken"


@story
async def test_the_log_tail_comes_on_request(tmp_path: Path) -> None:
    async with house(tmp_path, "def handler(event, context):\n    print('said')\n") as (_, client):
        assert "x-amz-log-result" not in (await client.call(invoke())).headers
        reply = await client.call(invoke(X_Amz_Log_Type="Tail"))
        tail = base64.b64decode(reply.headers["x-amz-log-result"]).decode()
        request_id = reply.headers["x-amzn-requestid"]
        assert tail.startswith(
            f"START RequestId: {request_id} Version: $LATEST\nsaid\nEND RequestId: {request_id}\nREPORT"
        )


@story
async def test_what_the_function_learns_about_its_call(tmp_path: Path) -> None:
    async with house(tmp_path, "def handler(event, context):\n    return context\n") as (_, client):
        context = {"custom": {"näme": "välue\r\n"}, "client": {}}
        reply = await client.call(
            invoke(
                X_Amz_Client_Context=base64.b64encode(json.dumps(context).encode()).decode(),
                X_Amzn_Trace_Id="Root=1-65f0c0de-0123456789abcdef01234567;Sampled=1",
            )
        )
        seen = json.loads(reply.body)
        assert seen["lambda-runtime-aws-request-id"] == reply.headers["x-amzn-requestid"]
        assert seen["lambda-runtime-invoked-function-arn"] == ARN
        trace = r"Root=1-65f0c0de-0123456789abcdef01234567;Sampled=1;Lineage=[0-9a-f]{8}:1"
        assert re.fullmatch(trace, seen["lambda-runtime-trace-id"])
        assert json.loads(seen["lambda-runtime-client-context"]) == context
        again = json.loads((await client.call(invoke(query="Qualifier=%24LATEST"))).body)
        assert again["lambda-runtime-invoked-function-arn"] == f"{ARN}:$LATEST"
        assert re.fullmatch(
            r"Root=1-[0-9a-f]{8}-[0-9a-f]{24};Parent=[0-9a-f]{16};Sampled=0;Lineage=[0-9a-f]{8}:1",
            again["lambda-runtime-trace-id"],
        )
        assert "lambda-runtime-client-context" not in again


NAMES = [
    "f",
    "f:$LATEST",
    "000000000000:function:f",
    "arn%3Aaws%3Alambda%3Aus-east-1%3A000000000000%3Afunction%3Af",
    "f/",
]


@pytest.mark.parametrize("name", NAMES)
@story
async def test_a_function_may_be_named_in_every_way(tmp_path: Path, name: str) -> None:
    async with house(tmp_path) as (_, client):
        path = invoke_path(name) if name != "f/" else invoke_path("f") + "/"
        assert (await client.call(request("POST", path, b"1"))).body == b"1"


@story
async def test_a_dry_run_runs_nothing(tmp_path: Path) -> None:
    async with house(tmp_path) as (made, client):
        reply = await client.call(invoke(X_Amz_Invocation_Type="DryRun"))
        assert (reply.status, reply.body, "content-length" in reply.headers) == (204, b"", False)
        missing = await client.call(invoke(name="nowhere", X_Amz_Invocation_Type="DryRun"))
        assert missing.status == 404
        assert made.sandboxes.started == []


@story
async def test_an_event_is_accepted_where_something_accepts_it_and_refused_elsewhere(tmp_path: Path) -> None:
    accepted: list[tuple[FunctionVersion, Invocation]] = []

    async def accept(function: FunctionVersion, invocation: Invocation) -> None:
        async with asyncio.timeout(5):  # which only a task can
            await asyncio.sleep(0)
        accepted.append((function, invocation))

    async with house(tmp_path) as (_, client):
        assert (await client.call(invoke(X_Amz_Invocation_Type="Event"))).status == 404
    async with House(tmp_path, accept=accept) as made, made.client() as client:
        made.deploy(ECHO)
        reply = await client.call(invoke(b"[1]", X_Amz_Invocation_Type="Event"))
        assert (reply.status, reply.body, "x-amz-executed-version" in reply.headers) == (202, b"", False)
        assert accepted[0][1].payload == b"[1]"
        assert accepted[0][1].request_id == reply.headers["x-amzn-requestid"]
        large = await client.call(invoke(b'"' + b"x" * 1_048_576 + b'"', X_Amz_Invocation_Type="Event"))
        assert refusal(large) == (
            413,
            "RequestTooLargeException",
            "Request must be smaller than 1048576 bytes for the InvokeFunction operation",
        )


REFUSED = {
    "unknown": (
        invoke(name="doesnotexist"),
        (404, "ResourceNotFoundException", f"Function not found: {ARN[:-1]}doesnotexist:$LATEST"),
    ),
    "unknown version": (
        invoke(query="Qualifier=42"),
        (404, "ResourceNotFoundException", f"Function not found: {ARN}:42"),
    ),
    "two qualifiers": (
        invoke(name="f:$LATEST", query="Qualifier=1"),
        (
            400,
            "InvalidParameterValueException",
            "The derived qualifier from the function name does not match the specified qualifier.",
        ),
    ),
    "another account": (invoke(name="111111111111:function:f"), (403, "AccessDeniedException", None)),
    "another type": (
        invoke(X_Amz_Invocation_Type="Sometime"),
        (
            400,
            "ValidationException",
            "1 validation error detected: Value 'Sometime' at 'invocationType' failed to satisfy constraint: "
            "Member must satisfy enum value set: [Event, RequestResponse, DryRun]",
        ),
    ),
    "another log type": (
        invoke(X_Amz_Log_Type="Head"),
        (
            400,
            "ValidationException",
            "1 validation error detected: Value 'Head' at 'logType' failed to satisfy constraint: "
            "Member must satisfy enum value set: [None, Tail]",
        ),
    ),
    "a tenant": (
        invoke(X_Amz_Tenant_Id="someone"),
        (
            400,
            "InvalidParameterValueException",
            "The invoked function is not enabled with tenancy configuration. Remove the TenantId and try again.",
        ),
    ),
    "context": (
        invoke(X_Amz_Client_Context="bm90IGpzb24="),
        (400, "InvalidRequestContentException", "Client context must be a valid Base64-encoded JSON object."),
    ),
    "no json": (
        invoke(b"test"),
        (
            400,
            "InvalidRequestContentException",
            "Could not parse request body into json: Could not parse payload into json: Unrecognized token 'test': "
            "was expecting (JSON String, Number, Array, Object or token 'null', 'true' or 'false')\n"
            " at [Source: REDACTED (`StreamReadFeature.INCLUDE_SOURCE_IN_LOCATION` disabled); line: 1, column: 5]",
        ),
    ),
    "no json, unknown": (
        invoke(b"test", name="doesnotexist"),
        (404, "ResourceNotFoundException", f"Function not found: {ARN[:-1]}doesnotexist:$LATEST"),
    ),
}


@pytest.mark.parametrize("case", REFUSED)
@story
async def test_what_is_wrong_is_refused_in_awss_words_and_order(tmp_path: Path, case: str) -> None:
    data, (status, code, text) = REFUSED[case]
    async with house(tmp_path) as (made, client):
        for _ in range(2):  # what is remembered of the first must not change the second
            reply = await client.call(data)
            members = json.loads(reply.body)
            assert (reply.status, reply.headers["x-amzn-errortype"]) == (status, code)
            assert members.get("Message", members.get("message")) == text
        assert (await client.call(invoke(b"1"))).body == b"1"
        assert len(made.sandboxes.started) == 1


@pytest.mark.parametrize("state", ["Pending", "Failed", "Inactive"])
@story
async def test_a_function_that_is_not_active_is_a_conflict(tmp_path: Path, state: str) -> None:
    async with house(tmp_path) as (made, client):
        made.store.put(version(state=state))
        assert refusal(await client.call(invoke())) == (
            409,
            "ResourceConflictException",
            "The operation cannot be performed at this time. "
            f"The function is currently in the following state: {state}",
        )
        made.deploy(ECHO)
        assert (await client.call(invoke(b"1"))).body == b"1"


@story
async def test_a_throttle_says_which_limit(tmp_path: Path) -> None:
    async with House(tmp_path, limit=1) as made, made.client() as one, made.client() as two:
        made.deploy("import time\ndef handler(event, context):\n    time.sleep(event)\n")
        await one.call(invoke(b"0"))
        one.send(invoke(b"1"))
        await until(lambda: made.limits.running, "it runs")
        reply = await two.call(invoke(b"0"))
        assert (reply.status, json.loads(reply.body)) == (
            429,
            {"Type": "User", "message": "Rate Exceeded.", "Reason": "ConcurrentInvocationLimitExceeded"},
        )
        assert (await one.reply()).status == 200
        await until(lambda: not made.limits.running, "it is over")
        assert (await two.call(invoke(b"0"))).status == 200


@story
async def test_payloads_up_to_six_megabytes_pass_and_larger_ones_do_not(tmp_path: Path) -> None:
    async with house(tmp_path, timeout=30) as (_, client):
        largest = b'"' + b"x" * 6_291_554 + b'"'
        assert (await client.call(invoke(largest))).body == largest
        assert refusal(await client.call(invoke(largest + b" "))) == (
            413,
            "RequestTooLargeException",
            "Request must be smaller than 6291556 bytes for the InvokeFunction operation",
        )


@story
async def test_a_large_answer_comes_whole_however_many_pieces_it_was_sent_in(tmp_path: Path) -> None:
    code = """
import http.client, os

def handler(size, context):
    runtime = http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])
    path = f"/2018-06-01/runtime/invocation/{context['lambda-runtime-aws-request-id']}/response"
    runtime.request("POST", path, (b"x" * size for _ in range(2_000_000 // size)), encode_chunked=True)
    runtime.getresponse().read()
    os._exit(0)
"""
    async with house(tmp_path, code, timeout=30) as (_, client):
        for size in (100_000, 100):
            reply = await client.call(invoke(b"%d" % size))
            assert (reply.status, reply.body) == (200, b"x" * 2_000_000)


@story
async def test_a_large_error_comes_whole_with_its_log(tmp_path: Path) -> None:
    code = "def handler(event, context):\n    print('said')\n    raise ValueError('x' * 3_000_000)\n"
    async with house(tmp_path, code, timeout=30) as (_, client):
        reply = await client.call(invoke(X_Amz_Log_Type="Tail"))
        assert reply.headers["x-amz-function-error"] == "Unhandled"
        assert json.loads(reply.body)["errorMessage"] == "x" * 3_000_000
        assert b"said" in base64.b64decode(reply.headers["x-amz-log-result"])


@story
async def test_an_update_is_seen_by_the_next_call_and_the_old_environments_end(tmp_path: Path) -> None:
    async with house(tmp_path, "def handler(event, context):\n    return 'old'\n") as (made, client):
        assert (await client.call(invoke())).body == b'"old"'
        made.deploy("def handler(event, context):\n    return 'new'\n", generation=2)
        assert (await client.call(invoke())).body == b'"new"'
        await until(lambda: made.sandboxes.started[0].ended, "the old environment ends")
        made.store.remove(version())
        assert (await client.call(invoke())).status == 404
        await until(lambda: made.sandboxes.started[1].ended, "a deleted function's environment ends")


@story
async def test_another_revision_of_the_same_generation_keeps_its_environments(tmp_path: Path) -> None:
    async with house(tmp_path) as (made, client):
        await client.call(invoke())
        made.store.put(replace(made.store.versions[version().id, "$LATEST"], revision="s"))
        await client.call(invoke())
        assert len(made.sandboxes.started) == 1


@story
async def test_when_nothing_can_run_it_is_our_fault_and_says_no_more(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with house(tmp_path) as (made, client):
        made.sandboxes.broken = "the kernel has no room"
        reply = await client.call(invoke())
        request_id = reply.headers["x-amzn-requestid"]
        assert refusal(reply)[:2] == (500, "ServiceException")
        assert "kernel" not in reply.body.decode()
        assert f"request {request_id}: no environment" in caplog.text
        assert "the kernel has no room" in caplog.text
        made.sandboxes.broken = None
        assert (await client.call(invoke(b"1"))).body == b"1"


@story
async def test_many_at_once_each_get_their_own_answer(tmp_path: Path) -> None:
    async with house(tmp_path) as (made, _):

        async def caller(number: int) -> None:
            async with made.client() as client:
                for turn in range(20):
                    payload = f"[{number}, {turn}]".encode()
                    assert (await client.call(invoke(payload))).body == payload

        await asyncio.gather(*(caller(number) for number in range(8)))
        assert len(made.sandboxes.started) <= 8
