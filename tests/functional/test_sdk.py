"""boto3 in Python functions of a real service: there as on AWS, imported ahead, and never before a function's own."""

import json
import os
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import boto3
import pytest

from support.functions import deploy_with, package
from support.service import Service

LARGE = {"MemorySize": 1769}
CALLS: dict[str, tuple[str, dict[str, str]]] = {
    "s3": ("get_object", {"Bucket": "of-somebody", "Key": "key"}),
    "dynamodb": ("list_tables", {}),
    "sqs": ("list_queues", {}),
    "kinesis": ("list_streams", {}),
}
TELLS = """
import sys
AHEAD = "botocore.client" in sys.modules
import boto3, botocore

def handler(event, context):
    return {"ahead": AHEAD, "version": getattr(boto3, "__version__", "own"), "file": boto3.__file__}
"""
Deploy = Callable[..., str]


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with Service(tmp_path_factory.mktemp("service") / "data") as service:
        made = service.client()
        yield made
        made.close()


@pytest.fixture
def deploy(client: Any) -> Iterator[Deploy]:
    """deploy(files, **members of CreateFunction): the name of an Active function."""
    made: list[str] = []

    def deploy(files: dict[str, str | bytes], **members: Any) -> str:
        made.append(deploy_with(client, "", **LARGE, Code={"ZipFile": package(files)}, **members))
        return made[-1]

    yield deploy
    for name in made:
        client.delete_function(FunctionName=name)


def call(client: Any, name: str) -> Any:
    answer = client.invoke(FunctionName=name)
    payload = json.load(answer["Payload"])
    assert "FunctionError" not in answer, payload
    return payload


def test_boto3_is_there_and_imported_already(client: Any, deploy: Deploy) -> None:
    name = deploy({"app.py": TELLS})
    file = "/var/runtime/sdk/boto3/__init__.py"
    assert call(client, name) == {"ahead": True, "version": version("boto3"), "file": file}


def test_a_copy_of_the_package_or_of_a_layer_wins(client: Any, deploy: Deploy) -> None:
    name = deploy({"app.py": TELLS, "boto3/__init__.py": ""})
    assert call(client, name) == {"ahead": False, "version": "own", "file": "/var/task/boto3/__init__.py"}
    content = {"ZipFile": package({"python/boto3/__init__.py": "__version__ = 'of the layer'"})}
    layer = client.publish_layer_version(LayerName="own-boto3", Content=content)["LayerVersionArn"]
    name = deploy({"app.py": TELLS}, Layers=[layer])
    assert call(client, name) == {
        "ahead": False, "version": "of the layer", "file": "/opt/python/boto3/__init__.py"
    }  # fmt: skip


def test_what_boto3_needs_is_also_the_functions_own_if_it_brings_it(client: Any, deploy: Deploy) -> None:
    source = "import boto3, jmespath\ndef handler(event, context): return [boto3.__file__, jmespath.__file__]"
    library = Path(boto3.__file__).parents[1] / "jmespath"
    own: dict[str, str | bytes] = {f"jmespath/{path.name}": path.read_bytes() for path in library.glob("*.py")}
    name = deploy({"app.py": source, **own})
    assert call(client, name) == ["/var/runtime/sdk/boto3/__init__.py", "/var/task/jmespath/__init__.py"]


