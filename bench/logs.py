"""What logs, and metering and metrics with them, cost an invocation, and how long a filter over logs takes.

The cost is that of the same calls with `--logs on` and `--logs off`, in turn, in the same run. For the filter, a day of
logs is written as the service writes it, in batches of half a second; then the last hour is asked for.
"""

import asyncio
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import orjson

from bench.figures import Samples
from bench.load import SECOND, Plan, Result
from bench.service import WHOLE_CPU, service
from bench.stage import Stage, Work, latency
from lamplighter.model.clock import SystemClock
from lamplighter.neighbours.signing import Keys, sign
from lamplighter.store.credentials import load_or_make
from lamplighter.store.directory import DataDirectory
from lamplighter.telemetry.logs.archive import Archive, GroupId
from lamplighter.telemetry.logs.segment import LINES, Events, record

P50, P99 = latency(0.5), latency(0.99)
GROUP: Final = GroupId("000000000000", "us-east-1", "/aws/lambda/bench")
DAY: Final = 86_400.0  # seconds
SIZE: Final = 1 << 30  # bytes of a day's logs
PERIOD: Final = 0.5  # seconds between batches
STREAMS: Final = 4  # written to at a time
PATTERNS: Final = {"a term": '"order 4711 "', "a JSON selector": '{ $.level = "ERROR" && $.latency > 400 }'}


def cost(stage: Stage, *options: str) -> tuple[Samples, ...]:
    """One caller's p50 and p99, and the throughput of 16, with these options on, against the same with them off."""
    switched = {side: [word for option in options for word in (option, side)] for side in ("on", "off")}
    (name,) = stage.names(1)
    values: dict[str, list[list[float]]] = {"on": [], "off": []}
    with service(*switched["on"]) as on, service(*switched["off"]) as off:
        sides = {"on": on, "off": off}
        with on.functions([name], memory_size=WHOLE_CPU), off.functions([name], memory_size=WHOLE_CPU):
            for turn in range(-1, stage.rounds):
                for side in sorted(sides, reverse=bool(turn % 2)):
                    alone, crowd = (
                        stage.load.run(stage.plan(sides[side], [name], Work(connections))) for connections in (1, 16)
                    )
                    if turn >= 0:  # the one before is for making environments
                        values[side].append([P50(alone), P99(alone), crowd.per_second])
    ours, base = (list(zip(*values[side], strict=True)) for side in ("on", "off"))
    return tuple(Samples(tuple(mine), tuple(other)) for mine, other in zip(ours, base, strict=True))


def filters(stage: Stage) -> tuple[Samples, ...]:
    """Seconds until all events of the last hour that match are there."""
    size = SIZE // 10 if stage.quick else SIZE
    with TemporaryDirectory(prefix="lamplighter-bench-") as data:
        keys = load_or_make(Path(data))
        asyncio.run(_write(Path(data), size))
        with stage.own_service(data) as running:
            seconds = [
                [
                    max(_ask(stage, running.port, Keys(keys.access_key_id, keys.secret_access_key), pattern).latencies)
                    / SECOND
                    for _ in range(stage.rounds)
                ]
                for pattern in PATTERNS.values()
            ]
    return tuple(Samples(tuple(each)) for each in seconds)


def _ask(stage: Stage, port: int, keys: Keys, pattern: str) -> Result:
    now = SystemClock().now()
    body = orjson.dumps({"logGroupName": GROUP.name, "startTime": int((now - 3600) * 1000), "filterPattern": pattern})
    given = {
        "Content-Type": "application/x-amz-json-1.1",
        "X-Amz-Target": "Logs_20140328.FilterLogEvents",
        "Content-Length": str(len(body)),
    }
    headers = sign("POST", f"http://127.0.0.1:{port}/", given, body, keys, "logs", GROUP.region, now)
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    request = f"POST / HTTP/1.1\r\n{lines}\r\n".encode() + body
    return stage.load.run(Plan(port, (request,), seconds=30, count=1))


async def _write(data: Path, size: int) -> None:
    clock = _PastClock()
    archive = Archive(DataDirectory(data).logs, clock)
    await archive.open()
    await asyncio.get_running_loop().run_in_executor(archive.writing, _fill, archive, clock, size)
    await archive.close()


def _fill(archive: Archive, clock: "_PastClock", size: int) -> None:
    orders = [
        b'{"level":"%b","message":"order %d done","latency":%d,"customer":{"id":"c%d"}}\n'
        % (b"ERROR" if number % 997 == 0 else b"INFO", number, number % 500, number % 977)
        for number in range(9973)
    ]
    per_batch = round(size / len(orders[0]) / DAY * PERIOD / STREAMS)
    number, end = 0, SystemClock().now()
    while clock.now() < end:
        batches: list[Events] = []
        for stream in range(STREAMS):
            data = b"".join(orders[(number + index) % len(orders)] for index in range(per_batch))
            number += per_batch
            at = int(clock.now() * 1000)
            name = f"2026/01/01/[$LATEST]{int(clock.now()) // 900:030x}{stream:02x}"
            batches.append(Events(name, at, at, 1, record(LINES, at, data)))
        archive.write(GROUP, batches)
        clock.move(PERIOD)


class _PastClock:
    """Begins a day ago and is moved by hand."""

    def __init__(self) -> None:
        self._now = SystemClock().now() - DAY

    def now(self) -> float:
        return self._now

    def monotonic(self) -> float:
        return time.monotonic()

    def move(self, seconds: float) -> None:
        self._now += seconds
