"""What becomes of asynchronous events, minute by minute (AWS: spec 5)."""

import asyncio
import json
from pathlib import Path

import pytest

from lamplighter.events.destinations import Undeliverable
from lamplighter.invoke.limits import Share
from lamplighter.model.errors import TooManyRequestsException
from lamplighter.model.functions import FunctionVersion
from lamplighter.model.invocation import Invocation, Outcome
from lamplighter.worker.contract import WorkerError
from support.control import ACCOUNT, REGION, ManualClock, function_id, run
from support.events import FAILED, TRACE, fail, scene, settled, succeed, until

QUEUE = f"arn:aws:sqs:{REGION}:{ACCOUNT}:records"
LETTERS = f"arn:aws:sqs:{REGION}:{ACCOUNT}:letters"
ON_FAILURE = {"OnFailure": {"Destination": QUEUE}}
ON_SUCCESS = {"OnSuccess": {"Destination": QUEUE}}


def test_an_event_runs_once_with_its_own_request_id(tmp_path: Path):
    async def main() -> None:
        async with scene(tmp_path) as s:
            await s.function("f")
            id = await s.accept("f", b'{"a": 1}')
            await s.empty()
            ((version, invocation),) = s.ran
            assert (version, invocation.request_id, invocation.payload) == ("$LATEST", id, b'{"a": 1}')
            assert invocation.trace_id.startswith(f"{TRACE};Lineage=")
            assert s.measured == [("AsyncEventsReceived", "f"), ("AsyncEventAge", "f")]

    run(main)


@pytest.mark.parametrize(("retries", "times"), [(None, 3), (2, 3), (1, 2), (0, 1)])
def test_a_failure_is_retried_after_one_minute_and_then_two(tmp_path: Path, retries: int | None, times: int):
    async def main() -> None:
        async with scene(tmp_path, fail) as s:
            await s.function("f", DeadLetterConfig={"TargetArn": LETTERS})
            wanted = {} if retries is None else {"MaximumRetryAttempts": retries}
            await s.configure("f", DestinationConfig=ON_FAILURE, **wanted)
            id = await s.accept("f", b'{"a": 1}')
            await s.ran_times(1)
            for number, delay in enumerate((60, 120)[: times - 1]):
                await s.move(delay - 0.5)
                await s.ran_times(number + 1)
                await s.move(0.5)
                await s.ran_times(number + 2)
            await s.empty()
            (record,) = s.records()
            assert record["requestContext"] == {
                "requestId": id,
                "functionArn": f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:f:$LATEST",
                "condition": "RetriesExhausted",
                "approximateInvokeCount": times,
            }
            assert record["responsePayload"] == json.loads(FAILED.payload)
            assert record["responseContext"] == {
                "statusCode": 200,
                "executedVersion": "$LATEST",
                "functionError": "Unhandled",
            }
            (letter,) = s.letters()
            assert (letter.target, letter.body, letter.error) == (LETTERS, b'{"a": 1}', (200, "no luck"))
            (counts, *_) = await s.queue.counts()
            assert counts.died == {"RetriesExhausted": 1}

    run(main)


def test_retry_counts_and_ages_survive_a_restart(tmp_path: Path):
    async def main() -> None:
        clock = ManualClock()
        async with scene(tmp_path, fail, clock=clock) as s:
            await s.function("f")
            await s.configure("f", DestinationConfig=ON_FAILURE, MaximumEventAgeInSeconds=150)
            await s.accept("f")
            await s.ran_times(1)
        clock.time += 30
        async with scene(tmp_path, fail, clock=clock) as s:
            await settled()
            assert s.ran == []
            await s.move(30)
            await s.ran_times(1)
            await s.empty()
            context = s.records()[0]["requestContext"]
            assert (context["condition"], context["approximateInvokeCount"]) == ("EventAgeExceeded", 2)

    run(main)


