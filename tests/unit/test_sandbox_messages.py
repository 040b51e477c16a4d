"""The server's view of requests: hostile until proven otherwise."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lamplighter.model.command import Command
from lamplighter.sandbox.channel import Malformed
from lamplighter.sandbox.messages import (
    Configuration,
    End,
    Runtime,
    Start,
    Warm,
    configuration,
    configuration_body,
    request,
)

GOOD: dict[str, Any] = {
    "type": "start", "id": 1, "runtime": "python3.12", "code": "a" * 64, "layers": ["b" * 64], "variables": {"A": "b"},
    "memory_size": 128, "ephemeral_storage": 512, "command": [["/bin/true"], None],
}  # fmt: skip
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


def test_requests_become_values() -> None:
    started = request(GOOD, 2)
    assert started == Start(1, "python3.12", "a" * 64, ("b" * 64,), {"A": "b"}, 128, 512, Command(("/bin/true",)))
    assert request({"type": "warm", "runtime": "python3.9"}, 0) == Warm("python3.9")
    waits = {"type": "warm", "runtime": "nodejs22.x", "command": [["node"], {"TZ": ":UTC"}]}
    assert request(waits, 0) == Warm("nodejs22.x", Command(("node",), {"TZ": ":UTC"}))
    assert request({"type": "end", "id": 7}, 0) == End(7)


@given(st.dictionaries(st.sampled_from(sorted(GOOD)) | st.text(), JSON), st.integers(0, 3))
def test_rubbish_is_malformed_and_never_anything_else(body: dict[str, Any], descriptors: int) -> None:
    try:
        request({**GOOD, **body}, descriptors)
    except Malformed:
        pass


@pytest.mark.parametrize(
    "wrong",
    [
        {"code": "A" * 64}, {"code": "a" * 63}, {"code": "a" * 64 + "\n"}, {"code": "../" + "a" * 61}, {"code": None},
        {"runtime": "../x"}, {"runtime": ""}, {"runtime": "Python"}, {"id": True}, {"id": -1}, {"id": 1.0}, {"id": "1"},
        {"layers": ["b" * 64] * 6}, {"layers": "b" * 64}, {"layers": ["/etc"]},
        {"memory_size": 127}, {"memory_size": 1 << 40}, {"memory_size": 128.5}, {"memory_size": True},
        {"ephemeral_storage": 511}, {"ephemeral_storage": 10_241},
        {"variables": {"": "x"}}, {"variables": {"A=": "x"}}, {"variables": {"A": 1}}, {"variables": {"A\0": "x"}},
        {"variables": {str(i): "" for i in range(2000)}}, {"variables": []},
        {"command": []}, {"command": [[], None]}, {"command": [[1], None]}, {"command": "ls"},
        {"command": [["a\0"], None]}, {"command": [["x" * 10_000], None]}, {"command": [["ls"]]},
        {"command": [["ls"], []]}, {"command": [["ls"], {"A=": "x"}]},
        {"type": "stop"}, {"type": None},
    ],
)  # fmt: skip
def test_each_member_has_a_range(wrong: dict[str, Any]) -> None:
    with pytest.raises(Malformed):
        request({**GOOD, **wrong}, 2)


def test_a_request_comes_with_the_descriptors_it_needs_and_no_others() -> None:
    for descriptors in (0, 1, 4):
        with pytest.raises(Malformed):
            request(GOOD, descriptors)
    with pytest.raises(Malformed):
        request({"type": "end", "id": 1}, 1)


def test_the_configuration_survives_the_wire() -> None:
    runtimes = {
        "python3.12": Runtime(
            "/usr/bin/python3.12", "/client", sdk=("/packages/boto3", "/packages/six.py"), preload=True
        ),
        "provided.al2": Runtime("/usr/bin/python3.11", None, "command"),
        "nodejs22.x": Runtime("/usr/bin/python3.11", "/nodejs", "command", "/opt/node22/bin/node"),
    }
    told = Configuration("/code", "/run/x", runtimes, "user")
    assert configuration(configuration_body(told)) == told


@pytest.mark.parametrize(
    "wrong",
    [
        {"code_root": "relative"}, {"run_dir": ""}, {"isolation": "some"}, {"first_uid": 0}, {"runtimes": []},
        {"runtimes": {"../x": ["/p", "/c", "python", None, [], False]}},
        {"runtimes": {"x": ["p", "/c", "python", None, [], False]}},
        {"runtimes": {"x": ["/p"]}}, {"runtimes": {"x": ["/p", "/c", "python", None, ["six"], False]}},
        {"runtimes": {"x": ["/p", "/c", "python", None, [], 1]}},
        {"runtimes": {"x": ["/p", "c", "python", None, [], False]}},
        {"runtimes": {"x": ["/p", None, "python", None, [], False]}},
        {"runtimes": {"x": ["/p", "/c", "java", None, [], False]}},
        {"runtimes": {"x": ["/p", "/c", "command", "node", [], False]}},
    ],
)  # fmt: skip
def test_a_wrong_configuration_is_malformed(wrong: dict[str, Any]) -> None:
    body = configuration_body(Configuration("/code", "/run/x", {}, "full"))
    with pytest.raises(Malformed):
        configuration({**body, **wrong})
