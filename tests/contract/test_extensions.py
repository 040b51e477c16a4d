"""Extensions in real sandboxes, through init, invocations and SHUTDOWN (AWS: spec 3.1, 3.4)."""

import asyncio
import json
from dataclasses import replace

import pytest

from lamplighter.model.clock import SystemClock
from lamplighter.model.functions import CodePackage
from lamplighter.sandbox.contract import Exit, Isolation
from lamplighter.worker.extensions import Extension
from support.environments import invocation
from support.extensions import RUNTIME, WELL, layered
from support.sandbox_server import story, until

ID = invocation().request_id
DO_NOTHING = invocation(b"{}")


@story
async def test_an_extension_goes_with_its_environment_from_init_to_shutdown() -> None:
    async with layered(watcher="register('INVOKE', 'SHUTDOWN')\nprint(TOLD)\n" + WELL.split("\n", 1)[1]) as made:
        environment = await made.start()
        outcome = await environment.run(DO_NOTHING)
        await until(lambda: not environment.busy, "the phase is over")
        ended = SystemClock().now()
        await environment.end()
    assert (outcome.payload, outcome.error) == (b"5", None)
    told = {"functionName": "f", "functionVersion": "$LATEST", "handler": "app.handler", "accountId": "000000000000"}
    assert str(told) in made.log
    assert "EXTENSION\tName: watcher\tState: Ready\tEvents: [INVOKE, SHUTDOWN]" in made.log
    invoke, shutdown = (json.loads(line.removeprefix("watcher ")) for line in made.saying("watcher {"))
    assert 0 < invoke.pop("deadlineMs") / 1000 - ended < 20
    assert invoke == {
        "eventType": "INVOKE",
        "requestId": ID,
        "invokedFunctionArn": DO_NOTHING.invoked_arn,
        "tracing": {"type": "X-Amzn-Trace-Id", "value": DO_NOTHING.trace_id},
    }
    assert 0 < shutdown.pop("deadlineMs") / 1000 - ended < 3
    assert shutdown == {"eventType": "SHUTDOWN", "shutdownReason": "spindown"}
    assert made.log.index("runtime terminated") < made.log.index(made.saying('SHUTDOWN",')[0])


@story
async def test_a_phase_lasts_until_extensions_are_done_and_the_caller_does_not_wait_for_them() -> None:
    slow = "register('INVOKE')\nfollow()\nwhile not os.path.exists('/tmp/on'): time.sleep(0.01)\nfollow()\n"
    on = "register()\nimport threading\nthreading.Timer(1, lambda: open('/tmp/on', 'w')).start()\nfollow()\n"
    async with layered(slow=slow, other=on) as made:
        environment = await made.start()
        outcome = await environment.run(DO_NOTHING)
        assert outcome.payload == b"5"
        await until(lambda: not environment.busy, "the extension has asked again")
        await environment.end()
    (ran,) = made.ran
    assert ran.status == "success"
    assert 0 <= ran.extensions <= ran.duration
    assert made.log.index("ran") < made.log.index(made.saying("REPORT")[0])


@story
async def test_the_time_out_counts_extensions_and_ends_them_with_the_reason() -> None:
    late = """
register('INVOKE', 'SHUTDOWN')
follow()
while not os.path.exists('/tmp/over'): time.sleep(0.01)
follow()
"""
    async with layered(late=late, well=WELL + "open('/tmp/over', 'w')\n") as made:
        environment = await made.start(timeout=5)
        outcome = await environment.run(DO_NOTHING)
        assert (outcome.payload, outcome.error) == (b"5", None)  # it was in time
        await until(lambda: not environment.busy, "the time-out")
        environment.function = replace(environment.function, timeout=60)
        again = await environment.run(DO_NOTHING)  # with a new init, extensions anew, and its time all its own
        assert again.payload == b"5"
        await environment.end()
    ran = made.ran[0]
    assert ran.status == "timeout"
    assert 0 < ran.extensions <= ran.duration
    assert made.saying("Task timed out after 5.00 seconds")
    assert [line.split()[0] for line in made.saying('"shutdownReason": "timeout"')] == ["well", "late"]


@story
async def test_an_extension_that_dies_fails_the_invocation_and_others_hear_of_it() -> None:
    dies = "register('INVOKE')\nfollow()\nprint('last words')\nsys.exit(3)\n"
    async with layered(dies=dies, well=WELL) as made:
        environment = await made.start()
        outcome = await environment.run(invocation(b'{"do": "time.sleep(60)"}'))
        await environment.end()
    assert outcome.error == "Unhandled"
    message = f"RequestId: {ID} Error: exit code 3"
    assert json.loads(outcome.payload) == {"errorType": "Extension.Crash", "errorMessage": message}
    assert made.log.index("last words") < made.log.index(message) == made.log.index("Extension.Crash") - 1
    assert [line.split()[0] for line in made.saying('"shutdownReason": "failure"')] == ["well"]
    assert made.saying("REPORT")[0].endswith("Status: error\tError Type: Extension.Crash")


@story
async def test_an_extension_that_dies_while_its_environment_is_being_ended_is_no_news() -> None:
    async with layered(well=WELL) as made:
        environment = await made.start()
        await environment.run(invocation(b"{}"))
        ending = asyncio.create_task(environment.end())
        await asyncio.sleep(0)  # it is dead, and its sandbox not let go yet
        environment.extension_failed(Extension("well", True), Exit(signal=9))
        await ending
    assert not made.saying("Extension.Crash")


