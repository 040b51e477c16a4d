"""kill -9 of the Node.js or Java process that waited for a function, in every moment in which it gets it: the call is
answered as any other first call."""

import base64
import json
import os
import shutil
import signal
import subprocess
import threading
from collections.abc import Generator
from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from lamplighter.runtimes.catalogue import installed
from lamplighter.runtimes.languages import JAVA_CLIENT
from support.callers import until
from support.functions import ROLE, package
from support.sandbox_server import children, descendants
from support.service import Service

NODEJS = "exports.handler = async event => [event];"
JAVA = "public class App { public static Object handler(Object event) { return java.util.List.of(event); } }"
LATE = r"""#!/bin/bash
until [ -e /tmp/go ]; do sleep 0.01; done
exec 3<>/dev/tcp/127.0.0.1/9001
printf 'POST /2020-01-01/extension/register HTTP/1.1\r\nHost: x\r\nContent-Length: 13\r\n' >&3
printf 'Lambda-Extension-Name: late\r\n\r\n{"events":[]}' >&3
while read -r line <&3; do
  line=${line%$'\r'}
  case "$line" in [Ll]ambda-[Ee]xtension-[Ii]dentifier:*) id=${line#*: } ;; "") break ;; esac
done
exec 3<>/dev/tcp/127.0.0.1/9001
printf 'GET /2020-01-01/extension/event/next HTTP/1.1\r\nHost: x\r\n' >&3
printf 'Lambda-Extension-Identifier: %s\r\n\r\n' "$id" >&3
cat <&3 >/dev/null
"""


class Host:
    """A service whose functions all wait with the same command."""

    def __init__(self, service: Service, runtime: str, code: bytes) -> None:
        self.service = service
        self.client = service.client()
        self._made = {"Runtime": runtime, "Code": {"ZipFile": code}, "Handler": "app.handler", "MemorySize": 512}
        if runtime.startswith("java"):
            self._made["Handler"] = "App::handler"
        layer = package({"extensions/late": LATE}, executable=True)
        self.layer = self.client.publish_layer_version(LayerName="late", Content={"ZipFile": layer})["LayerVersionArn"]
        self.answer: dict[str, Any] = {}

    def deploy(self, **more: Any) -> str:
        name = f"test-{uuid4().hex[:12]}"
        self.client.create_function(FunctionName=name, Role=ROLE, Timeout=60, **self._made, **more)
        self.client.get_waiter("function_active_v2").wait(FunctionName=name)
        return name

    def waiting(self) -> list[int]:
        return [pid for pid in descendants(self.service.process.pid) if _waits(pid) and not _is_let_go(pid)]

    def invoke(self, name: str) -> None:
        self.answer = {}
        self.answer = self.client.invoke(FunctionName=name, Payload=b"5", LogType="Tail")

    def begin(self, name: str) -> threading.Thread:
        calling = threading.Thread(target=self.invoke, args=(name,))
        calling.start()
        return calling

    def check(self, name: str) -> None:
        """The call was answered, and nobody was told of more than one init, which went well."""
        assert json.load(self.answer["Payload"]) == [5]
        tail = base64.b64decode(self.answer["LogResult"]).decode()
        assert "Init Duration: " in tail, tail
        assert "INIT_REPORT" not in tail
        logs = self.service.client("logs")
        events = logs.filter_log_events(logGroupName=f"/aws/lambda/{name}")["events"]
        logs.close()
        starts = [event["message"] for event in events if event["message"].startswith("INIT_START")]
        assert len(starts) == 1, starts


def _waits(pid: int) -> bool:
    """Or has waited."""
    try:
        return b"LAMPLIGHTER_WAITS=1" in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return False


def _package(runtime: str, place: Path) -> bytes:
    if not runtime.startswith("java"):
        return package({"app.js": NODEJS})
    (place / "App.java").write_text(JAVA)
    subprocess.run(["javac", "--release", "11", "-cp", JAVA_CLIENT, "-d", place, place / "App.java"], check=True)
    return package({"App.class": (place / "App.class").read_bytes()})


