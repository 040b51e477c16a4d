"""The control plane: how long its calls take, how many it answers, and whether many functions make it slower."""

import asyncio
import base64
import json
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.figures import Samples
from bench.load import LoadError, Plan, Result
from bench.program import Unavailable
from bench.service import ROLE, Service, package
from bench.stage import Stage, Work, latency
from lamplighter.model.functions import FunctionId
from lamplighter.store.database import Database
from lamplighter.store.directory import DataDirectory
from lamplighter.store.sqlite import SqliteFunctions

FUNCTIONS = "/2015-03-31/functions"
LIMIT = 60.0  # seconds for a fixed number of calls
FEW, MANY = 10, 10_000
CALLS = ("CreateFunction", "GetFunction", "UpdateFunctionConfiguration", "ListFunctions")
SEED = FunctionId("000000000000", "us-east-1", "bench-seed")  # what new services call themselves by
P50 = latency(0.5)


def calls(stage: Stage) -> tuple[Samples, ...]:
    """One caller; every call is about another function. Creating, getting, updating, listing."""
    results: dict[str, list[float]] = {call: [] for call in CALLS}
    service = stage.service
    for _ in range(stage.rounds):
        names = stage.names(15 if stage.quick else 60)
        created = stage.names(len(names))
        with service.functions(names):
            sent = (
                [_create(service, name) for name in created],
                [service.signed("GET", f"{FUNCTIONS}/{name}") for name in names],
                [service.signed("PUT", f"{FUNCTIONS}/{name}/configuration", b'{"Timeout":61}') for name in names],
                [service.signed("GET", f"{FUNCTIONS}/?MaxItems=50") for _ in names],
            )
            try:
                for call, requests in zip(CALLS, sent, strict=True):
                    results[call].append(P50(_each_once(stage, service, requests)))
            finally:
                service.delete(created)
    return tuple(Samples(tuple(rounds)) for rounds in results.values())


def reads(stage: Stage) -> tuple[Samples, ...]:
    """Sixteen callers that get twenty functions and their configurations, and list them, in turn."""
    names = stage.names(20)
    results: list[Result] = []
    with stage.deployed(names) as service:
        requests: list[bytes] = []
        for name in names:
            requests.append(service.signed("GET", f"{FUNCTIONS}/{name}"))
            requests.append(service.signed("GET", f"{FUNCTIONS}/{name}/configuration"))
            requests.append(service.signed("GET", f"{FUNCTIONS}/{name}/versions"))
        requests.append(service.signed("GET", f"{FUNCTIONS}/?MaxItems=50"))
        for _ in range(stage.rounds):
            results.append(
                stage.load.run(Plan(service.port, tuple(requests), 16, stage.seconds, warm_up=stage.warm_up))
            )
    return (Samples(tuple(result.per_second for result in results)),)


def many_functions(stage: Stage) -> tuple[Samples, ...]:
    """With 10,000 functions stored, compared with 10: a page of ListFunctions from the middle; the first call of ten
    functions after a start (a dry run: it resolves the function and runs nothing); one caller's warm calls; the start.
    """
    values: dict[int, list[list[float]]] = {FEW: [], MANY: []}
    with TemporaryDirectory(prefix="lamplighter-bench-") as place:
        for number in values:
            _store(stage, str(Path(place, str(number))), number)
        for turn in range(stage.rounds):
            for number in sorted(values, reverse=bool(turn % 2)):
                with stage.own_service(str(Path(place, str(number)))) as service:
                    values[number].append([*_look(stage, service, number), service.seconds_to_ready])
    few, many = (list(zip(*values[number], strict=True)) for number in (FEW, MANY))
    return tuple(Samples(tuple(ours), tuple(base)) for ours, base in zip(many, few, strict=True))


def _look(stage: Stage, service: Service, number: int) -> list[float]:
    """A page, first calls, warm calls: p50 in ms."""
    middle = number // 2
    first = [
        service.signed(
            "POST", f"{FUNCTIONS}/{_name(middle - 5 + index)}/invocations", b"{}", X_Amz_Invocation_Type="DryRun"
        )
        for index in range(10)
    ]
    marker = base64.urlsafe_b64encode(json.dumps(["ListFunctions", _name(middle - 3), "$LATEST"]).encode()).decode()
    pages = [service.signed("GET", f"{FUNCTIONS}/?MaxItems=5&Marker={marker.replace('=', '%3D')}")] * 100
    return [
        P50(_each_once(stage, service, pages)),
        P50(_each_once(stage, service, first)),
        P50(stage.load.run(stage.plan(service, [_name(middle)], Work()))),
    ]


def _store(stage: Stage, data: str, number: int) -> None:
    """A data directory with so many functions: one that was deployed, and copies of it under other names."""
    with stage.own_service(data) as service:
        content, settings = package()
        service.create(SEED.name, content, **settings)
        service.wait_until_active([SEED.name])
    asyncio.run(_copy(Path(data), number))


async def _copy(data: Path, number: int) -> None:
    database = Database(DataDirectory(data).database)
    try:
        stored = SqliteFunctions(database)
        seed = await stored.get(SEED)
        if seed is None:
            raise Unavailable(f"the function {SEED.arn} is not where it was expected")
        copies = (replace(seed, id=replace(SEED, name=_name(index))) for index in range(number))
        await asyncio.gather(*(stored.create(copy, {}) for copy in copies))
    finally:
        await database.close()


def _name(index: int) -> str:
    return f"bench-copy-{index:05}"


def _create(service: Service, name: str) -> bytes:
    content, settings = package()
    code = {"ZipFile": base64.b64encode(content).decode()}
    body = json.dumps({"FunctionName": name, "Role": ROLE, "Code": code, **settings})
    return service.signed("POST", FUNCTIONS, body.encode())


def _each_once(stage: Stage, service: Service, requests: list[bytes]) -> Result:
    result = stage.load.run(Plan(service.port, tuple(requests), seconds=LIMIT, count=len(requests)))
    if len(result.latencies) < len(requests):
        raise LoadError(f"only {len(result.latencies)} of {len(requests)} calls in {LIMIT:.0f} s")
    return result
