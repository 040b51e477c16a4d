"""Java functions in the running service: handlers of every form, their errors, their log, and how they start."""

import base64
import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.support.control import zipped
from tests.support.service import Service

from lamplighter.runtimes import catalogue
from lamplighter.runtimes.languages import JAVA_CLIENT

HANDLERS = Path(__file__).parents[1] / "support" / "java_handlers"
SOURCES = Path(__file__).parents[2] / "java" / "source"
RELEASES = ("java11", "java17", "java21", "java25")
FOUND = [name for name in RELEASES if name in catalogue.installed()]

Deploy = Callable[..., str]

pytestmark = pytest.mark.skipif(
    shutil.which("javac") is None or not FOUND, reason="a JDK is needed, to compile functions and to run them"
)


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The handlers, as a jar has them."""
    classes = tmp_path_factory.mktemp("classes")
    sources = [str(source) for source in HANDLERS.rglob("*.java")]
    subprocess.run(["javac", "--release", "11", "-cp", JAVA_CLIENT, "-d", classes, *sources], check=True)
    files: dict[str, bytes | str] = {
        str(path.relative_to(classes)): path.read_bytes() for path in classes.rglob("*.class")
    }
    return zipped({"META-INF/MANIFEST.MF": "Manifest-Version: 1.0\n", **files})


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with Service(tmp_path_factory.mktemp("java") / "data") as service:
        made = service.client()
        yield made
        made.close()


@pytest.fixture
def release() -> str:
    """The oldest there is: what is compiled for it runs on the others."""
    return FOUND[0]


@pytest.fixture
def deploy(client: Any, package: bytes, release: str) -> Iterator[Deploy]:
    names: list[str] = []

    def deploy(handler: str, code: bytes = package, runtime: str = release, **more: Any) -> str:
        name = f"{runtime}-{len(names)}"
        client.create_function(
            FunctionName=name,
            Runtime=runtime,
            Role="arn:aws:iam::000000000000:role/r",
            Handler=handler,
            Code={"ZipFile": code},
            **{"MemorySize": 512, "Timeout": 20, **more},
        )
        client.get_waiter("function_active_v2").wait(FunctionName=name)
        names.append(name)
        return name

    yield deploy
    for name in names:
        client.delete_function(FunctionName=name)


def _call(client: Any, name: str, event: Any = None, **more: Any) -> tuple[Any, str, str | None]:
    answer = client.invoke(FunctionName=name, Payload=json.dumps(event), LogType="Tail", **more)
    log = base64.b64decode(answer["LogResult"]).decode()
    return json.load(answer["Payload"]), log, answer.get("FunctionError")


def test_a_request_handler_is_given_its_own_types(client: Any, deploy: Deploy) -> None:
    name = deploy("example.Typed")
    order = {
        "items": [{"name": "tea", "count": 2, "unknown": []}, {"name": "cake", "count": "3"}],
        "kind": "LARGE",
        "prices": {"tea": 1.5, "cake": 2},
        "paid": None,
        "note": "grüß dich \U0001f375",
    }
    answer, log, error = _call(client, name, order)
    assert error is None, log
    assert answer == {
        "total": 9.0,
        "kind": "LARGE",
        "items": [{"name": "tea", "count": 2}, {"name": "cake", "count": 3}],
        "note": "grüß dich \U0001f375",
        "final": True,
    }
    answer, _, error = _call(client, name, {"kind": "NONE"})
    assert (error, answer["errorMessage"], answer["errorType"]) == (
        "Unhandled",
        "An error occurred during JSON parsing",
        "java.lang.RuntimeException",
    )


@pytest.mark.parametrize("other", FOUND[1:])
def test_every_release_that_is_found_runs_functions(client: Any, deploy: Deploy, other: str) -> None:
    event = {"text": "grüß dich", "numbers": [1, 0.5]}
    assert _call(client, deploy("example.Plain::echo", runtime=other), event)[0] == event
    found, _, _ = _call(client, deploy("example.Plain::variables", runtime=other), {})
    assert found["AWS_EXECUTION_ENV"] == f"AWS_Lambda_{other}"


def test_streams_and_plain_methods_are_handlers_too(client: Any, deploy: Deploy) -> None:
    assert _call(client, deploy("example.Streams"), {"a": [1]})[0] == {"given": {"a": [1]}}
    assert _call(client, deploy("example.Plain::greet"), "you")[0] == "Hello, you"
    assert _call(client, deploy("example.Plain::sum"), [1, 2, 39])[0] == 42
    assert _call(client, deploy("example.Plain::nothing"), {})[0] is None
    assert _call(client, deploy("example.Plain::copy"), {"x": "y"})[0] == {"x": "y"}
    event = {"n": [0, -1, 2**31, 2**63 - 1, 2**70, 0.5, 1e300], "s": '\u0000\n"\\\u2028', "z": [True, False, None, {}]}
    assert _call(client, deploy("example.Plain::echo"), event)[0] == event


def test_the_context_and_the_log_are_as_on_aws(client: Any, deploy: Deploy) -> None:
    name = deploy("example.Plain::context")
    given = base64.b64encode(json.dumps({"custom": {"a": "b"}, "client": {}, "env": {}}).encode()).decode()
    told, log, error = _call(client, name, {}, ClientContext=given)
    assert error is None, log
    assert told["arn"].endswith(f":function:{name}")
    assert (told["name"], told["version"], told["memory"]) == (name, "$LATEST", 512)
    assert told["group"] == f"/aws/lambda/{name}"
    assert 0 < told["remaining"] <= 20_000
    assert told["trace"].startswith("Root=1-")
    assert told["custom"] == {"a": "b"}
    assert f"START RequestId: {told['id']}" in log
    assert "first line\nsecond line\n" in log
    assert "printed\n" in log


def test_an_error_is_reported_with_its_cause_and_its_own_frames(client: Any, deploy: Deploy) -> None:
    answer, log, error = _call(client, deploy("example.Plain::fail"), {})
    assert error == "Unhandled"
    assert answer["errorMessage"] == "Error: some_error_msg"
    assert answer["errorType"] == "java.lang.IllegalStateException"
    assert [frame.split("(")[0] for frame in answer["stackTrace"]] == ["example.Plain.fail"]
    assert answer["cause"]["errorMessage"] == "below"
    assert "Error: some_error_msg: java.lang.IllegalStateException\n" in log


@pytest.mark.parametrize(
    ("handler", "type", "message"),
    [
        ("example.Missing", "java.lang.ClassNotFoundException", "Class not found: example.Missing"),
        (
            "example.Plain::missing",
            "java.lang.NoSuchMethodException",
            "No public method named missing with appropriate method signature found on class example.Plain",
        ),
    ],
)
def test_a_handler_that_is_not_there_fails_the_init(
    client: Any, deploy: Deploy, handler: str, type: str, message: str
) -> None:
    answer, log, error = _call(client, deploy(handler), {})
    assert (error, answer["errorType"], answer["errorMessage"]) == ("Unhandled", type, message)
    assert "INIT_REPORT" in log or "Phase: invoke" in log


def test_a_process_that_ends_itself_or_hoards_is_told_as_such(client: Any, deploy: Deploy) -> None:
    answer, _, error = _call(client, deploy("example.Plain::exit"), {})
    assert (error, answer["errorType"]) == ("Unhandled", "Runtime.ExitError")
    assert answer["errorMessage"].endswith("Error: Runtime exited with error: exit status 3")
    answer, _, error = _call(client, deploy("example.Plain::hoard"), {})
    assert (error, answer["errorType"]) == ("Unhandled", "java.lang.OutOfMemoryError")


def test_libraries_of_the_package_and_of_layers_are_found(
    client: Any, deploy: Deploy, package: bytes, tmp_path: Path
) -> None:
    assert (
        _call(client, deploy("example.Plain::greet", zipped({"lib/handlers.jar": package})), "lib")[0] == "Hello, lib"
    )
    layer = client.publish_layer_version(
        LayerName="handlers", Content={"ZipFile": zipped({"java/lib/handlers.jar": package})}
    )
    name = deploy("example.Plain::greet", zipped({"empty.txt": ""}), Layers=[layer["LayerVersionArn"]])
    assert _call(client, name, "layer")[0] == "Hello, layer"


def test_variables_are_the_functions_own_whether_its_process_waited_or_not(client: Any, deploy: Deploy) -> None:
    name = deploy("example.Plain::variables", Environment={"Variables": {"GREETING": "hi"}})
    for _ in range(3):
        found, log, error = _call(client, name, {})
        assert error is None, log
        assert found["GREETING"] == "hi"
        assert found["AWS_EXECUTION_ENV"].startswith("AWS_Lambda_java")
        assert found["_HANDLER"] == "example.Plain::variables"
        assert "LAMPLIGHTER_WAITS" not in found
        client.update_function_configuration(FunctionName=name, Description="another environment")
        client.get_waiter("function_updated_v2").wait(FunctionName=name)


def test_the_client_that_is_shipped_is_what_its_sources_say(tmp_path: Path) -> None:
    said = subprocess.run(["javac", "-version"], capture_output=True, text=True, check=True)
    if not (said.stdout + said.stderr).startswith("javac 17."):
        pytest.skip("it was compiled with javac 17, others write other classes")
    sources = sorted(str(source) for source in SOURCES.rglob("*.java"))
    subprocess.run(["javac", "--release", "11", "-g:source,lines", "-d", tmp_path, *sources], check=True)
    made = {str(path.relative_to(tmp_path)): path.read_bytes() for path in tmp_path.rglob("*.class")}
    unpacked = tmp_path / "unpacked"
    shutil.unpack_archive(JAVA_CLIENT, unpacked, "zip")
    shipped = {str(path.relative_to(unpacked)): path.read_bytes() for path in unpacked.rglob("*.class")}
    assert shipped.keys() == made.keys()
    assert {name for name in made if made[name] != shipped[name]} == set(), "run make java"
    assert os.path.getsize(JAVA_CLIENT) < 100_000