def test_an_event_is_not_kept_for_a_retry_that_would_come_too_late(tmp_path: Path):
    """As recorded: with a maximum age of a minute there is one attempt, with two minutes there are two."""

    async def main() -> None:
        async with scene(tmp_path, fail) as s:
            for age, attempts in ((60, 1), (120, 2)):
                await s.function(f"f{age}")
                await s.configure(f"f{age}", DestinationConfig=ON_FAILURE, MaximumEventAgeInSeconds=age)
                await s.accept(f"f{age}")
                for _ in range(attempts - 1):
                    await settled()
                    await s.move(60)
                await s.empty()
                record = s.records()[-1]
                assert record["requestContext"]["condition"] == "EventAgeExceeded"
                assert record["requestContext"]["approximateInvokeCount"] == attempts
                assert record["responsePayload"]["errorMessage"] == "no luck"

    run(main)


def test_an_update_of_the_configuration_applies_to_what_waits(tmp_path: Path):
    async def main() -> None:
        async with scene(tmp_path, fail) as s:
            await s.function("f")
            await s.accept("f")
            await s.ran_times(1)
            await s.configure("f", DestinationConfig=ON_FAILURE, MaximumRetryAttempts=1)
            await s.move(60)
            await s.empty()
            assert len(s.ran) == 2
            assert s.records()[0]["requestContext"]["condition"] == "RetriesExhausted"

    run(main)


def test_each_qualifier_has_rules_of_its_own_and_an_alias_is_followed_at_each_attempt(tmp_path: Path):
    async def main() -> None:
        async with scene(tmp_path, fail) as s:
            await s.function("f")
            await s.plane.call("PublishVersion", FunctionName="f")
            await s.plane.call("UpdateFunctionConfiguration", FunctionName="f", Timeout=9)
            await s.plane.settled("f")
            await s.plane.call("PublishVersion", FunctionName="f")
            await s.plane.call("CreateAlias", FunctionName="f", Name="live", FunctionVersion="1")
            await s.configure("f", Qualifier="live", DestinationConfig=ON_FAILURE, MaximumRetryAttempts=1)
            await s.configure("f", Qualifier="1", MaximumRetryAttempts=0)
            await s.accept("f", qualifier="live")
            await s.ran_times(1)
            await s.plane.call("UpdateAlias", FunctionName="f", Name="live", FunctionVersion="2")
            await s.move(60)
            await s.empty()
            assert [version for version, _ in s.ran] == ["1", "2"]
            (record,) = s.records()
            assert record["requestContext"]["functionArn"].endswith(":f:live")
            assert record["responseContext"]["executedVersion"] == "2"

    run(main)


def test_a_success_goes_to_its_destination_and_to_no_dead_letter_queue(tmp_path: Path):
    async def main() -> None:
        async with scene(tmp_path) as s:
            await s.function("f", DeadLetterConfig={"TargetArn": LETTERS})
            await s.configure("f", DestinationConfig=ON_SUCCESS | ON_FAILURE)
            await s.accept("f", b"[1]")
            await s.empty()
            (record,) = s.records()
            assert record["requestContext"]["condition"] == "Success"
            assert (record["requestPayload"], record["responsePayload"]) == ([1], [1])
            assert len(s.targets.taken) == 1
            assert (await s.queue.counts()) == []

    run(main)


def test_a_function_as_destination_gets_the_record_as_its_next_event(tmp_path: Path):
    async def main() -> None:
        async with scene(tmp_path) as s:
            other = await s.function("other")
            await s.function("f")
            await s.configure("f", DestinationConfig={"OnSuccess": {"Destination": other.arn}})
            id = await s.accept("f")
            await s.empty()
            _, (_, second) = s.ran
            assert json.loads(second.payload)["requestContext"]["requestId"] == id
            assert second.request_id != id
            assert second.invoked_arn == other.arn
            assert second.trace_id.count(":1") == 2  # both are in the lineage

    run(main)


