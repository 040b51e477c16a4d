"""What a deployed function finds of the service that runs it: files, sockets, credentials, other functions.

It has real code and a real environment's variables, and looks everywhere it can: every file it may read, all of its own
memory, every descriptor, every address that could be the host's. Shown to find what is there by its own secret.
"""

import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support.functions import deploy_with
from support.service import Service

OTHERS, OWN = "nobody-but-its-function-has-this", "something-of-its-own-to-be-found"
SOURCE = """
import errno, os, socket

SKIPPED = ("/proc", "/usr", "/dev", "/var/lang", "/var/runtime")

def holds(content, word):
    # Given in two halves and never joined, so that the search doesn't find itself.
    first, second = (half.encode() for half in word)
    return any(part.startswith(second) for part in content.split(first)[1:])

def look(wanted):
    found = []
    for place, directories, files in os.walk("/"):
        directories[:] = [one for one in directories if os.path.join(place, one) not in SKIPPED]
        for name in files:
            path = os.path.join(place, name)
            try:
                with open(path, "rb") as file:
                    content = file.read(1 << 20)
            except OSError:
                continue
            found += [[path, word] for word in wanted if holds(content, word)]
    with open("/proc/self/maps") as maps, open("/proc/self/mem", "rb", 0) as memory:
        for line in maps:
            span, rights, *_ = line.split()
            if "r" not in rights or "[v" in line:
                continue
            start, end = (int(part, 16) for part in span.split("-"))
            try:
                memory.seek(start)
                content = memory.read(end - start)
            except OSError:
                continue
            found += [["memory", word] for word in wanted if holds(content, word)]
    return found

def attempt(action, *arguments):
    try:
        action(*arguments)
    except OSError as error:
        return errno.errorcode.get(error.errno, str(error))
    return "done"

def handler(event, context):
    found = {"words": look(event["halves"]), "paths": [attempt(os.stat, path) for path in event["paths"]]}
    found["connect"] = []
    for path in event["sockets"]:
        with socket.socket(socket.AF_UNIX) as one:
            found["connect"].append(attempt(one.connect, path))
    found["ports"] = [attempt(lambda: socket.create_connection((host, event["port"]), 2).close()) for host in
                      ("127.0.0.1", "::1", "localhost", "0.0.0.0", *event["addresses"])]
    descriptors = {}
    for name in os.listdir("/proc/self/fd"):
        try:
            descriptors[name] = os.readlink("/proc/self/fd/" + name)
        except OSError:
            pass
    found["descriptors"] = descriptors
    found["processes"] = [name for name in os.listdir("/proc") if name.isdigit()]
    return found
"""


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    isolation = "full" if os.geteuid() == 0 else "user"
    with Service(tmp_path_factory.mktemp("attacked") / "data", "--isolation", isolation) as service:
        yield service


@pytest.fixture(scope="module")
def found(running: Service) -> dict[str, Any]:
    client = running.client()
    secret = running.environment()["AWS_SECRET_ACCESS_KEY"]
    neighbour = deploy_with(
        client, f"WORD = '{OTHERS}'\ndef handler(event, context): return 1", Environment={"Variables": {"WORD": OTHERS}}
    )
    client.invoke(FunctionName=neighbour)  # its environment stands while the attack runs
    name = deploy_with(client, SOURCE, MemorySize=512, Timeout=60, Environment={"Variables": {"WORD": OWN}})
    data = Path(running.ready["data"])
    files = [path for path in data.rglob("*") if not path.is_dir()]
    event = {
        "halves": [(word[:16], word[16:]) for word in (OTHERS, OWN, secret)],
        "paths": [str(data), *(str(path) for path in files[:50]), f"/proc/{running.process.pid}/root"],
        "sockets": [str(path) for path in files if path.is_socket()] or [str(data / "none.sock")],
        "port": running.port,
        "addresses": sorted({address[4][0] for address in socket.getaddrinfo(socket.gethostname(), None)}),
    }
    answer = client.invoke(FunctionName=name, Payload=json.dumps(event))
    result = json.load(answer["Payload"])
    client.close()
    assert "FunctionError" not in answer, result
    return result


def test_neither_the_services_credentials_nor_others_code_or_variables_are_found_anywhere(
    found: dict[str, Any],
) -> None:
    """In files and in memory; what is its own is."""
    assert {"".join(halves) for _, halves in found["words"]} == {OWN}


def test_the_data_directory_and_its_sockets_are_not_there(found: dict[str, Any]) -> None:
    assert set(found["paths"]) <= {"ENOENT", "EACCES"}
    assert set(found["connect"]) <= {"ENOENT", "EACCES"}


def test_the_services_port_is_not_the_functions(found: dict[str, Any]) -> None:
    assert set(found["ports"]) <= {"ECONNREFUSED", "EHOSTUNREACH", "ENETUNREACH", "EADDRNOTAVAIL"}


def test_descriptors_and_processes_are_its_own(found: dict[str, Any]) -> None:
    kinds = {target.partition(":")[0] for target in found["descriptors"].values()}
    assert kinds <= {"/dev/null", "pipe", "socket", "/proc/2/fd"}
    assert sum(target.startswith("socket") for target in found["descriptors"].values()) <= 1  # the Runtime API's
    assert found["processes"] == ["2"]
