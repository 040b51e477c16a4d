"""The table of an environment's extensions, and what the Extensions API answers (AWS: spec 3.4)."""

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lamplighter.worker.extensions import LIMIT, NEXT, Extension, Extensions, Signal, State
from lamplighter.worker.extensions_api import ExtensionsApi
from lamplighter.worker.telemetry_api import Refused
from support.environments import invocation, version

NAMES = ["a", "b", "inner"]


@given(st.lists(st.tuples(st.sampled_from(NAMES), st.sampled_from([*Signal])), max_size=40))
def test_whatever_extensions_do_the_table_stays_true(steps: list[tuple[str, Signal]]) -> None:
    table = Extensions(["a", "b"])
    for name, signal in steps:
        known = {extension.name: extension for extension in table.all}
        before = known[name].state if name in known else None
        try:
            if signal is Signal.REGISTERED:
                table.register(name, ["INVOKE"])
            elif name in known:
                known[name].follow(signal)
        except Refused as refused:
            assert refused.status == 403
            assert before is None or known[name].state is before  # a refusal changes nothing
        states = [extension.state for extension in table.all]
        assert table.settled == (set(states) == {State.READY})
        assert table.registered == (State.STARTED not in states)
        assert all(bool(extension.identifier) >= (extension.state is State.READY) for extension in table.all)
        assert table.shutdown_budget() == 2.0


@given(st.lists(st.sampled_from([*Signal]), max_size=20))
def test_only_a_registered_extension_ever_waits_and_the_dead_stay_dead(signals: list[Signal]) -> None:
    extension, registered = Extension("a", True), False
    for signal in signals:
        before = extension.state
        allowed = (before, signal) in NEXT
        try:
            extension.follow(signal)
        except Refused:
            assert not allowed
        registered |= allowed and signal is Signal.REGISTERED
        assert registered or extension.state in (State.STARTED, State.EXITED)
        assert before is not State.EXITED or extension.state is State.EXITED


def test_budgets_are_awss() -> None:
    alone, internal = Extensions(), Extensions()
    internal.register("inner", ["INVOKE"])
    assert [alone.shutdown_budget(), internal.shutdown_budget(), Extensions(["a"]).shutdown_budget()] == [0.0, 0.5, 2.0]


class Heard:
    def __init__(self) -> None:
        self.registered = self.asked = 0
        self.failed: list[Extension] = []

    def extension_registered(self) -> None:
        self.registered += 1

    def extension_asked(self) -> None:
        self.asked += 1

    def extension_failed(self, extension: Extension) -> None:
        self.failed.append(extension)


class Waiting:
    def __init__(self, open: bool = True) -> None:
        self.open = open
        self.events: list[Any] = []
        self.heads: list[bytes] = []

    def deliver(self, head: bytes, payload: bytes) -> bool:
        if self.open:
            self.heads.append(head)
            self.events.append(orjson.loads(payload))
        return self.open


class Caller:
    def __init__(self, *started: str) -> None:
        self.heard = Heard()
        self.api = ExtensionsApi(self.heard, version(), started)

    def call(self, path: str, body: bytes | None = b"", connection: Waiting | None = None, **head: str) -> Any:
        """Status, headers in lower case, body; None: it waits."""
        headers = {name.replace("_", "-").encode(): value.encode() for name, value in head.items()}
        method = b"GET" if path == "event/next" else b"POST"
        url = b"/2020-01-01/extension/" + path.encode()
        reply = self.api.call(connection or Waiting(), method, url, headers, body)
        if reply is None:
            return None
        top, _, told = reply.partition(b"\r\n\r\n")
        lines = top.decode().split("\r\n")
        found = dict(line.lower().split(": ", 1) for line in lines[1:])
        return int(lines[0].split()[1]), found, orjson.loads(told) if told.startswith(b"{") else told

    def register(self, name: str, *events: str) -> str:
        body = orjson.dumps({"events": events})
        return self.call("register", body, lambda_extension_name=name)[1]["lambda-extension-identifier"]

    def refusal(self, path: str, body: bytes | None = b"", **head: str) -> tuple[int, str]:
        status, _, told = self.call(path, body, **head)
        return status, told["errorType"]


