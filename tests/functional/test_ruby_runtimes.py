"""Functions in Ruby, in a real service and real sandboxes, on whichever release of Ruby the host has."""

import base64
import io
import json
import zipfile
from collections.abc import Iterator
from typing import Any

import pytest

from lamplighter.runtimes.interpreters import installed
from support.functions import deploy_with, package
from support.service import Service

RUBIES = [name for name in installed() if name.startswith("ruby")]
RUNTIME = RUBIES[-1] if RUBIES else ""
RELEASE = RUNTIME.removeprefix("ruby")
SOURCE = """
require "of_a_layer"
def handler(event:, context:)
  raise event["raise"] if event["raise"]
  exit 3 if event["exit"]
  { event: event, name: context.function_name, layer: OfALayer::ANSWER, gems: Gem.path, encoding: "ä".encoding.to_s,
    seen: $seen = ($seen || 0) + 1 }
end
"""

pytestmark = pytest.mark.skipif(not RUBIES, reason="there is no distribution's Ruby of 3.2 or later here")


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with Service(tmp_path_factory.mktemp("service") / "data") as service:
        made = service.client()
        yield made
        made.close()


@pytest.fixture(scope="module")
def name(client: Any) -> str:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("ruby/lib/of_a_layer.rb", "module OfALayer\n  ANSWER = 42\nend\n")
    layer = client.publish_layer_version(LayerName="of-ruby", Content={"ZipFile": packed.getvalue()})
    code = {"ZipFile": package({"index.rb": SOURCE})}
    standard = {"Runtime": RUNTIME, "Code": code, "Handler": "index.handler", "MemorySize": 1769}
    return deploy_with(client, "", **standard, Layers=[layer["LayerVersionArn"]])


def _call(client: Any, name: str, event: Any) -> tuple[Any, str]:
    answer = client.invoke(FunctionName=name, Payload=json.dumps(event), LogType="Tail")
    return json.load(answer["Payload"]), base64.b64decode(answer["LogResult"]).decode()


def test_a_function_in_ruby_answers_with_its_layers_at_hand(client: Any, name: str) -> None:
    first, _ = _call(client, name, {"text": "ä"})
    assert first["event"] == {"text": "ä"}
    assert (first["name"], first["layer"], first["encoding"]) == (name, 42, "UTF-8")
    assert f"/opt/ruby/gems/{RELEASE}.0" in first["gems"]


def test_an_error_is_answered_and_logged_and_the_process_goes_on(client: Any, name: str) -> None:
    before, _ = _call(client, name, {})
    failed, log = _call(client, name, {"raise": "an error"})
    named = "`handler'" if RELEASE < "3.4" else "'Object#handler'"
    assert failed == {
        "errorMessage": "an error",
        "errorType": "Function<RuntimeError>",
        "stackTrace": [f"/var/task/index.rb:4:in {named}"],
    }
    assert "Error raised from handler method\n{\n" in log
    after, _ = _call(client, name, {})
    assert after["seen"] == before["seen"] + 1


def test_one_that_leaves_is_started_again(client: Any, name: str) -> None:
    failed, _ = _call(client, name, {"exit": True})
    assert failed["errorType"] == "Function<SystemExit>"
    assert _call(client, name, {})[0]["seen"] == 1


def test_a_process_that_waited_is_like_any_other(client: Any, name: str) -> None:
    """The second environment of a runtime is one that waited: its variables and directory are the function's."""
    _call(client, name, {})
    other = deploy_with(
        client,
        "",
        Runtime=RUNTIME,
        Code={"ZipFile": package({"index.rb": 'def handler(event:, context:) = [ENV["MINE"], Dir.pwd, __dir__]'})},
        Handler="index.handler",
        Environment={"Variables": {"MINE": "of mine"}},
    )
    assert _call(client, other, {})[0] == ["of mine", "/var/task", "/var/task"]
