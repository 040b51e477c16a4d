"""Layers as functions see them: below /opt, one over the other, for as long as the function lives."""

import base64
import hashlib
import json
import uuid
from collections.abc import Callable, Iterator
from typing import Any
from urllib.request import urlopen

import pytest

from support.functions import PYTHON, package

SHOWS = """
import json, pathlib, shared, second
def handler(event, context):
    return {"shared": shared.WHO, "second": second.WHO, "file": pathlib.Path("/opt/data.txt").read_text()}
"""
PublishLayer = Callable[[dict[str, str]], dict[str, Any]]


@pytest.fixture
def layer(client: Any) -> Iterator[PublishLayer]:
    """Publishes the first version of a layer with these files; deletes it afterwards."""
    published: list[dict[str, Any]] = []

    def publish(files: dict[str, str]) -> dict[str, Any]:
        name = f"test-{uuid.uuid4().hex[:12]}"
        published.append(client.publish_layer_version(LayerName=name, Content={"ZipFile": package(files)}))
        return published[-1]

    yield publish
    for version in published:
        client.delete_layer_version(LayerName=version["LayerArn"], VersionNumber=version["Version"])


def _ask(client: Any, function: str) -> Any:
    answer = client.invoke(FunctionName=function)
    payload = json.loads(answer["Payload"].read())
    assert "FunctionError" not in answer, payload
    return payload


@pytest.fixture
def two(layer: PublishLayer) -> list[str]:
    first = layer({"python/shared.py": "WHO = 'first'", "data.txt": "first"})
    second = layer(
        {f"python/lib/{PYTHON}/site-packages/second.py": "WHO = 'second'", "python/shared.py": "WHO = 'second'"}
    )
    return [first["LayerVersionArn"], second["LayerVersionArn"]]


def test_later_layers_lie_over_earlier_ones(client: Any, deploy: Callable[..., str], two: list[str]) -> None:
    function = deploy(SHOWS, Layers=two)
    assert _ask(client, function) == {"shared": "second", "second": "second", "file": "first"}
    client.update_function_configuration(FunctionName=function, Layers=two[::-1])
    client.get_waiter("function_updated_v2").wait(FunctionName=function, WaiterConfig={"Delay": 1, "MaxAttempts": 30})
    assert _ask(client, function) == {"shared": "first", "second": "second", "file": "first"}


def test_a_function_runs_on_with_layers_that_are_deleted(
    client: Any, deploy: Callable[..., str], two: list[str]
) -> None:
    function = deploy(SHOWS, Layers=two)
    for arn in two:
        client.delete_layer_version(LayerName=arn.rpartition(":")[0], VersionNumber=1)
    assert _ask(client, function)["shared"] == "second"


def test_the_content_of_a_layer_can_be_downloaded(client: Any, layer: PublishLayer) -> None:
    published = layer({"python/shared.py": "WHO = 'first'"})
    shown = client.get_layer_version_by_arn(Arn=published["LayerVersionArn"])["Content"]
    with urlopen(shown["Location"]) as response:
        content = response.read()
    assert len(content) == shown["CodeSize"]
    assert base64.b64encode(hashlib.sha256(content).digest()).decode() == shown["CodeSha256"]
