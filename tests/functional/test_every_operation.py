"""Every operation of a running service with inputs from botocore's model: whatever is asked, it is answered, in a form
that botocore reads; and what breaks one constraint is refused in that constraint's words."""

import json
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from lamplighter.api.http import Response
from support.botocore_wire import MODEL, OPERATIONS, request, understood
from support.functions import PYTHON, ROLE
from support.service import Service
from support.wire_client import WireClient
from support.wire_inputs import (
    ALIAS,
    BARE,
    CODE,
    FULL,
    NEW,
    STATEMENT,
    Broken,
    Values,
    World,
    broken_inputs,
    known,
    plausible,
    spoiled,
)

SIGNER = "arn:aws:signer:us-east-1:000000000000:/signing-profiles/tests/abcdefghij"
# Those that run code have tests of their own.
ASKED = [name for name in OPERATIONS if not name.startswith("Invoke")]

# Nothing is made smaller: what an input does depends on what came before, and each attempt is a call.
SOME = settings(
    max_examples=8,
    deadline=None,
    database=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WireClient]:
    data_dir = tmp_path_factory.mktemp("every-operation") / "data"
    options = ("--auth", "off", "--missing-runtimes", "accept")
    with Service(data_dir, *options) as service, WireClient(service.port) as made:
        yield made


@pytest.fixture
def values(client: WireClient) -> Values:
    """What they name is there, whatever the tests before have done to it."""
    for name in (FULL, BARE, *NEW):
        client.call("DeleteFunction", FunctionName=name)
    function: dict[str, Any] = {"Role": ROLE, "Runtime": PYTHON, "Handler": "app.handler", "Code": {"ZipFile": CODE}}
    for name in (FULL, BARE):
        _made(client, "CreateFunction", FunctionName=name, Publish=True, **function)
        _made(client, "CreateAlias", FunctionName=name, Name=ALIAS, FunctionVersion="1")
    statement = {"StatementId": STATEMENT, "Principal": "*"}
    for qualifier in ({}, {"Qualifier": ALIAS}):
        qualified = {"FunctionName": FULL, **qualifier}
        _made(client, "AddPermission", Action="lambda:InvokeFunction", **statement, **qualified)
        _made(client, "CreateFunctionUrlConfig", AuthType="NONE", **qualified)
        _made(client, "PutFunctionEventInvokeConfig", MaximumRetryAttempts=1, **qualified)
    _made(client, "PutFunctionConcurrency", FunctionName=FULL, ReservedConcurrentExecutions=10)
    layer = f"wire-{uuid4().hex}"  # numbers of versions are not used again
    for _ in range(2):
        version = _made(client, "PublishLayerVersion", LayerName=layer, Content={"ZipFile": CODE})["Version"]
    action = {"VersionNumber": version, "Action": "lambda:GetLayerVersion"}
    _made(client, "AddLayerVersionPermission", LayerName=layer, **action, **statement)
    configs = client.call("ListCodeSigningConfigs")["CodeSigningConfigs"]
    publishers = {"SigningProfileVersionArns": [SIGNER]}
    config = configs[0] if configs else _made(client, "CreateCodeSigningConfig", AllowedPublishers=publishers)
    return known(World(layer, config.get("CodeSigningConfig", config)["CodeSigningConfigArn"]))


def _made(client: WireClient, operation: str, **members: Any) -> dict[str, Any]:
    answer = client.call(operation, **members)
    assert "Error" not in answer, (operation, members, answer)
    return answer


@pytest.mark.parametrize("operation", ASKED)
@SOME
@given(data=st.data())
def test_a_valid_input_is_answered(operation: str, client: WireClient, values: Values, data: st.DataObject) -> None:
    parameters = data.draw(plausible(values, operation))
    response = client.send(operation, parameters)
    error = _read(operation, parameters, response).get("Error")
    assert error is None or error["Code"] != "ValidationException", (operation, parameters, error)


@pytest.mark.parametrize("operation", ASKED)
@SOME
@given(data=st.data())
def test_an_input_that_breaks_one_constraint_is_refused_in_its_words(
    operation: str, client: WireClient, values: Values, data: st.DataObject
) -> None:
    found = broken_inputs(values, operation)
    if not found:
        return
    broken: Broken = data.draw(st.sampled_from(found))
    parameters = data.draw(broken.values)
    response = client.send(operation, parameters)
    error = _read(operation, parameters, response).get("Error")
    assert error, (operation, broken, parameters, "was accepted")
    assert (response.status, error["Code"]) == (400, "ValidationException"), (operation, broken, parameters, error)
    expected = f" at '{broken.field}' failed to satisfy constraint: {broken.says}"
    assert expected in error["Message"], (operation, parameters, error)


def _takes_a_document(operation: str) -> bool:
    model = MODEL.operation_model(operation)
    payload = model.input_shape.serialization.get("payload") if model.input_shape else None
    is_document = payload is None or model.input_shape.members[payload].type_name == "structure"
    return model.http["method"] in ("POST", "PUT") and is_document


@pytest.mark.parametrize("operation", list(filter(_takes_a_document, ASKED)))
@SOME
@given(data=st.data())
def test_a_body_with_anything_in_it_is_answered(
    operation: str, client: WireClient, values: Values, data: st.DataObject
) -> None:
    sent = request(operation, data.draw(plausible(values, operation)))
    body = data.draw(spoiled(json.loads(sent.body or b"{}")))
    _read(operation, body, client.exchange(sent._replace(body=json.dumps(body).encode())))


def _read(operation: str, parameters: Any, response: Response) -> dict[str, Any]:
    asked = (operation, parameters, response)
    assert response.status < 500, asked
    headers = {name.lower(): value for name, value in response.headers}
    assert headers["x-amzn-requestid"], asked
    assert not response.body or headers["content-type"] == "application/json", asked
    read = understood(operation, response)
    if response.status >= 400:
        assert read["Error"]["Code"] == headers["x-amzn-errortype"], asked
    else:
        assert "Error" not in read, asked
    return read