def test_a_throttled_event_costs_no_retry_and_runs_as_soon_as_it_may(tmp_path: Path):
    async def main() -> None:
        answer: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()

        async def wait(function: FunctionVersion, invocation: Invocation) -> Outcome:
            return await asyncio.shield(answer)

        async with scene(tmp_path, wait) as s:
            await s.function("f")
            await s.plane.call("PutFunctionConcurrency", FunctionName="f", ReservedConcurrentExecutions=2)
            for _ in range(5):
                await s.accept("f")
            await s.ran_times(2)
            await s.move(1000)
            await s.ran_times(2)
            answer.set_result(Outcome(b"1"))  # the clock stands still: only the release can have woken the others
            await s.empty()
            assert len(s.ran) == 5
            assert s.targets.taken == []

    run(main)


def test_a_throttled_queue_is_not_tried_over_and_over(tmp_path: Path):
    async def main() -> None:
        async with scene(tmp_path) as s:
            share, refused = s.limits.share(await s.function("g")), 0
            admit = Share.admit

            def counted(self: Share, now: float | None = None) -> None:
                nonlocal refused
                refused += 1
                admit(self, now)

            await s.plane.call("PutFunctionConcurrency", FunctionName="g", ReservedConcurrentExecutions=1)
            share.admit()  # somebody else has it
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(Share, "admit", counted)
                for _ in range(50):
                    await s.accept("g")
                await settled()
                first = refused
                assert first <= 8
                for _ in range(40):
                    await s.move(5)
                assert refused - first <= 10  # at growing intervals
            share.release()
            await s.empty()
            assert len(s.ran) == 50

    run(main)


def test_waiting_for_concurrency_ends_at_the_maximum_age(tmp_path: Path):
    async def main() -> None:
        async with scene(tmp_path) as s:
            id = await s.function("f", DeadLetterConfig={"TargetArn": LETTERS})
            await s.plane.call("PutFunctionConcurrency", FunctionName="f", ReservedConcurrentExecutions=1)
            await s.configure("f", DestinationConfig=ON_FAILURE, MaximumEventAgeInSeconds=60)
            s.limits.share(id).admit()
            await s.accept("f", b'"old"')
            await settled()
            await s.move(61)
            s.limits.share(id).release()
            await s.empty()
            assert s.ran == []
            (record,) = s.records()
            assert record["requestContext"]["condition"] == "EventAgeExceeded"
            assert record["requestContext"]["approximateInvokeCount"] == 0
            assert "responseContext" not in record
            (letter,) = s.letters()
            assert (letter.body, letter.error) == (b'"old"', (429, "Rate Exceeded."))

    run(main)


def test_a_function_that_is_switched_off_sends_its_events_on_at_once(tmp_path: Path):
    async def main() -> None:
        async with scene(tmp_path) as s:
            await s.function("f")
            await s.configure("f", DestinationConfig=ON_FAILURE)
            await s.plane.call("PutFunctionConcurrency", FunctionName="f", ReservedConcurrentExecutions=0)
            await s.accept("f")
            await s.empty()
            assert s.ran == []
            context = s.records()[0]["requestContext"]
            assert (context["condition"], context["approximateInvokeCount"]) == ("ZeroReservedConcurrency", 0)

    run(main)


def test_switching_a_function_off_ends_what_waits_for_concurrency(tmp_path: Path):
    async def main() -> None:
        async with scene(tmp_path) as s:
            id = await s.function("f")
            await s.configure("f", DestinationConfig=ON_FAILURE)
            await s.plane.call("PutFunctionConcurrency", FunctionName="f", ReservedConcurrentExecutions=1)
            s.limits.share(id).admit()
            await s.accept("f")
            await settled()
            await s.plane.call("PutFunctionConcurrency", FunctionName="f", ReservedConcurrentExecutions=0)
            await s.empty()
            assert s.records()[0]["requestContext"]["condition"] == "ZeroReservedConcurrency"
            s.limits.share(id).release()

    run(main)


def test_failures_of_the_service_back_off_and_cost_no_retry(tmp_path: Path):
    async def main() -> None:
        broken = True

        async def run_(function: FunctionVersion, invocation: Invocation) -> Outcome:
            if broken:
                raise WorkerError("no room")
            return Outcome(b"1")

        async with scene(tmp_path, run_) as s:
            await s.function("f")
            await s.configure("f", DestinationConfig=ON_SUCCESS, MaximumRetryAttempts=0)
            await s.accept("f")
            await s.ran_times(1)
            for number, delay in enumerate((1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300)):
                await s.move(delay - 0.5)
                await s.ran_times(number + 1)
                await s.move(0.5)
                await s.ran_times(number + 2)
            broken = False
            await s.move(300)
            await s.empty()
            assert s.records()[0]["requestContext"]["approximateInvokeCount"] == 1

    run(main)


