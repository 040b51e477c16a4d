"""kill -9 of the service in the middle of control-plane calls, again and again on one data directory: what was
acknowledged is there and runs, and a call that was cut off happened as a whole or not at all."""

import base64
import hashlib
import http.client
import json
import random
import time
from collections.abc import Mapping
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from support.functions import PYTHON, ROLE, package
from support.service import Service
from support.wire_client import WireClient

OPTIONS = ("--auth", "off")
ROUNDS, WRITERS, NAMES = 4, 4, 3  # functions of each writer
ACKNOWLEDGED = 30  # changes of a round before it may be killed
DEADLINE = 30.0
GONE = (OSError, http.client.HTTPException)


@dataclass(frozen=True)
class Kept:
    """A function as its writer knows it. Code is a number that the function answers with."""

    code: int
    timeout: int = 3
    versions: Mapping[str, tuple[int, int]] = field(default_factory=dict[str, tuple[int, int]])  # code and time-out
    last: int = 0  # version number
    alias: str | None = None  # the version it points to
    statements: frozenset[str] = frozenset()


def source(code: int) -> bytes:
    return package({"app.py": f"def handler(event, context): return {code}"})


class Writer:
    """Changes functions of its own, one call after the other. `may_be`: what each may be after what has happened."""

    def __init__(self, number: int) -> None:
        self.may_be: dict[str, list[Kept | None]] = {f"kill-{number}-{name}": [None] for name in range(NAMES)}
        self.acknowledged = 0
        self._chance = random.Random(number)
        self._codes = iter(range(number, 1_000_000, WRITERS))

    def work(self, port: int) -> None:
        """Until the service is gone."""
        try:
            with WireClient(port) as client:
                while True:
                    self._change(client, self._chance.choice(list(self.may_be)))
        except GONE:
            pass

    def _change(self, client: WireClient, name: str) -> None:
        (before,) = self.may_be[name]
        operation, members, after = self._choice(before)
        self.may_be[name] = [before, after]
        answer = client.call(operation, FunctionName=name, **members)
        if (error := answer.get("Error")) is None:
            self.may_be[name] = [after]
            self.acknowledged += 1
        else:
            assert error["Code"] == "ResourceConflictException", (operation, members, error)
            self.may_be[name] = [before]
            _settle(client, name)

    def _choice(self, before: Kept | None) -> tuple[str, dict[str, Any], Kept | None]:
        """An operation, its input, and what the function is afterwards."""
        code = next(self._codes)
        if before is None:
            members: dict[str, Any] = {"Runtime": PYTHON, "Role": ROLE, "Handler": "app.handler"}
            return "CreateFunction", {**members, "Code": {"ZipFile": source(code)}}, Kept(code)
        later = before.timeout + 1
        choices: list[tuple[str, dict[str, Any], Kept | None]] = [
            ("UpdateFunctionCode", {"ZipFile": source(code)}, replace(before, code=code)),
            (
                "UpdateFunctionConfiguration",
                {"Timeout": later},
                replace(before, timeout=later),
            ),
            ("PublishVersion", {}, _published(before)),
            (
                "AddPermission",
                {"StatementId": f"s{code}", "Action": "lambda:InvokeFunction", "Principal": "*"},
                replace(before, statements=before.statements | {f"s{code}"}),
            ),
        ]
        if self._chance.random() < 0.1:
            choices = [("DeleteFunction", {}, None)]
        elif before.versions:
            version = self._chance.choice(list(before.versions))
            operation = "CreateAlias" if before.alias is None else "UpdateAlias"
            choices.append((operation, {"Name": "live", "FunctionVersion": version}, replace(before, alias=version)))
            choices.append(("DeleteAlias", {"Name": "live"}, replace(before, alias=None)))
        for version in before.versions.keys() - {before.alias}:
            left = {number: each for number, each in before.versions.items() if number != version}
            choices.append(("DeleteFunction", {"Qualifier": version}, replace(before, versions=left)))
        return self._chance.choice(choices)


def _published(before: Kept) -> Kept:
    now = before.code, before.timeout
    if before.versions.get(str(before.last)) == now:
        return before
    return replace(before, last=before.last + 1, versions={**before.versions, str(before.last + 1): now})


def _settle(client: WireClient, name: str) -> None:
    deadline = time.monotonic() + DEADLINE
    while True:
        shown = client.call("GetFunctionConfiguration", FunctionName=name)
        if shown.get("State") != "Pending" and shown.get("LastUpdateStatus") != "InProgress":
            return
        assert time.monotonic() < deadline, f"{name} does not settle: {shown}"


