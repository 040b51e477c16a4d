"""The metadata endpoint, as a guest finds it, and the variables that lead there (AWS: spec 3.2)."""

import socket
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from lamplighter.model.functions import FunctionVersion
from lamplighter.worker.metadata import Metadata, zone_of
from lamplighter.worker.runtime_api import RuntimeApi
from lamplighter.worker.worker import variables
from support.environments import version
from support.raw_http import Client, request
from support.sandbox_server import story

PATH = "/2026-01-15/metadata/execution-environment"
STREAM = "2026/01/02/[$LATEST]0"


class Mute:
    def read(self) -> None:
        """All that has come so far is told."""


@asynccontextmanager
async def client(metadata: Metadata) -> AsyncGenerator[Client]:
    api = RuntimeApi(Mute(), metadata)  # type: ignore[arg-type]  # hears of nothing else here
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        await api.open(listener)
        made = await Client.connect(listener.getsockname()[1])
        try:
            yield made
        finally:
            await made.close()
            api.close()
            await api.hung_up()


@story
async def test_who_has_the_token_is_told_where_the_environment_runs() -> None:
    metadata = Metadata("use1-az1")
    async with client(metadata) as made:
        for scheme in ("Bearer", "bearer"):
            reply = await made.call(request("GET", PATH, Authorization=f"{scheme} {metadata.token}"))
            assert (reply.status, reply.body) == (200, b'{"AvailabilityZoneID":"use1-az1"}')
            assert reply.headers["cache-control"] == "private, max-age=43200, immutable"


@pytest.mark.parametrize("given", [None, "", "Bearer", "Bearer x", "Basic {}", "Bearer {}x", "Bearer {:.5}", "{}"])
@story
async def test_who_does_not_is_told_nothing(given: str | None) -> None:
    metadata = Metadata("use1-az1")
    headers = {} if given is None else {"Authorization": given.format(metadata.token)}
    async with client(metadata) as made:
        reply = await made.call(request("GET", PATH, **headers))
        assert (reply.status, reply.body) == (401, b"")


@story
async def test_other_methods_are_refused() -> None:
    metadata = Metadata("use1-az1")
    async with client(metadata) as made:
        for method in ("POST", "PUT", "DELETE"):
            reply = await made.call(request(method, PATH, b"x", Authorization=f"Bearer {metadata.token}"))
            assert reply.status == 405


def test_each_environment_has_a_token_of_its_own() -> None:
    assert Metadata("a").token != Metadata("a").token


ZONES = {
    "us-east-1": "use1", "us-west-2": "usw2", "eu-central-1": "euc1", "ap-southeast-2": "apse2",
    "ap-northeast-1": "apne1", "sa-east-1": "sae1", "us-gov-west-1": "usgw1", "ca-central-1": "cac1",
}  # fmt: skip


@pytest.mark.parametrize("region", ZONES)
def test_zone_ids_are_formed_as_awss(region: str) -> None:
    assert zone_of(region) == ZONES[region] + "-az1"


def given(runtime: str, own: dict[str, str] | None = None, **members: object) -> dict[str, str]:
    function: FunctionVersion = replace(version(), runtime=runtime, environment=own, **members)  # type: ignore[arg-type]
    return variables(function, STREAM, {"AWS_ACCESS_KEY_ID": "theirs"})


RESERVED = (
    "_HANDLER", "AWS_LAMBDA_FUNCTION_NAME", "AWS_LAMBDA_FUNCTION_VERSION", "AWS_LAMBDA_FUNCTION_MEMORY_SIZE",
    "AWS_LAMBDA_LOG_GROUP_NAME", "AWS_LAMBDA_LOG_STREAM_NAME", "AWS_LAMBDA_INITIALIZATION_TYPE",
    "AWS_LAMBDA_RUNTIME_API", "AWS_LAMBDA_METADATA_API", "AWS_REGION", "AWS_DEFAULT_REGION", "AWS_ACCESS_KEY_ID",
    "LAMBDA_TASK_ROOT", "LAMBDA_RUNTIME_DIR", "AWS_XRAY_DAEMON_ADDRESS", "_AWS_XRAY_DAEMON_ADDRESS",
    "_AWS_XRAY_DAEMON_PORT",
)  # fmt: skip


@pytest.mark.parametrize("runtime", ["python3.13", "nodejs22.x", "ruby3.4", "java21", "provided.al2"])
def test_reserved_variables_are_the_services_and_the_rest_the_functions(runtime: str) -> None:
    own = dict.fromkeys((*RESERVED, "AWS_EXECUTION_ENV", "PATH", "LANG", "TZ", "LD_LIBRARY_PATH", "OTHER"), "mine")
    plain, found = given(runtime), given(runtime, own)
    assert {name: found[name] for name in RESERVED} == {name: plain[name] for name in RESERVED}
    assert "mine" not in {found[name] for name in RESERVED}
    assert {found[name] for name in ("PATH", "LANG", "TZ", "LD_LIBRARY_PATH", "OTHER")} == {"mine"}
    if not runtime.startswith("provided"):
        assert found["AWS_EXECUTION_ENV"] == f"AWS_Lambda_{runtime}"


def test_the_log_format_is_told_where_it_is_json() -> None:
    assert "AWS_LAMBDA_LOG_FORMAT" not in given("python3.13")
    found = given("python3.13", log_format="JSON", application_log_level="WARN")
    assert (found["AWS_LAMBDA_LOG_FORMAT"], found["AWS_LAMBDA_LOG_LEVEL"]) == ("JSON", "WARN")
