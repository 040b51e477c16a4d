"""First calls that a copy answers, of a version with SnapStart whose function imports for two seconds."""

from time import monotonic, sleep
from typing import Final

from bench.figures import Samples, percentile
from bench.load import SECOND, Plan
from bench.program import Unavailable
from bench.service import Service, package
from bench.stage import SMALL, Stage
from lamplighter.runtimes.catalogue import installed

RUNTIMES: Final = ("python3.12", "python3.13", "python3.14")
PUBLISHED: Final = 60.0  # seconds
PAUSE: Final = 0.3  # seconds, in which the sandbox of the call before is taken down and a copy is made ready


def starts(stage: Stage) -> tuple[Samples, ...]:
    """One call after the other, each to a sandbox of its own: between two, the function leaves."""
    here = installed()
    runtime = next((name for name in RUNTIMES if name in here), None)
    if runtime is None:
        raise Unavailable("no Python 3.12 or later here, as SnapStart needs it")
    service, (name,) = stage.service, stage.names(1)
    content, settings = package(handler="slow_init.echo")
    settings |= {"Runtime": runtime, "SnapStart": {"ApplyOn": "PublishedVersions"}}
    try:
        service.create(name, content, **settings, MemorySize=128)
        service.wait_until_active([name])
        version = _published(service, name)
        rounds = [[_call(stage, service, name, version) for _ in range(10)] for _ in range(stage.rounds)]
    finally:
        service.delete([name])
    together = [one for round in rounds for one in round]
    return Samples(tuple(percentile(round, 0.5) for round in rounds)), Samples((percentile(together, 0.99),))


def _call(stage: Stage, service: Service, name: str, version: str) -> float:
    """Milliseconds."""
    target = f"/2015-03-31/functions/{name}/invocations?Qualifier={version}"
    request = service.signed("POST", target, SMALL[0])
    result = stage.load.run(Plan(service.port, (request,), seconds=30, count=1))
    service.client("lambda").invoke(FunctionName=name, Qualifier=version, Payload=b'"leave"')
    sleep(PAUSE)
    return result.latencies[0] * 1000 / SECOND


def _published(service: Service, name: str) -> str:
    client = service.client("lambda")
    version: str = client.publish_version(FunctionName=name)["Version"]
    deadline = monotonic() + PUBLISHED
    while monotonic() < deadline:
        found = client.get_function_configuration(FunctionName=name, Qualifier=version)
        if found["State"] == "Active":
            if found["SnapStart"]["OptimizationStatus"] != "On":
                raise Unavailable("this host makes no copies")
            return version
        sleep(0.1)
    raise Unavailable(f"{name} was not ready within {PUBLISHED:.0f} s")