def test_kill_9_during_control_plane_calls_loses_nothing_and_leaves_no_halves(tmp_path: Path) -> None:
    writers = [Writer(number) for number in range(WRITERS)]
    chance = random.Random()
    data_dir = tmp_path / "data"
    for _ in range(ROUNDS):
        with Service(data_dir, *OPTIONS) as service:
            with WireClient(service.port) as client:
                _compare(client, writers)
            _kill_while_they_work(service, writers, chance.random() * 0.05)
    with Service(data_dir, *OPTIONS) as service, WireClient(service.port) as client:
        _compare(client, writers)
        existing = {name: kept for each in writers for name, (kept,) in each.may_be.items() if kept is not None}
        assert existing
        for name, kept in existing.items():
            _check_that_it_runs(client, name, kept)
        _check_that_nothing_else_is_kept(data_dir, existing)


def _kill_while_they_work(service: Service, writers: list[Writer], moment: float) -> None:
    enough = sum(writer.acknowledged for writer in writers) + ACKNOWLEDGED
    with ThreadPoolExecutor(WRITERS) as threads:
        working = [threads.submit(writer.work, service.port) for writer in writers]
        deadline = time.monotonic() + DEADLINE
        while sum(writer.acknowledged for writer in writers) < enough and time.monotonic() < deadline:
            wait(working, 0.002, FIRST_COMPLETED)
        wait(working, moment, FIRST_COMPLETED)
        service.kill()
        for work in working:
            work.result(DEADLINE)
    assert sum(writer.acknowledged for writer in writers) >= enough, service.last_words()


def _compare(client: WireClient, writers: list[Writer]) -> None:
    """What there is, is one of what may be; from here on only that."""
    for writer in writers:
        for name, may_be in writer.may_be.items():
            found = _look(client, name)
            matching = [kept for kept in may_be if _shape(kept) == found]
            assert matching, (name, found, may_be)
            writer.may_be[name] = matching[:1]


def _shape(kept: Kept | None) -> Any:
    if kept is None:
        return None
    digests = {"$LATEST": (_digest(kept.code), kept.timeout)}
    digests |= {version: (_digest(code), timeout) for version, (code, timeout) in kept.versions.items()}
    return digests, kept.alias, kept.statements


def _look(client: WireClient, name: str) -> Any:
    if "Error" in client.call("GetFunction", FunctionName=name):
        for operation in ("ListVersionsByFunction", "ListAliases", "GetPolicy"):
            assert client.call(operation, FunctionName=name)["Error"]["Code"] == "ResourceNotFoundException", name
        return None
    listed = client.call("ListVersionsByFunction", FunctionName=name)["Versions"]
    digests = {each["Version"]: (each["CodeSha256"], each["Timeout"]) for each in listed}
    aliases = client.call("ListAliases", FunctionName=name)["Aliases"]
    policy = client.call("GetPolicy", FunctionName=name).get("Policy")
    statements = frozenset(each["Sid"] for each in json.loads(policy)["Statement"]) if policy else frozenset[str]()
    return digests, aliases[0]["FunctionVersion"] if aliases else None, statements


def _check_that_it_runs(client: WireClient, name: str, kept: Kept) -> None:
    _settle(client, name)
    assert client.call("GetFunctionConfiguration", FunctionName=name)["LastUpdateStatus"] == "Successful"
    expected = {"$LATEST": kept.code, **{version: code for version, (code, _) in kept.versions.items()}}
    if kept.alias is not None:
        expected["live"] = kept.versions[kept.alias][0]
    newest = str(kept.last)  # not all versions: each takes an environment
    for qualifier in {"$LATEST", newest, "live"} & expected.keys():
        answer = client.send("Invoke", {"FunctionName": name, "Qualifier": qualifier, "Payload": b"{}"})
        assert (answer.status, answer.body) == (200, b"%d" % expected[qualifier]), (name, qualifier, answer)


def _check_that_nothing_else_is_kept(data_dir: Path, existing: Mapping[str, Kept]) -> None:
    """Blobs that nothing refers to are gone, and nothing unfinished is left."""
    codes = {code for kept in existing.values() for code in (kept.code, *(code for code, _ in kept.versions.values()))}
    needed = {base64.b64decode(_digest(code)).hex() for code in codes}
    assert {path.name for path in (data_dir / "blobs").glob("??/*")} == needed
    assert list(data_dir.rglob(".unfinished-*")) == []


def _digest(code: int) -> str:
    return base64.b64encode(hashlib.sha256(source(code)).digest()).decode()