def test_registering_tells_of_the_function_and_of_the_account_only_on_request() -> None:
    caller = Caller("a")
    status, headers, told = caller.call("register", b'{"events":["INVOKE"]}', lambda_extension_name="a")
    assert (status, headers["content-type"]) == (200, "application/json")
    assert told == {"functionName": "f", "functionVersion": "$LATEST", "handler": "app.handler"}
    more = {"lambda_extension_name": "inner", "lambda_extension_accept_feature": "accountId"}
    assert caller.call("register", b'{"events":["INVOKE"]}', **more)[2]["accountId"] == "000000000000"


@pytest.mark.parametrize(
    ("name", "body", "status", "error_type"),
    [
        ("", b'{"events":[]}', 403, "Extension.InvalidExtensionName"),
        ("x" * 256, b'{"events":[]}', 403, "Extension.InvalidExtensionName"),
        ("a", b"[]", 400, "Extension.InvalidRequestFormat"),
        ("a", b"{", 400, "Extension.InvalidRequestFormat"),
        ("a", b'{"events":[1]}', 400, "Extension.InvalidRequestFormat"),
        ("a", None, 400, "Extension.InvalidRequestFormat"),
        ("a", b'{"events":["OTHER"]}', 403, "Extension.InvalidEventType"),
        ("inner", b'{"events":["SHUTDOWN"]}', 403, "Extension.InvalidEventType"),
    ],
)
def test_what_cannot_be_registered_is_refused(name: str, body: bytes, status: int, error_type: str) -> None:
    caller = Caller("a")
    assert caller.refusal("register", body, lambda_extension_name=name) == (status, error_type)
    assert caller.heard.registered == 0


def test_no_more_than_ten_register_nobody_twice_and_nobody_late() -> None:
    caller = Caller("a")
    for n in range(LIMIT):
        caller.register(f"inner{n}", "INVOKE")
    assert caller.refusal("register", b"{}", lambda_extension_name="a")[1] == "Extension.TooManyExtensions"
    assert caller.refusal("register", b"{}", lambda_extension_name="inner0")[1] == "Extension.InvalidExtensionState"
    caller.api.table.open = False
    assert caller.refusal("register", b"{}", lambda_extension_name="b")[1] == "Extension.RegistrationClosed"


@pytest.mark.parametrize("path", ["event/next", "init/error", "exit/error"])
def test_who_has_not_registered_is_refused(path: str) -> None:
    caller = Caller("a")
    assert caller.refusal(path) == (403, "Extension.MissingExtensionIdentifier")
    unknown = {"lambda_extension_identifier": "x", "lambda_extension_function_error_type": "A.B"}
    assert caller.refusal(path, **unknown) == (403, "Extension.UnknownExtensionIdentifier")


def test_an_error_needs_its_type_and_is_heard_once() -> None:
    caller = Caller("a")
    me = {"lambda_extension_identifier": caller.register("a", "INVOKE")}
    assert caller.refusal("init/error", **me) == (403, "Extension.MissingHeader")
    status, _, told = caller.call("init/error", lambda_extension_function_error_type="My.Reason", **me)
    assert (status, told) == (202, {"status": "OK"})
    again = {"lambda_extension_function_error_type": "My.Reason", **me}
    assert caller.refusal("init/error", **again)[1] == "Extension.InvalidExtensionState"
    assert caller.refusal("event/next", **me)[1] == "Extension.InvalidExtensionState"
    assert [extension.error_type for extension in caller.heard.failed] == ["My.Reason"]