def test_nothing_runs_after_its_maximum_age(tmp_path: Path):
    async def main() -> None:
        async def broken(function: FunctionVersion, invocation: Invocation) -> Outcome:
            raise WorkerError("no room")

        async with scene(tmp_path, broken) as s:
            await s.function("f")
            await s.configure("f", DestinationConfig=ON_FAILURE, MaximumEventAgeInSeconds=60)
            await s.accept("f")
            await s.ran_times(1)
            began = s.clock.time
            while await s.queue.queues():
                before, seen = s.clock.time - began, len(s.ran)
                await s.move(1)
                assert before < 60 or len(s.ran) == seen
            assert s.clock.time - began <= 75  # the clock is moved on while the disk still writes the end
            assert s.records()[0]["requestContext"]["condition"] == "EventAgeExceeded"

    run(main)


def test_an_environment_that_comes_after_the_maximum_age_runs_nothing(tmp_path: Path):
    async def main() -> None:
        asked, there = asyncio.Event(), asyncio.Event()

        async def starting() -> None:
            asked.set()
            await there.wait()

        async with scene(tmp_path, starting=starting) as s:
            await s.function("f")
            await s.configure("f", DestinationConfig=ON_FAILURE, MaximumEventAgeInSeconds=60)
            await s.accept("f")
            await asked.wait()
            await s.move(60)
            there.set()
            await s.empty()
            assert s.ran == []
            assert s.records()[0]["requestContext"]["condition"] == "EventAgeExceeded"
            await s.accept("f")  # the environment is good for the next one
            await s.ran_times(1)

    run(main)


def test_the_events_of_a_deleted_function_are_dropped_those_of_a_deleted_alias_are_not_silently(tmp_path: Path):
    async def main() -> None:
        async with scene(tmp_path, fail) as s:
            await s.function("f", DeadLetterConfig={"TargetArn": LETTERS})
            await s.plane.call("PublishVersion", FunctionName="f")
            await s.plane.call("CreateAlias", FunctionName="f", Name="live", FunctionVersion="1")
            await s.accept("f")
            await s.accept("f", qualifier="live")
            await s.ran_times(2)
            await s.plane.call("DeleteAlias", FunctionName="f", Name="live")
            await s.move(60)
            await s.ran_times(3)
            (letter,) = s.letters()
            assert letter.error is not None
            assert letter.error[0] == 404
            await s.plane.call("DeleteFunction", FunctionName="f")
            await s.move(120)
            await s.empty()
            assert len(s.ran) == 3
            assert ("AsyncEventsDropped", "f") in s.measured

    run(main)


def test_the_17th_pass_of_a_chain_is_refused_unless_loops_are_allowed(tmp_path: Path):
    async def main() -> None:
        async with scene(tmp_path) as s:
            await s.function("f", DeadLetterConfig={"TargetArn": LETTERS})
            trace = TRACE
            for _ in range(16):
                await s.accept("f", trace=trace)
                await s.empty()
                trace = s.ran[-1][1].trace_id
            assert len(s.ran) == 16
            await s.accept("f", trace=trace)
            await s.empty()
            assert len(s.ran) == 16
            (letter,) = s.letters()
            assert letter.error is not None
            assert letter.error[0] == 400
            await s.plane.call("PutFunctionRecursionConfig", FunctionName="f", RecursiveLoop="Allow")
            await s.accept("f", trace=trace)
            await s.empty()
            assert len(s.ran) == 17

    run(main)


