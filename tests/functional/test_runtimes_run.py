"""The runtimes that are no fork of a Python, in a real service and real sandboxes: custom ones, and Node.js."""

import base64
import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from support.functions import PYTHON, deploy_with, package
from support.node_clients import nodes
from support.service import Service

CUSTOM = Path(__file__).parents[1] / "support" / "custom_runtimes"
NODES = nodes()
RELEASES = ("nodejs20.x", "nodejs22.x", "nodejs24.x")
LARGE = {"MemorySize": 1769}  # a whole processor, so that a test needn't wait
# AWS: recorded from introspecting functions, with the metadata endpoint that came since (spec 3.1), and with where the
# service's own API is.
VARIABLES_OF_ALL = {
    "AWS_DEFAULT_REGION", "AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "AWS_LAMBDA_FUNCTION_NAME", "AWS_LAMBDA_FUNCTION_VERSION",
    "AWS_LAMBDA_INITIALIZATION_TYPE", "AWS_LAMBDA_LOG_GROUP_NAME", "AWS_LAMBDA_LOG_STREAM_NAME",
    "AWS_ENDPOINT_URL", "AWS_LAMBDA_METADATA_API", "AWS_LAMBDA_METADATA_TOKEN",
    "AWS_LAMBDA_RUNTIME_API", "AWS_REGION", "AWS_XRAY_CONTEXT_MISSING", "AWS_XRAY_DAEMON_ADDRESS",
    "LAMBDA_RUNTIME_DIR", "LAMBDA_TASK_ROOT", "LANG", "LD_LIBRARY_PATH", "PATH", "TZ", "_AWS_XRAY_DAEMON_ADDRESS",
    "_AWS_XRAY_DAEMON_PORT", "_HANDLER",
}  # fmt: skip
CREDENTIALS = {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"}

Deploy = Callable[..., str]


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Of a service that finds every Node.js there is."""
    places = [str(Path(node).parent) for node in NODES.values()]
    with Service(tmp_path_factory.mktemp("service") / "data", PATH=":".join([os.environ["PATH"], *places])) as service:
        made = service.client()
        yield made
        made.close()


@pytest.fixture
def deploy(client: Any) -> Iterator[Deploy]:
    """deploy(runtime, files, **members of CreateFunction): the name of an Active function."""
    made: list[str] = []

    def deploy(runtime: str, files: dict[str, str | bytes], executable: bool = False, **members: Any) -> str:
        code = {"ZipFile": package(files, executable)}
        standard = {"Runtime": runtime, "Code": code, "Handler": "index.handler", **LARGE}
        made.append(deploy_with(client, "", **standard | members))
        return made[-1]

    yield deploy
    for name in made:
        client.delete_function(FunctionName=name)


def _call(client: Any, name: str, event: Any = None) -> tuple[Any, str, str | None]:
    """Answer, log and FunctionError."""
    answer = client.invoke(FunctionName=name, Payload=json.dumps(event), LogType="Tail")
    log = base64.b64decode(answer["LogResult"]).decode()
    return json.load(answer["Payload"]), log, answer.get("FunctionError")


# Custom runtimes


@pytest.fixture
def shell_script() -> dict[str, str | bytes]:
    if not (shutil.which("curl") or "").startswith("/usr/bin/"):
        pytest.skip("there is no curl here that functions could see")
    return {"bootstrap": (CUSTOM / "bootstrap.sh").read_text()}


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    if shutil.which("gcc") is None:
        pytest.skip("there is no C compiler here")
    built = tmp_path_factory.mktemp("program") / "bootstrap"
    subprocess.run(["gcc", "-O1", "-Wall", "-o", str(built), str(CUSTOM / "bootstrap.c")], check=True, timeout=60)
    return built.read_bytes()


@pytest.mark.parametrize("runtime", ["provided.al2023", "provided.al2"])
def test_a_shell_script_is_a_runtime(
    client: Any, deploy: Deploy, runtime: str, shell_script: dict[str, str | bytes]
) -> None:
    name = deploy(runtime, shell_script, executable=True)
    for number in (1, 2):
        answer, log, error = _call(client, name, {"number": number})
        assert error is None, log
        assert answer == {"event": {"number": number}, "handler": "index.handler"}
        assert 'the shell was given {"number": ' in log
        assert "REPORT RequestId: " in log
    answer, log, error = _call(client, name, "fail")
    assert (answer, error) == ({"errorType": "Shell.Failure", "errorMessage": "as asked"}, "Unhandled")
    answer, log, error = _call(client, name, "exit")
    assert answer["errorType"] == "Runtime.ExitError"
    assert answer["errorMessage"].endswith(" Error: Runtime exited with error: exit status 3")
    assert "Status: error\tError Type: Runtime.ExitError" in log
    answer, _, error = _call(client, name, {"again": True})
    assert (answer["event"], error) == ({"again": True}, None)


def test_a_compiled_program_is_a_runtime(client: Any, deploy: Deploy, program: bytes) -> None:
    name = deploy("provided.al2023", {"bootstrap": program}, executable=True)
    for number in (1, 2, 3):
        answer, log, error = _call(client, name, {"text": "ü" * number})
        assert error is None, log
        assert answer == [number, {"text": "ü" * number}]


def test_a_layer_can_bring_the_runtime(client: Any, deploy: Deploy, program: bytes) -> None:
    content = {"ZipFile": package({"bootstrap": program}, executable=True)}
    layer = client.publish_layer_version(LayerName="a-runtime", Content=content)["LayerVersionArn"]
    name = deploy("provided.al2023", {"function.json": "{}"}, Layers=[layer])
    answer, _, error = _call(client, name, "event")
    assert (answer[1], error) == ("event", None)


@pytest.mark.parametrize(
    ("files", "executable", "reason"),
    [
        ({"other": ""}, False, "Couldn't find valid bootstrap(s): [/var/task/bootstrap /opt/bootstrap]"),
        ({"bootstrap": "#!/bin/sh\n"}, False, "fork/exec /var/task/bootstrap: permission denied"),
        ({"bootstrap": "nothing"}, True, "fork/exec /var/task/bootstrap: exec format error"),
        ({"bootstrap": "#!/nowhere\n"}, True, "fork/exec /var/task/bootstrap: no such file or directory"),
    ],
)
def test_a_bootstrap_that_cannot_be_run_is_an_invalid_entrypoint(
    client: Any, deploy: Deploy, files: dict[str, str | bytes], executable: bool, reason: str
) -> None:
    name = deploy("provided.al2023", files, executable)
    answer, log, error = _call(client, name)
    assert error == "Unhandled"
    assert list(answer) == ["errorType", "errorMessage"]
    assert answer["errorType"] == "Runtime.InvalidEntrypoint"
    request_id, _, said = answer["errorMessage"].partition(" Error: ")
    assert request_id.startswith("RequestId: ")
    assert said == reason
    assert f"{request_id} Error: {reason}\n" in log
    assert "\tPhase: invoke\tStatus: error\tError Type: Runtime.InvalidEntrypoint\n" in log


@pytest.mark.parametrize(
    ("runtime", "path"),
    [
        ("provided.al2023", "/var/lang/bin:/usr/local/bin:/usr/bin/:/bin:/opt/bin"),
        ("provided.al2", "/usr/local/bin:/usr/bin/:/bin:/opt/bin"),
    ],
)
def test_a_custom_runtime_has_awss_variables_and_no_others(
    client: Any, deploy: Deploy, runtime: str, path: str, shell_script: dict[str, str | bytes]
) -> None:
    wrapper = {"AWS_LAMBDA_EXEC_WRAPPER": "/nowhere", "TEST_KEY": "TEST_VAL"}  # wrappers are for managed runtimes
    name = deploy(runtime, shell_script, executable=True, Environment={"Variables": wrapper})
    answer, log, error = _call(client, name, "variables")
    assert error is None, log
    found = dict(line.split("=", 1) for line in answer)
    made_by_the_shell = {"PWD", "OLDPWD", "_", "SHLVL"}
    assert found.keys() - made_by_the_shell - CREDENTIALS == VARIABLES_OF_ALL | wrapper.keys()
    assert found["PATH"] == path
    assert found["LAMBDA_RUNTIME_DIR"] == "/var/runtime"
    assert found["AWS_LAMBDA_RUNTIME_API"] == "127.0.0.1:9001"


# Node.js


@pytest.fixture(params=RELEASES)
def release(request: pytest.FixtureRequest) -> str:
    if request.param not in NODES:
        pytest.skip(f"there is no Node.js for {request.param} here")
    return request.param


def test_a_node_function_answers_and_logs(client: Any, deploy: Deploy, release: str) -> None:
    source = """
export const handler = async (event, context) => {
  console.log("given", event);
  return { event, arn: context.invokedFunctionArn, major: process.versions.node.split(".")[0] };
};"""
    name = deploy(release, {"index.mjs": source})
    for number in (1, 2):
        answer, log, error = _call(client, name, {"number": number})
        assert error is None, log
        assert answer["event"] == {"number": number}
        assert answer["arn"].endswith(f":function:{name}")
        assert f"nodejs{answer['major']}.x" == release
        request_id = log.partition("START RequestId: ")[2].partition(" ")[0]
        assert f"Z\t{request_id}\tINFO\tgiven {{ number: {number} }}\n" in log


def test_a_node_function_has_awss_variables_and_no_others(client: Any, deploy: Deploy, release: str) -> None:
    name = deploy(release, {"index.js": "exports.handler = async () => process.env;"})
    found, _, _ = _call(client, name)
    more = {"AWS_EXECUTION_ENV", "NODE_PATH", "PWD", "SHLVL", "_X_AMZN_TRACE_ID"}
    assert found.keys() - CREDENTIALS == VARIABLES_OF_ALL | more
    assert found["AWS_EXECUTION_ENV"] == f"AWS_Lambda_{release}"
    major = release.removeprefix("nodejs").removesuffix(".x")
    assert found["NODE_PATH"] == (
        f"/opt/nodejs/node{major}/node_modules:/opt/nodejs/node_modules:/var/runtime/node_modules:/var/runtime:/var/task"
    )
    assert (found["PWD"], found["SHLVL"]) == ("/var/task", "0")


def test_an_error_thrown_in_node_is_reported_with_its_trace(client: Any, deploy: Deploy, release: str) -> None:
    source = "exports.handler = async (event) => {\n  throw new Error(event.error_msg);\n};\n"
    name = deploy(release, {"index.js": source})
    answer, log, error = _call(client, name, {"error_msg": "Error: some_error_msg"})
    assert error == "Unhandled"
    assert list(answer) == ["errorType", "errorMessage", "trace"]
    assert (answer["errorType"], answer["errorMessage"]) == ("Error", "Error: some_error_msg")
    assert answer["trace"][:2] == [
        "Error: Error: some_error_msg",
        "    at exports.handler (/var/task/index.js:2:9)",
    ]
    assert '\tERROR\tInvoke Error \t{"errorType":"Error","errorMessage":"Error: some_error_msg","stack":[' in log


def test_what_nobody_catches_ends_the_node_process_and_the_next_call_has_another(
    client: Any, deploy: Deploy, release: str
) -> None:
    source = """
let calls = 0;
exports.handler = async (event) => {
  if (event.throw) setImmediate(() => { throw new Error("from nowhere"); });
  if (event.throw) await new Promise((resolve) => setTimeout(resolve, 5000));
  return ++calls;
};"""
    name = deploy(release, {"index.js": source})
    assert [_call(client, name, {})[0] for _ in range(2)] == [1, 2]
    answer, log, error = _call(client, name, {"throw": True})
    assert error == "Unhandled"
    if release == "nodejs24.x":  # from here on it is Node.js that ends the process
        assert answer["errorType"] == "Runtime.ExitError"
        assert answer["errorMessage"].endswith("Runtime exited with error: exit status 1")
    else:
        assert (answer["errorType"], answer["errorMessage"]) == ("Error", "from nowhere")
        assert "Uncaught Exception" in log
        assert "Runtime exited with error: exit status 129" in log
    assert _call(client, name, {})[0] == 1


def test_a_node_module_that_is_missing_fails_the_init(client: Any, deploy: Deploy, release: str) -> None:
    name = deploy(release, {"index.js": "require('not-there');"})
    answer, log, error = _call(client, name)
    assert error == "Unhandled"
    assert answer["errorType"] == "Runtime.ImportModuleError"
    assert answer["errorMessage"].startswith(
        "Error: Cannot find module 'not-there'\nRequire stack:\n- /var/task/index.js"
    )
    assert "Status: error\tError Type: Runtime.ImportModuleError" in log


def test_callback_handlers_work_until_node_24_refuses_them(client: Any, deploy: Deploy, release: str) -> None:
    source = "exports.handler = (event, context, callback) => { setTimeout(() => callback(null, 'called back'), 1); };"
    answer, _, error = _call(client, deploy(release, {"index.js": source}))
    if release == "nodejs24.x":
        assert error == "Unhandled"
        assert answer["errorType"] == "Runtime.CallbackHandlerDeprecated"
        assert answer["errorMessage"].startswith("ERROR: AWS Lambda has removed support for callback-based function")
    else:
        assert (answer, error) == ("called back", None)


def test_node_modules_of_a_layer_are_found_and_the_functions_own_win(client: Any, deploy: Deploy, release: str) -> None:
    major = release.removeprefix("nodejs").removesuffix(".x")
    files: dict[str, str | bytes] = {
        "nodejs/node_modules/shared/index.js": "module.exports = 'from the layer';",
        "nodejs/node_modules/both/index.js": "module.exports = 'from the layer';",
        f"nodejs/node{major}/node_modules/by_release/index.js": f"module.exports = 'for {major}';",
    }
    content = {"ZipFile": package(files)}
    layer = client.publish_layer_version(LayerName="modules", Content=content)["LayerVersionArn"]
    source = "exports.handler = async () => ['shared', 'both', 'by_release'].map((name) => require(name));"
    own = {"index.js": source, "node_modules/both/index.js": "module.exports = 'the own one';"}
    answer, log, _ = _call(client, deploy(release, own, Layers=[layer]))
    assert answer == ["from the layer", "the own one", f"for {major}"], log


def test_node_logs_json_at_the_level_that_is_set(client: Any, deploy: Deploy, release: str) -> None:
    source = "exports.handler = async () => { console.info('no'); console.warn('yes', { a: 1 }); };"
    logging = {"LogFormat": "JSON", "ApplicationLogLevel": "WARN", "SystemLogLevel": "WARN"}
    _, log, _ = _call(client, deploy(release, {"index.js": source}, LoggingConfig=logging))
    records = [json.loads(line) for line in log.splitlines() if line.startswith('{"timestamp"')]
    assert [(record["level"], record["message"]) for record in records] == [("WARN", "yes { a: 1 }")]


def test_a_node_function_that_waits_too_long_is_timed_out(client: Any, deploy: Deploy, release: str) -> None:
    source = "exports.handler = async () => { for (;;); };"
    answer, _, error = _call(client, deploy(release, {"index.js": source}, Timeout=1))
    assert error == "Unhandled"
    assert answer["errorType"] == "Sandbox.Timedout"


def test_a_streaming_node_function_sends_what_it_has(client: Any, deploy: Deploy, release: str) -> None:
    source = """
exports.handler = awslambda.streamifyResponse(async (event, stream) => {
  stream.setContentType("text/plain");
  stream.write("first;");
  await new Promise((resolve) => setTimeout(resolve, 20));
  if (event.fail) throw new TypeError("in the middle");
  stream.write("second;");
  stream.end();
});"""
    name = deploy(release, {"index.js": source})
    answer = client.invoke_with_response_stream(FunctionName=name, Payload="{}")
    events = list(answer["EventStream"])
    assert b"".join(event["PayloadChunk"]["Payload"] for event in events[:-1]) == b"first;second;"
    assert "ErrorCode" not in events[-1]["InvokeComplete"]
    answer = client.invoke_with_response_stream(FunctionName=name, Payload='{"fail": true}')
    events = list(answer["EventStream"])
    assert events[0]["PayloadChunk"]["Payload"] == b"first;"
    assert "in the middle" in events[-1]["InvokeComplete"]["ErrorDetails"]
    assert client.invoke(FunctionName=name, Payload="{}")["Payload"].read() == b"first;second;"


def test_a_node_function_sees_no_more_of_the_host_than_a_python_function(
    client: Any, deploy: Deploy, release: str
) -> None:
    source = """
const fs = require("node:fs");
const look = (path) => { try { return fs.readdirSync(path).sort(); } catch (error) { return error.code; } };
exports.handler = async () => ({
  status: Object.fromEntries(fs.readFileSync("/proc/self/status", "utf8").split("\\n").map((l) => l.split(":\\t"))),
  mnt: look("/mnt"), root: look("/root"), home: look("/home"), local: look("/usr/local"), tmp: look("/tmp"),
  processes: look("/proc").filter((name) => /^\\d+$/.test(name)).length,
  mounts: fs.readFileSync("/proc/self/mountinfo", "utf8"),
  write: ["/var/task/x", "/var/runtime/x", "/usr/x", "/x"].map((path) => {
    try { fs.writeFileSync(path, ""); return "written"; } catch (error) { return error.code; }
  }),
});"""
    seen, log, error = _call(client, deploy(release, {"index.js": source}))
    assert error is None, log
    assert {name: seen["status"][name] for name in ("CapEff", "CapBnd", "NoNewPrivs", "Seccomp")} == {
        "CapEff": "0" * 16, "CapBnd": "0" * 16, "NoNewPrivs": "1", "Seccomp": "2",
    }  # fmt: skip
    assert (seen["mnt"], seen["root"], seen["home"]) == ([], "ENOENT", "ENOENT")
    assert (seen["local"], seen["tmp"]) == ([], [])
    assert seen["processes"] <= 2
    places = {line.split()[4] for line in seen["mounts"].splitlines()}
    assert {place for place in places if place.startswith(("/mnt", "/opt", "/root"))} == set()
    assert set(seen["write"]) <= {"EROFS", "EACCES"}


# Wrappers, for every managed runtime


def test_a_wrapper_starts_the_runtime(client: Any, deploy: Deploy, release: str) -> None:
    wrapper = '#!/bin/sh\necho "wrapped $#"\nexport WRAPPED=yes\nexec "$@"\n'
    files: dict[str, str | bytes] = {
        "wrapper": wrapper,
        "index.js": "exports.handler = async () => process.env.WRAPPED;",
    }
    variables = {"Variables": {"AWS_LAMBDA_EXEC_WRAPPER": "/var/task/wrapper"}}
    assert _call(client, deploy(release, files, executable=True, Environment=variables))[0] == "yes"


def test_a_wrapper_starts_pythons_runtime_too(client: Any, deploy: Deploy) -> None:
    files: dict[str, str | bytes] = {
        "wrapper": '#!/bin/sh\nexport WRAPPED=yes\nexec "$@"\n',
        "index.py": "import os\ndef handler(event, context): return os.environ['WRAPPED']",
    }
    variables = {"Variables": {"AWS_LAMBDA_EXEC_WRAPPER": "/var/task/wrapper"}}
    assert _call(client, deploy(PYTHON, files, executable=True, Environment=variables))[0] == "yes"


@pytest.mark.parametrize(
    ("wrapper", "code"), [("/opt/nowhere", "exit status 127"), ("/var/task/index.py", "exit status 126")]
)
def test_a_wrapper_that_cannot_run_ends_the_runtime(client: Any, deploy: Deploy, wrapper: str, code: str) -> None:
    variables = {"Variables": {"AWS_LAMBDA_EXEC_WRAPPER": wrapper}}
    name = deploy(PYTHON, {"index.py": "def handler(event, context): pass"}, Environment=variables)
    answer, log, error = _call(client, name)
    assert (answer["errorType"], error) == ("Runtime.ExitError", "Unhandled")
    assert answer["errorMessage"].endswith(code)
    assert f"{wrapper}: " in log


def test_variables_that_an_interpreter_reads_at_its_start_take_effect(client: Any, deploy: Deploy) -> None:
    source = "import sys\ndef handler(event, context): return [sys.flags.hash_randomization, sys.flags.optimize]"
    variables = {"Variables": {"PYTHONHASHSEED": "0", "PYTHONOPTIMIZE": "2"}}
    assert _call(client, deploy(PYTHON, {"index.py": source}, Environment=variables))[0] == [0, 2]


# AWS's own runtime client


def test_awss_own_node_client_runs_as_a_custom_runtime(client: Any, deploy: Deploy) -> None:
    directory = _aws_lambda_ric()
    node = NODES.get("nodejs20.x", "")
    if not node.startswith("/usr/bin/"):
        pytest.skip("there is no Node.js that a custom runtime could see")
    files: dict[str, str | bytes] = {
        name: (directory / name).read_bytes() for name in ("index.mjs", "rapid-client.node")
    }
    # From version 4 on it runs by itself; before, somebody has to call it.
    files["start.mjs"] = (
        'import * as client from "./index.mjs";\n'
        "await client.run?.(process.env.LAMBDA_TASK_ROOT, process.env._HANDLER);\n"
    )
    files["bootstrap"] = "#!/bin/sh\nexec node /var/task/start.mjs\n"
    files["app.js"] = "exports.handler = async (event) => ({ event, by: process.argv[1] });"
    files["package.json"] = "{}"
    name = deploy("provided.al2023", files, executable=True, Handler="app.handler")
    for number in (1, 2):
        answer, log, error = _call(client, name, {"number": number})
        assert error is None, log
        assert answer == {"event": {"number": number}, "by": "/var/task/start.mjs"}


def _aws_lambda_ric() -> Path:
    """What npm has built of it: AWS_LAMBDA_RIC says where, or it is among the global packages."""
    place = Path(os.environ.get("AWS_LAMBDA_RIC", ""))
    npm = shutil.which("npm")
    if "AWS_LAMBDA_RIC" not in os.environ and npm is not None:
        root = subprocess.run([npm, "root", "-g"], capture_output=True, text=True, timeout=60, check=False).stdout
        place = Path(root.strip()) / "aws-lambda-ric"
    for built in (place, place / "dist"):
        if (built / "rapid-client.node").is_file():
            return built
    assert "AWS_LAMBDA_RIC" not in os.environ, f"there is none in {place}"
    pytest.skip(
        "aws-lambda-ric is not installed; `npm install aws-lambda-ric` builds it, AWS_LAMBDA_RIC says where it is"
    )