def test_every_session_knows_what_one_that_read_the_models_itself_knows(client: Any, deploy: Deploy) -> None:
    source = f"""
import boto3, botocore.session, os
CALLS = {CALLS!r}
def handler(event, context):
    del os.environ["AWS_ENDPOINT_URL"]  # Lamplighter's, for all services
    def known(client):
        name, event = CALLS[client.meta.service_model.service_name]
        url = client.generate_presigned_url(name, Params=event).split("?")[0]  # by the rules for endpoints
        meta = client.meta
        return [meta.service_model.api_version, meta.endpoint_url, len(meta.method_to_api_mapping), url]
    services = ("s3", "dynamodb", "sqs", "kinesis")
    default = [known(boto3.client(service)) for service in services]
    second = [known(boto3.session.Session().client(service)) for service in services]
    plain = botocore.session.get_session()
    third = [known(plain.create_client(service)) for service in services]
    return [default, second, third, len(boto3.session.Session().get_available_services()),
            boto3.session.Session().get_available_resources()]
"""
    session = boto3.session.Session(region_name="us-east-1", aws_access_key_id="x", aws_secret_access_key="x")
    wanted: list[list[Any]] = []
    environ = {name: os.environ.pop(name) for name in list(os.environ) if name.startswith("AWS_ENDPOINT")}
    try:
        for service in ("s3", "dynamodb", "sqs", "kinesis"):
            own: Any = session.client(service)  # pyright: ignore
            url = own.generate_presigned_url(CALLS[service][0], Params=CALLS[service][1]).split("?")[0]
            meta = own.meta
            wanted.append([meta.service_model.api_version, meta.endpoint_url, len(meta.method_to_api_mapping), url])
    finally:
        os.environ |= environ
    services, resources = session.get_available_services(), session.get_available_resources()
    answer = call(client, deploy({"app.py": source}))
    assert answer == [wanted, wanted, wanted, len(services), resources]


def test_models_that_a_function_brings_are_found(client: Any, deploy: Deploy) -> None:
    source = """
import boto3
def handler(event, context):
    services = boto3.Session().get_available_services()
    return [boto3.client("weather").meta.service_model.service_id, "weather" in services]
"""
    metadata = {
        "apiVersion": "2020-01-01", "endpointPrefix": "weather", "protocol": "json", "serviceFullName": "Weather",
        "serviceId": "Weather", "signatureVersion": "v4", "jsonVersion": "1.1", "targetPrefix": "Weather",
    }  # fmt: skip
    model = json.dumps({"version": "2.0", "metadata": metadata, "operations": {}, "shapes": {}})
    rules = json.dumps({"version": "1.0", "parameters": {}, "rules": [
        {"conditions": [], "endpoint": {"url": "https://weather.test", "properties": {}, "headers": {}},
         "type": "endpoint"}]})  # fmt: skip
    place = "models/weather/2020-01-01"
    files: dict[str, str | bytes] = {
        "app.py": source, f"{place}/service-2.json": model, f"{place}/endpoint-rule-set-1.json": rules
    }  # fmt: skip
    name = deploy(files, Environment={"Variables": {"AWS_DATA_PATH": "/var/task/models"}})
    assert call(client, name) == ["Weather", True]


def test_environments_with_it_have_nothing_in_common_and_know_nothing_of_the_host(client: Any, deploy: Deploy) -> None:
    source = """
import boto3, os, platform, random, socket, threading, uuid
def handler(event, context):
    session = boto3.session.Session()
    return [[random.random(), str(uuid.uuid4()), os.urandom(8).hex()], platform.node() == socket.gethostname(),
            threading.active_count(), boto3.DEFAULT_SESSION is None,
            getattr(session.get_credentials(), "access_key", None) == "-"]
"""
    first, second = (call(client, deploy({"app.py": source})) for _ in range(2))
    assert not set(first[0]) & set(second[0])
    assert first[1:] == second[1:] == [True, 1, True, False]


def test_hooks_round_a_snapshot_can_be_registered_and_are_not_called_without_one(client: Any, deploy: Deploy) -> None:
    source = """
import snapshot_restore_py
called = []

@snapshot_restore_py.register_before_snapshot
def before():
    called.append("before")

snapshot_restore_py.register_after_restore(called.append, "after")

def handler(event, context):
    return [called, callable(before)]
"""
    assert call(client, deploy({"app.py": source})) == [[], True]


def test_only_the_sdk_is_there_and_nobody_can_write_to_it(client: Any, deploy: Deploy) -> None:
    source = """
import importlib.util, os, boto3
def handler(event, context):
    try:
        open("/var/runtime/sdk/boto3/__init__.py", "a")
        writable = True
    except OSError as error:
        writable = error.strerror
    names = [name for name in os.listdir("/var/runtime/sdk") if not name.endswith(".dist-info")]
    return [sorted(names), importlib.util.find_spec("uvloop") is None, writable]
"""
    names = ["boto3", "botocore", "dateutil", "jmespath", "s3transfer", "six.py", "urllib3"]
    found, alone, writable = call(client, deploy({"app.py": source}))
    assert (found, alone) == (names, True)
    assert writable in ("Read-only file system", "Permission denied")