def test_functions_that_call_each_other_by_their_destinations_for_ever_are_stopped(tmp_path: Path):
    async def main() -> None:
        async def small(function: FunctionVersion, invocation: Invocation) -> Outcome:
            return Outcome(b"1")

        async with scene(tmp_path, small) as s:
            f, g = await s.function("f"), await s.function("g")
            await s.configure("f", DestinationConfig={"OnSuccess": {"Destination": g.arn}})
            await s.configure("g", DestinationConfig={"OnSuccess": {"Destination": f.arn}})
            await s.accept("f")
            await s.empty()
            assert len(s.ran) == 32

    run(main)


def test_deliveries_are_tried_until_they_are_taken_and_survive_a_restart(tmp_path: Path):
    async def main() -> None:
        clock = ManualClock()
        async with scene(tmp_path, clock=clock) as s:
            await s.function("f")
            await s.configure("f", DestinationConfig=ON_SUCCESS)
            s.targets.failures = [Undeliverable("away", again=True) for _ in range(2)]
            await s.accept("f")
            await until(lambda: len(s.targets.failures) == 1)
            await s.move(1)
            await until(lambda: not s.targets.failures)
            assert s.targets.taken == []
        async with scene(tmp_path, clock=clock) as s:
            await settled()
            assert s.targets.taken == []
            await s.move(2)
            await s.empty()
            assert len(s.records()) == 1
            assert s.ran == []

    run(main)


def test_an_end_that_cannot_be_written_is_written_later_and_the_event_not_run_twice(tmp_path: Path):
    async def main() -> None:
        async with scene(tmp_path) as s:
            await s.function("f")
            await s.configure("f", DestinationConfig=ON_SUCCESS)

            async def limit(pages: int) -> None:
                await s.database.write(lambda t: t.execute(f"PRAGMA max_page_count = {pages}").fetchall())

            hold = s.limits.share(function_id("f"))
            await s.plane.call("PutFunctionConcurrency", FunctionName="f", ReservedConcurrentExecutions=1)
            hold.admit()  # until the disk is full
            await s.accept("f", b'"%s"' % (b"x" * 100_000))  # its record needs more room than there is
            await limit(s.database.rows("PRAGMA page_count")[0][0] + 10)
            hold.release()
            await s.ran_times(1)
            await s.move(1)
            await s.move(1)
            assert len(s.ran) == 1
            assert s.records() == []
            await limit(1_000_000)
            await s.move(1)
            await s.empty()
            assert len(s.ran) == 1
            assert len(s.records()) == 1

    run(main)


def test_draining_lets_what_runs_end_and_leaves_the_rest_for_the_next_start(tmp_path: Path):
    async def main() -> None:
        answer: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()

        async def wait(function: FunctionVersion, invocation: Invocation) -> Outcome:
            return await asyncio.shield(answer)

        async with scene(tmp_path, wait) as s:
            await s.function("f")
            for number in range(40):
                await s.accept("f", b"%d" % number)
            await until(lambda: s.ran)
            await settled()
            draining = asyncio.ensure_future(s.rounds.drain(10))
            await settled()
            await s.accept("f", b'"accepted while draining"')
            answer.set_result(Outcome(b"1"))
            assert await draining == 0
            running = len(s.ran)
            assert running < 40
        async with scene(tmp_path, succeed) as s:
            await s.empty()
            assert len(s.ran) == 41 - running

    run(main)


def test_throttles_are_told_apart_from_refusals_that_a_function_could_be_given(tmp_path: Path):
    """A TooManyRequestsException never ends an event's life early."""

    async def main() -> None:
        refusals = 3

        async def refuse(function: FunctionVersion, invocation: Invocation) -> Outcome:
            nonlocal refusals
            if refusals:
                refusals -= 1
                raise TooManyRequestsException("ConcurrentInvocationLimitExceeded")
            return Outcome(b"1")

        async with scene(tmp_path, refuse) as s:
            await s.function("f")
            await s.configure("f", MaximumRetryAttempts=0, DestinationConfig=ON_SUCCESS)
            await s.accept("f")
            for delay in (1, 2, 4, 8):
                await settled()
                await s.move(delay)
            await s.empty()
            assert s.records()[0]["requestContext"]["approximateInvokeCount"] == 1

    run(main)
