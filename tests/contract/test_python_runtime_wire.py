"""How our Python runtime client uses its connection, and how it comes to life in a forked process."""

import json
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from support.python_clients import CLIENT, OURS, Transcript, ours, run, task_root
from support.python_corpus import PYTHON_312, Session, invocation
from support.runtime_api import CHUNKED, CLOSE, SPLIT, TOGETHER, Invocation, RuntimeApi

ECHO = "def handler(event, context):\n    return event\n"
NEXT = b"GET /2018-06-01/runtime/invocation/next HTTP/1.1\r\n"


def _session(*invocations: Invocation, source: str = ECHO, ends: bool = False, **variables: str) -> Session:
    return Session("session", "function.handler", invocations, variables, {"function.py": source}, ends=ends)


@pytest.mark.parametrize("manner", [SPLIT, CHUNKED, TOGETHER])
def test_answers_are_understood_however_they_arrive(manner: str, tmp_path: Path) -> None:
    events = [invocation("echo", number, text="ü" * number * 1000) for number in range(4)]
    session = _session(*events)
    transcript = ours(session, task_root(session, tmp_path), manner=manner)
    assert [json.loads(request[3]) for request in transcript.requests] == [json.loads(event.event) for event in events]


def test_six_megabytes_go_in_and_out(tmp_path: Path) -> None:
    event = json.dumps({"text": "x" * 6_000_000}).encode()
    session = _session(Invocation("large", event))
    assert ours(session, task_root(session, tmp_path)).requests[0][3] == event


def test_an_init_error_is_utf_8_although_awslambdaric_sends_latin_1(tmp_path: Path) -> None:
    session = _session(source="raise ValueError('Zoë ☃')\n", ends=True, **PYTHON_312)
    request = ours(session, task_root(session, tmp_path)).requests[0]
    assert json.loads(request[3])["errorMessage"] == "Zoë ☃"
    assert dict(request[2])["lambda-runtime-function-error-type"] == "ValueError"


def test_a_warm_invocation_is_one_send(tmp_path: Path) -> None:
    """Answer and next request arrive together, even though the answer to the former was not seen yet."""
    session = _session()
    root = task_root(session, tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as listener, _spawn(session, root, listener) as process:
        listener.settimeout(20)
        connection, _ = listener.accept()
        with connection:
            connection.settimeout(20)
            assert connection.recv(65536).startswith(NEXT)
            for number in range(3):
                connection.sendall(_next_answer(str(number), b"[1]"))
                received = connection.recv(65536)
                assert received.startswith(f"POST /2018-06-01/runtime/invocation/{number}/response ".encode())
                assert b"\r\n\r\n[1]" + NEXT in received
                connection.sendall(b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n")
        assert process.wait(20) == 1


def test_a_large_answer_waits_for_its_acceptance_before_it_asks_for_more(tmp_path: Path) -> None:
    session = _session(source="def handler(event, context):\n    return 'x' * 200000\n")
    root = task_root(session, tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as listener, _spawn(session, root, listener) as process:
        listener.settimeout(20)
        connection, _ = listener.accept()
        with connection:
            connection.settimeout(20)
            connection.recv(65536)
            connection.sendall(_next_answer("1", b"{}"))
            received = b""
            while not received.endswith(b'xx"'):
                received += connection.recv(65536)
            assert NEXT not in received
            connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 202 Accepted\r\ncontent-length: 0\r\n\r\n")
            assert connection.recv(65536).startswith(NEXT)
        assert process.wait(20) == 1


def test_the_runtime_ends_when_the_service_closes_the_connection(tmp_path: Path) -> None:
    session = _session(ends=True)
    assert ours(session, task_root(session, tmp_path), manner=CLOSE) == Transcript(
        1,
        (),
        "[ERROR] [TIME] LAMBDA_RUNTIME Failed to get next invocation. No Response from endpoint\n"
        "RuntimeError: Failed to get next\n",
    )


def test_a_next_that_is_refused_ends_the_runtime(tmp_path: Path) -> None:
    session = _session(Invocation("1", status=500), ends=True)
    transcript = ours(session, task_root(session, tmp_path))
    assert transcript.exit_code == 1
    assert "Http Response code: 500" in transcript.log


def test_layers_and_pth_files_and_a_search_path_of_ones_own(tmp_path: Path) -> None:
    source = "import sys\n\ndef handler(event, context):\n    return sys.path\n"
    session = _session(invocation("path"), source=source, PYTHONPATH="/mine:/var/runtime")
    root = task_root(session, tmp_path.resolve())
    (root / "extra").mkdir()
    (root / "more.pth").write_text("extra\n")
    path = json.loads(ours(session, root).requests[0][3])
    assert path[:3] == [str(root), "/var/runtime", "/mine"]
    assert path[-1] == str(root / "extra")
    assert not [entry for entry in path if entry.endswith("-packages")]
    session = _session(*session.invocations, source=source, PYTHONPATH="/var/runtime")
    path = json.loads(ours(session, root).requests[0][3])
    major, minor = sys.version_info[:2]
    assert path[1:4] == [f"/opt/python/lib/python{major}.{minor}/site-packages", "/opt/python", "/var/runtime"]


FORK = f"""
import os, sys
del sys.path[0]
import random, signal, socket, inspect
sys.path.insert(0, {str(CLIENT)!r})
import bootstrap
random.seed(1)
variables = dict(os.environ)
os.environ.clear()
children = []
for _ in range(2):
    child = os.fork()
    if child == 0:
        os.environ.update(variables)
        try:
            bootstrap.main()
        finally:
            os.write(1, b"main returned")
    children.append(child)
for child in children:
    os.waitpid(child, 0)
"""

FORKED = """
import os, random, sys, time
import inspect
import __main__

def handler(event, context):
    program = [__main__.__file__, sys.argv, "bootstrap" in sys.modules, inspect.MINE, callable(exit)]
    return [random.random(), time.tzname, *program]
"""


def test_a_forked_process_is_as_a_fresh_interpreter(tmp_path: Path) -> None:
    files = {"function.py": FORKED, "inspect.py": "MINE = 'my own'"}
    variables = {"TZ": "Asia/Tokyo", "LAMBDA_RUNTIME_DIR": "/var/runtime"}
    session = Session("forked", "function.handler", (), variables, files, terminate=True)
    with RuntimeApi((Invocation("1"), Invocation("2")), runtimes=2) as api:
        _, log = run(session, task_root(session, tmp_path), [sys.executable, "-S", "-c", FORK], api)
    first, second = (json.loads(request.body) for request in api.requests)
    assert first[0] != second[0]
    program = "/var/runtime/bootstrap.py"
    assert first[1:] == second[1:] == [["JST", "JST"], program, [program], False, "my own", True]
    assert b"main returned" not in log


def _next_answer(request_id: str, event: bytes) -> bytes:
    head = f"HTTP/1.1 200 OK\r\nLambda-Runtime-Aws-Request-Id: {request_id}\r\nContent-Length: {len(event)}\r\n\r\n"
    return head.encode() + event


def _spawn(session: Session, root: Path, listener: socket.socket) -> subprocess.Popen[bytes]:
    address = f"127.0.0.1:{listener.getsockname()[1]}"
    variables = {"_HANDLER": session.handler, "LAMBDA_TASK_ROOT": str(root), "AWS_LAMBDA_RUNTIME_API": address}
    return subprocess.Popen([sys.executable, "-c", OURS], cwd=root, env=variables, stderr=subprocess.DEVNULL)