@story
async def test_init_fails_with_an_extension_that_cannot_go_on() -> None:
    posts = "register()\ncall('init/error', b'{}', lambda_extension_function_error_type='My.Reason', **ME)\n"
    async with layered(posts=posts) as made:
        environment = await made.start()
        outcome = await environment.run(DO_NOTHING)
    message = f"RequestId: {ID} Error: exit code 0"
    assert json.loads(outcome.payload) == {"errorType": "Extension.InitError", "errorMessage": message}
    assert "EXTENSION\tName: posts\tState: InitError\tEvents: []\tError Type: My.Reason" in made.log
    assert [line.split("\t", 1)[1] for line in made.saying("INIT_REPORT")] == [
        f"Phase: {phase}\tStatus: error\tError Type: Extension.InitError" for phase in ("init", "invoke")
    ]


@story
async def test_init_fails_with_an_extension_that_cannot_be_run() -> None:
    async with layered(broken="#!/no/such/program\n") as made:
        outcome = await (await made.start()).run(DO_NOTHING)
    reason = "fork/exec /opt/extensions/broken: no such file or directory"
    message = f"RequestId: {ID} Error: {reason}"
    assert json.loads(outcome.payload) == {"errorType": "Extension.LaunchError", "errorMessage": message}


@story
async def test_a_runtime_that_does_not_heed_sigterm_leaves_extensions_their_time() -> None:
    async with layered(well=WELL) as made:
        environment = await made.start()
        await environment.run(invocation(b'{"do": "signal.signal(15, signal.SIG_IGN)"}'))
        await until(lambda: not environment.busy, "the phase is over")
        await environment.end()
    assert made.saying('"shutdownReason": "spindown"')
    assert "runtime terminated" not in made.log


@story
async def test_a_runtime_without_any_extension_is_ended_at_once_and_hears_nothing_of_it() -> None:
    async with layered() as made:
        environment = await made.start()
        assert (await environment.run(DO_NOTHING)).payload == b"5"
        await until(lambda: not environment.busy, "the phase is over")
        await environment.end()
    assert "ran" in made.log
    assert "runtime terminated" not in made.log


_INTERNAL = """
import threading
API = "http://" + os.environ["AWS_LAMBDA_RUNTIME_API"] + "/2020-01-01/extension/"
def inner(registered=threading.Event()):
    request = urllib.request.Request(API + "register", b'{"events": ["INVOKE"]}', {"Lambda-Extension-Name": "inner"})
    with urllib.request.urlopen(request) as reply:
        me = {"Lambda-Extension-Identifier": reply.headers["Lambda-Extension-Identifier"]}
    registered.set()
    while True:
        urllib.request.urlopen(urllib.request.Request(API + "event/next", None, me)).read()
registered = threading.Event()
threading.Thread(target=inner, args=(registered,), daemon=True).start()
registered.wait()
"""


@pytest.mark.parametrize("mode", [pytest.param("full", marks=pytest.mark.root), "user"])
@story
async def test_a_runtime_with_an_extension_within_itself_alone_hears_of_its_end_too(mode: Isolation) -> None:
    async with layered(mode) as made:
        digest = made.package({"app.py": RUNTIME.replace("signal.signal", _INTERNAL + "signal.signal", 1)})
        environment = await made.start(code=CodePackage(digest, 1), layers=())
        outcome = await environment.run(DO_NOTHING)
        assert outcome.payload == b"5"
        await until(lambda: not environment.busy, "the phase is over")
        await environment.end()
        assert "runtime terminated" in made.log
        deaf = await made.start(code=CodePackage(digest, 1), layers=())
        await deaf.run(invocation(b'{"do": "signal.signal(15, signal.SIG_IGN)"}'))
        await until(lambda: not deaf.busy, "the phase is over")
        await deaf.end()
        assert made.log.count("runtime terminated") == 1


@story
async def test_many_environments_are_shut_down_at_a_time_and_none_stays() -> None:
    stubborn = "register('INVOKE', 'SHUTDOWN')\nfollow()\nfollow()\ntime.sleep(60)\n"
    async with layered(stubborn=stubborn) as made:
        environments = [await made.start() for _ in range(3)]
        for environment in environments:
            await environment.run(DO_NOTHING)
            await until(lambda environment=environment: not environment.busy, "the phase is over")
        await made.worker.close()
        assert not any(environment.alive for environment in environments)
    assert len(made.saying('"shutdownReason": "spindown"')) == 3


@story
async def test_an_extension_that_floods_the_api_harms_nobody() -> None:
    flood = """
import socket, threading
host, port = os.environ["AWS_LAMBDA_RUNTIME_API"].split(":")
def hammer(head, body):
    while True:
        try:
            made = socket.create_connection((host, int(port)))
            while True:
                made.sendall(b"POST /2020-01-01/extension/" + head + b" HTTP/1.1\\r\\nHost: x\\r\\n"
                    b"Content-Length: %d\\r\\n\\r\\n" % len(body) + body)
        except OSError:
            time.sleep(0.01)
register("INVOKE", "SHUTDOWN")
for head, body in ((b"register", b"{" * 100), (b"register", b"x" * 5_000_000), (b"init/error", b""), (b"no", b"")):
    threading.Thread(target=hammer, args=(head, body), daemon=True).start()
while follow()["eventType"] != "SHUTDOWN":
    pass
os._exit(0)
"""
    async with layered(flood=flood) as made:
        environment = await made.start()
        for _ in range(3):
            assert (await environment.run(DO_NOTHING)).payload == b"5"
            await until(lambda: not environment.busy, "the phase is over")
        await environment.end()
    assert len(made.saying('"eventType": "INVOKE"')) == 3
