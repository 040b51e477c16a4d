"""The share of the processor that a function's memory buys, measured by the function's own code: none is taken from its
init, nor from an init that is repeated, and it holds from its first invocation on (AWS: spec 3.1)."""

import json
import os
from collections.abc import Callable
from typing import Any

import pytest

SOURCE = """
import os, time
def speed():
    began, cpu = time.monotonic(), time.process_time()
    while time.process_time() < cpu + 0.1:  # at least one period of the scheduler's, however small the share
        pass
    return (time.process_time() - cpu) / (time.monotonic() - began)
in_init = speed()
def handler(event, context):
    if event == "crash":
        os._exit(1)
    return [in_init, speed()]
"""

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="a share of the processor takes cgroups, which take root")


def test_init_has_full_speed_and_an_invocation_what_its_memory_buys(client: Any, deploy: Callable[..., str]) -> None:
    small = deploy(SOURCE, MemorySize=128, Timeout=30)  # 7 % of a core

    def call(name: str, event: str = "") -> Any:
        return json.load(client.invoke(FunctionName=name, Payload=json.dumps(event))["Payload"])

    in_init, invoked = call(small)
    assert invoked < 0.15
    assert in_init > 3 * invoked, "whatever else the machine does, both were measured within a second"
    assert call(small)[1] < 0.15
    call(small, "crash")
    in_init, invoked = call(small)
    assert invoked < 0.15
    assert in_init > 3 * invoked
    in_init, invoked = call(deploy(SOURCE, MemorySize=1769, Timeout=30))  # a whole one
    assert invoked > in_init / 3