def _one_of(beginning: str) -> Any:
    found = next((name for name in installed() if name.startswith(beginning)), None)
    missing = found is None or (beginning == "java" and shutil.which("javac") is None)
    return pytest.param(found, id=beginning, marks=pytest.mark.skipif(missing, reason=f"no {beginning} here"))


@pytest.fixture(scope="module", params=[_one_of("nodejs"), _one_of("java")])
def host(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Generator[Host]:
    place = tmp_path_factory.mktemp("waiting")
    with Service(place / "data", "--auth", "off") as service:
        if service.ready["isolation"] == "none":
            pytest.skip("nothing waits without isolation")
        host = Host(service, request.param, _package(request.param, place))
        host.invoke(host.deploy())
        yield host
        host.client.close()
        assert "Traceback" not in service.log.read_text()


@pytest.fixture
def waiting(host: Host) -> list[int]:
    """One of them will be taken by the next call of a new function."""
    until(host.waiting, "one waits")
    return host.waiting()


def _is_let_go(pid: int) -> bool:
    """Whether its sandbox has been given its order: then its process 1 has no right to mount any more."""
    try:
        return not int(_told(_first(pid), "CapEff"), 16) & 1 << 21
    except OSError:
        return True  # gone


def _first(pid: int) -> int:
    return int(_told(pid, "PPid"))


def _told(pid: int, name: str) -> str:
    return Path(f"/proc/{pid}/status").read_text().partition(f"\n{name}:")[2].split()[0]


def _signal(pids: list[int], number: signal.Signals) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)


def _extensions(host: Host) -> list[int]:
    def is_one(pid: int) -> bool:
        try:
            return b"/opt/extensions/late" in Path(f"/proc/{pid}/cmdline").read_bytes()
        except OSError:
            return False

    return [pid for pid in descendants(host.service.process.pid) if is_one(pid)]


def _let_register(host: Host) -> bool:
    """Every extension that is there now. Whether there was one."""
    found = _extensions(host)
    for pid in found:
        with suppress(OSError):
            Path(f"/proc/{pid}/root/tmp/go").touch()
    return bool(found)


def _end(host: Host, calling: threading.Thread, name: str) -> None:
    def over() -> bool:
        _let_register(host)
        return not calling.is_alive()

    until(over, "the call is answered")
    host.check(name)


@pytest.mark.root
@pytest.mark.parametrize("accompanied", [False, True], ids=["alone", "accompanied"])
def test_one_that_is_killed_before_its_order_is_not_missed(host: Host, waiting: list[int], accompanied: bool) -> None:
    name = host.deploy(Layers=[host.layer] if accompanied else [])
    _signal(waiting, signal.SIGKILL)
    _end(host, host.begin(name), name)


@pytest.mark.root
def test_one_that_is_killed_before_it_has_read_its_order_is_replaced(host: Host, waiting: list[int]) -> None:
    name = host.deploy()
    _signal(waiting, signal.SIGSTOP)
    calling = host.begin(name)
    until(lambda: any(map(_is_let_go, waiting)), "it has been told")
    _signal(waiting, signal.SIGKILL)
    _end(host, calling, name)


@pytest.mark.root
@pytest.mark.parametrize("told", [False, True], ids=["before they have registered", "once they have"])
def test_one_that_is_killed_while_it_waits_for_extensions_is_replaced(
    host: Host, waiting: list[int], told: bool
) -> None:
    name = host.deploy(Layers=[host.layer])
    _signal(waiting, signal.SIGSTOP)
    calling = host.begin(name)
    until(lambda: any(map(_is_let_go, waiting)), "it will be told")
    if told:
        until(lambda: _let_register(host), "the extension runs")
        until(lambda: any(map(children, _extensions(host))), "it has registered, and waits for its event")
    _signal(waiting, signal.SIGKILL)
    _end(host, calling, name)
