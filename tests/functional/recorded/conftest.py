"""Fixtures of the replays: a client that sends what the SDK would refuse, and things that are taken away afterwards."""

import re
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from functional.recorded.matching import Place
from functional.recorded.support import (
    USUAL,
    Answer,
    Client,
    CreateFunction,
    PublishLayer,
    Recording,
    RefusedCreation,
    package,
    read,
    refusal,
)
from support.service import Service


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """It takes functions in any of AWS's runtimes; only Python ones are invoked."""
    with Service(tmp_path_factory.mktemp("recorded") / "data", "--missing-runtimes", "accept") as running:
        yield running


@pytest.fixture(scope="session")
def client(service: Service) -> Iterator[Client]:
    made = service.client(parameter_validation=False)
    yield made
    made.close()


@pytest.fixture
def place(client: Client) -> Place:
    message = refusal(client.get_function, FunctionName="nobody-has-this-function")["Error"]["Message"]
    match = re.search(r"arn:([^:]+):lambda:([^:]+):([^:]+):function:", message)
    assert match, message
    return Place(match[3], match[2], match[1])


@pytest.fixture
def aws(request: pytest.FixtureRequest, place: Place) -> Recording:
    return read(request.param, place)


@pytest.fixture
def name() -> str:
    """Of a function that doesn't exist yet."""
    return f"replay-{uuid.uuid4().hex[:12]}"


@pytest.fixture
def role(place: Place) -> str:
    return f"arn:{place.partition}:iam::{place.account}:role/replay-role"


@pytest.fixture
def function(client: Client, role: str) -> Iterator[CreateFunction]:
    """Creates a function, which is Pending; deletes it afterwards."""
    created: list[str] = []

    def create(name: str, **inputs: Any) -> Answer:
        answer = client.create_function(
            **{"FunctionName": name, "Role": role, "Code": {"ZipFile": package()}, **inputs}
        )
        created.append(answer["FunctionName"])
        return answer

    yield create
    for one in created:
        try:
            client.delete_function(FunctionName=one)
        except client.exceptions.ResourceNotFoundException:
            pass  # the test did


@pytest.fixture
def refused_creation(client: Client, name: str, role: str) -> RefusedCreation:
    """What the service says to a creation that is fine but for `inputs`."""

    def create(**inputs: Any) -> Answer:
        valid = {"FunctionName": name, "Role": role, "Code": {"ZipFile": package()}, **USUAL}
        return refusal(client.create_function, **valid | inputs)

    return create


@pytest.fixture
def layer(client: Client) -> Iterator[PublishLayer]:
    """Publishes a layer version; deletes it afterwards."""
    published: list[tuple[str, int]] = []

    def publish(name: str, **inputs: Any) -> Answer:
        content = {"ZipFile": package(name="python/nothing.py")}
        answer = client.publish_layer_version(**{"LayerName": name, "Content": content, **inputs})
        published.append((answer["LayerArn"], answer["Version"]))
        return answer

    yield publish
    for arn, version in published:
        client.delete_layer_version(LayerName=arn, VersionNumber=version)
