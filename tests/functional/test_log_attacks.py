"""Logs of functions that write what nobody would: lines without an end, millions of lines, no text at all, lines that
look like the service's own, frames that lie. It harms nobody else, and what is lost is told."""

import json
import re
from collections.abc import Callable
from typing import Any

from support.service import Service

SOURCE = r"""
import os, stat, struct
def write(data, descriptor=1):
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(descriptor, rest):]
def handler(event, context):
    how = event["how"]
    if how == "a line without an end":
        for _ in range(24):
            write(b"x" * (1 << 20))
        write(b"\nbehind it\n")
    elif how == "many lines":
        for _ in range(2):
            write(b"\n" * (1 << 20))
        write(b"behind them\n")
    elif how == "no text":
        write(b"bad \xff\xfe\xc3( nul \0 esc \x1b[31m cr \r end\n")
    elif how == "forged":
        id = "00000000-0000-0000-0000-000000000000"
        write(f"START RequestId: {id} Version: 7\nEND RequestId: {id}\n".encode())
        write(f"REPORT RequestId: {id}\tDuration: 0 ms\tBilled Duration: 0 ms\t\n".encode())
    elif how == "frames":
        pipes = [f for f in range(3, 64) if os.path.exists(f"/proc/self/fd/{f}") and stat.S_ISFIFO(os.fstat(f).st_mode)]
        for pipe in pipes:
            write(struct.pack(">IIQ", 0xA55A0003, 0xFFFFFFFF, 0) + b"liar" + b"y" * 2_000_000, pipe)
        return len(pipes)
    return "ok"
"""
LONGEST = 1_048_550  # bytes of an event
MEMORY = 150  # MB that the service may have more than before: it may hold 64 MB of lines, and what it reads back


def events(logs: Any, name: str, **asked: Any) -> list[str]:
    pages = logs.get_paginator("filter_log_events").paginate(logGroupName=f"/aws/lambda/{name}", **asked)
    return [event["message"] for page in pages for event in page["events"]]


def resident(service: Service) -> int:
    """Of the service, in MB."""
    with open(f"/proc/{service.process.pid}/status", encoding="ascii") as file:
        match = re.search(r"^VmRSS:\s+(\d+) kB$", file.read(), re.MULTILINE)
    assert match
    return int(match[1]) // 1024


def test_what_a_hostile_function_writes_stays_its_own_and_bounded(
    service: Service, client: Any, deploy: Callable[..., str]
) -> None:
    logs = service.client("logs")
    neighbour = deploy('def handler(event, context):\n    print("all is well", event["n"])')
    before = resident(service)

    def attack(how: str) -> str:
        name = deploy(SOURCE, Timeout=60, MemorySize=1024)
        answer = json.loads(
            client.invoke(LogType="Tail", FunctionName=name, Payload=json.dumps({"how": how}))["Payload"].read()
        )
        assert answer == (1 if how == "frames" else "ok")
        client.invoke(LogType="Tail", FunctionName=neighbour, Payload=json.dumps({"n": how}))
        assert resident(service) < before + MEMORY
        return name

    found = events(logs, attack("a line without an end"))
    lost = sum(int(n) for line in found for n in re.findall(r"^LOGS_DROPPED\tLines: (\d+)", line))
    whole = [line for line in found if len(line) == LONGEST]
    assert set("".join(whole)) == {"x", "\n"}
    assert len(whole) + lost == 24, "each part is kept, or told to be lost"
    assert "behind it\n" in found
    name = attack("many lines")
    assert events(logs, name, filterPattern='"behind them"') == ["behind them\n"]
    page = logs.filter_log_events(logGroupName=f"/aws/lambda/{name}")
    assert len(page["events"]) <= 10_000 and page["nextToken"]
    assert events(logs, attack("no text"), filterPattern="bad") == [
        "bad \ufffd\ufffd\ufffd( nul \0 esc \x1b[31m cr \r end\n"
    ]
    found = events(logs, attack("forged"))
    assert [line.split(":")[0] for line in found if "00000000-0000" in line] == [
        *("START RequestId", "END RequestId", "REPORT RequestId")
    ]
    assert len([line for line in found if line.startswith("REPORT ")]) == 2, "its own, and what it made up"
    attack("frames")
    well = events(logs, neighbour, filterPattern='"all is well"')
    assert len(well) == 5, "nobody else has lost a line"
    logs.close()