def test_refusals_are_in_the_words_of_awss_emulator() -> None:
    """Of its handlers and states, as published; the identifier stands for itself."""
    caller = Caller("a", "b")

    def words(path: str, body: bytes = b"{}", **head: str) -> tuple[str, str]:
        _, _, told = caller.call(path, body, **{f"lambda_extension_{name}": value for name, value in head.items()})
        return told["errorType"].removeprefix("Extension."), told["errorMessage"]

    out_of_turn = "State transition from {} to {} failed for extension {}. Error: State transition is not allowed"
    other = b'{"events":["OTHER"]}'
    assert words("register", name="") == ("InvalidExtensionName", "Empty extension name")
    assert words("register", other, name="a") == ("InvalidEventType", "OTHER: ErrorInvalidEventType")
    assert words("register", b'{"events":["SHUTDOWN"]}', name="inner") == (
        "InvalidEventType", "SHUTDOWN: ShutdownEventNotSupportedForInternalExtension",
    )  # fmt: skip
    assert words("event/next") == ("MissingExtensionIdentifier", "Missing Lambda-Extension-Identifier header")
    stranger = "00000000-0000-0000-0000-000000000000"
    unknown = "UnknownExtensionIdentifier"
    assert words("event/next", identifier=stranger) == (unknown, f"Unknown extension {stranger}")
    assert words("exit/error", identifier=stranger) == (unknown, "Unknown Lambda-Extension-Identifier")
    a, inner = caller.register("a", "INVOKE"), caller.register("inner", "INVOKE")
    state = "InvalidExtensionState"
    assert words("register", name="a") == (state, out_of_turn.format("Registered", "Registered", "a"))
    assert words("register", name="inner") == (state, "Extension with this name already registered")
    missing = ("MissingHeader", "Lambda-Extension-Function-Error-Type not found")
    assert words("init/error", identifier=a) == words("exit/error", identifier=inner) == missing
    assert caller.call("event/next", lambda_extension_identifier=a) is None
    late = {"identifier": a, "function_error_type": "My.Reason"}
    assert words("init/error", **late) == (state, out_of_turn.format("Ready", "InitError", a))
    caller.call("exit/error", lambda_extension_identifier=a, lambda_extension_function_error_type="My.Reason")
    assert words("event/next", identifier=a) == (state, out_of_turn.format("ExitError", "Ready", a))
    late["identifier"] = b = caller.register("b")
    caller.call("init/error", lambda_extension_identifier=b, lambda_extension_function_error_type="My.Reason")
    assert words("exit/error", **late) == (state, out_of_turn.format("InitError", "Exited", b))
    for number in range(LIMIT - 3):
        caller.register(f"inner{number}")
    assert words("register", name="more") == ("TooManyExtensions", "Extension limit (10) reached")
    caller.api.table.open = False
    assert words("register", name="late") == ("RegistrationClosed", "Extension registration closed already")


def test_an_event_waits_for_its_extension_and_goes_to_those_who_asked_for_its_kind() -> None:
    caller = Caller("a", "b")
    a, b = caller.register("a", "INVOKE", "SHUTDOWN"), caller.register("b")
    lost, waiting, other = Waiting(open=False), Waiting(), Waiting()
    assert caller.call("event/next", connection=lost, lambda_extension_identifier=a) is None
    assert caller.call("event/next", connection=other, lambda_extension_identifier=b) is None
    caller.api.invoke(invocation(), 12_345)
    assert not caller.api.table.settled
    assert caller.call("event/next", connection=waiting, lambda_extension_identifier=a) is None
    assert [event["eventType"] for event in waiting.events] == ["INVOKE"]
    assert b"Lambda-Extension-Event-Identifier: " in waiting.heads[0]
    assert not caller.api.table.settled
    assert caller.call("event/next", connection=waiting, lambda_extension_identifier=a) is None
    assert caller.api.table.settled
    assert [extension.name for extension in caller.api.shut_down("timeout", 678)] == ["a"]
    assert waiting.events[1] == {"eventType": "SHUTDOWN", "shutdownReason": "timeout", "deadlineMs": 678}
    assert other.events == []


def test_other_paths_and_methods_are_refused() -> None:
    api = Caller("a").api
    assert (api.call(Waiting(), b"GET", b"/2020-01-01/extension/register", {}, b"") or b"").startswith(b"HTTP/1.1 405")
    assert (api.call(Waiting(), b"GET", b"/2020-01-01/extension/other", {}, b"") or b"").startswith(b"HTTP/1.1 404")
