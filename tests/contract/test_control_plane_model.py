"""Functions with all that hangs on them, and layers, against a model of them in dictionaries: whatever is done, in
whichever order, with restarts in between. Versions and aliases by themselves have a closer look next door."""

import asyncio
import base64
import hashlib
import json
import tempfile
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from lamplighter.model.errors import ServiceError
from support.control import ACCOUNT, REGION, ROLE, control_plane, until
from support.functions import package

FUNCTIONS = st.sampled_from(["one", "one", "two"])
LAYERS = st.sampled_from(["base", "more"])
CODES = st.integers(0, 2)
NUMBERS = st.integers(1, 3)
QUALIFIERS = st.sampled_from(["", "1", "2", "live"])
STATEMENTS = st.sampled_from(["s1", "s2"])
Layer = tuple[str, int]
Digest = str


def zipped(code: int) -> bytes:
    return package({"handler.py": f"# {code}"})


def digest(code: int) -> Digest:
    return hashlib.sha256(zipped(code)).hexdigest()


@dataclass(frozen=True)
class Snapshot:
    """What a version is. Packages of layers stay with a version after the layer is gone."""

    code: int
    timeout: int = 3
    layers: tuple[tuple[Layer, int], ...] = ()  # with their code


@dataclass
class Function:
    latest: Snapshot
    versions: dict[str, Snapshot] = field(default_factory=dict[str, Snapshot])
    last: int = 0
    aliases: dict[str, str] = field(default_factory=dict[str, str])
    policies: dict[str, set[str]] = field(default_factory=dict[str, set[str]])  # by qualifier
    retries: dict[str, int] = field(default_factory=dict[str, int])  # of event-invoke configs, by qualifier
    tags: dict[str, str] = field(default_factory=dict[str, str])
    reserved: int | None = None

    def has(self, qualifier: str) -> bool:
        return not qualifier or qualifier in self.versions or qualifier in self.aliases

    def forget(self, qualifier: str) -> None:
        self.policies.pop(qualifier, None)
        self.retries.pop(qualifier, None)


@dataclass
class LayerVersions:
    codes: dict[int, int] = field(default_factory=dict[int, int])
    last: int = 0
    statements: dict[int, set[str]] = field(default_factory=dict[int, set[str]])


class ControlPlaneModel(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.directory = tempfile.TemporaryDirectory()
        self.stack = AsyncExitStack()
        self.functions: dict[str, Function] = {}
        self.layers = {"base": LayerVersions(), "more": LayerVersions()}

    @initialize()
    def begin(self) -> None:
        """With something of everything, so that the first steps already meet it."""
        self.start()
        self.publish_layer("base", 0)
        self.create("one", 1, publish=True)
        self.update_code("one", 2, publish=True)
        self.point("one", "1")
        for qualifier in ("1", "live"):
            self.configure_events("one", qualifier, 1)
            self.add_permission("one", qualifier, "s1")

    def start(self) -> None:
        self.plane = self.run(self.stack.enter_async_context(control_plane(Path(self.directory.name))))

    def teardown(self) -> None:
        try:
            self.run(self.stack.aclose())
        finally:
            self.runner.close()
            self.directory.cleanup()

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self.runner.run(work)

    def call(self, operation: str, **members: Any) -> dict[str, Any] | None:
        """None: refused."""
        try:
            return self.run(self.plane.call(operation, **members))
        except ServiceError as error:
            assert 400 <= error.status < 500, error
            return None

    def on(self, operation: str, name: str, qualifier: str, **members: Any) -> dict[str, Any] | None:
        qualified = {"Qualifier": qualifier} if qualifier else {}
        return self.call(operation, FunctionName=name, **qualified, **members)

    # Functions

    @rule(name=FUNCTIONS, code=CODES, publish=st.booleans())
    def create(self, name: str, code: int, publish: bool) -> None:
        members = {"Runtime": "python3.12", "Role": ROLE, "Handler": "handler.handler", "Publish": publish}
        created = self.call("CreateFunction", FunctionName=name, Code={"ZipFile": zipped(code)}, **members)
        assert (created is None) == (name in self.functions)
        if created:
            self.functions[name] = Function(Snapshot(code))
            self.settle(name)
            if publish:
                self.publish_in_model(name)

    @rule(name=FUNCTIONS)
    def delete(self, name: str) -> None:
        assert (self.call("DeleteFunction", FunctionName=name) is None) == (name not in self.functions)
        self.functions.pop(name, None)

    @rule(name=FUNCTIONS, code=CODES, publish=st.booleans())
    def update_code(self, name: str, code: int, publish: bool) -> None:
        updated = self.call("UpdateFunctionCode", FunctionName=name, ZipFile=zipped(code), Publish=publish)
        assert (updated is None) == (name not in self.functions)
        if updated:
            self.change(name, code=code)
            if publish:
                self.publish_in_model(name)

    @rule(name=FUNCTIONS, timeout=st.integers(3, 5))
    def configure(self, name: str, timeout: int) -> None:
        updated = self.call("UpdateFunctionConfiguration", FunctionName=name, Timeout=timeout)
        assert (updated is None) == (name not in self.functions)
        if updated:
            self.change(name, timeout=timeout)

    @rule(name=FUNCTIONS, layers=st.lists(st.tuples(LAYERS, NUMBERS), max_size=2, unique_by=lambda layer: layer[0]))
    def attach(self, name: str, layers: list[Layer]) -> None:
        arns = [arn(layer, number) for layer, number in layers]
        updated = self.call("UpdateFunctionConfiguration", FunctionName=name, Layers=arns)
        there = all(number in self.layers[layer].codes for layer, number in layers)
        assert (updated is not None) == (name in self.functions and there)
        if updated:
            kept = tuple((layer, self.layers[layer[0]].codes[layer[1]]) for layer in layers)
            self.change(name, layers=kept)

    @rule(name=FUNCTIONS)
    def publish(self, name: str) -> None:
        published = self.call("PublishVersion", FunctionName=name)
        assert (published is None) == (name not in self.functions)
        if published:
            self.publish_in_model(name)
            assert published["Version"] == str(self.functions[name].last)

    @rule(name=FUNCTIONS, version=NUMBERS.map(str))
    def delete_version(self, name: str, version: str) -> None:
        deleted = self.call("DeleteFunction", FunctionName=name, Qualifier=version)
        function = self.functions.get(name)
        assert (deleted is not None) == (function is not None and version not in function.aliases.values())
        if deleted is not None and function is not None:
            function.versions.pop(version, None)
            function.forget(version)

    def settle(self, name: str) -> None:
        self.run(self.plane.settled(name))

    def change(self, name: str, **members: Any) -> None:
        self.settle(name)
        function = self.functions[name]
        function.latest = Snapshot(**{**vars_of(function.latest), **members})

    def publish_in_model(self, name: str) -> None:
        function = self.functions[name]
        if function.versions.get(str(function.last)) != function.latest:
            function.last += 1
            function.versions[str(function.last)] = function.latest
        self.run(self.plane.settled(name, str(function.last)))

    # What hangs on them

    @rule(name=FUNCTIONS, version=NUMBERS.map(str))
    def point(self, name: str, version: str) -> None:
        function = self.functions.get(name)
        exists = function is not None and "live" in function.aliases
        operation = "UpdateAlias" if exists else "CreateAlias"
        pointed = self.call(operation, FunctionName=name, Name="live", FunctionVersion=version)
        assert (pointed is not None) == (function is not None and version in function.versions)
        if pointed and function:
            function.aliases["live"] = version

    @rule(name=FUNCTIONS)
    def delete_alias(self, name: str) -> None:
        assert self.call("DeleteAlias", FunctionName=name, Name="live") is not None
        if function := self.functions.get(name):
            function.aliases.pop("live", None)
            function.forget("live")

    @rule(name=FUNCTIONS, qualifier=QUALIFIERS, sid=STATEMENTS)
    def add_permission(self, name: str, qualifier: str, sid: str) -> None:
        statement = {"StatementId": sid, "Action": "lambda:InvokeFunction", "Principal": ACCOUNT}
        added = self.on("AddPermission", name, qualifier, **statement)
        function = self.functions.get(name)
        free = function is not None and function.has(qualifier) and sid not in function.policies.get(qualifier, set())
        assert (added is not None) == free
        if added and function:
            function.policies.setdefault(qualifier, set()).add(sid)

    @rule(name=FUNCTIONS, qualifier=QUALIFIERS, sid=STATEMENTS)
    def remove_permission(self, name: str, qualifier: str, sid: str) -> None:
        removed = self.on("RemovePermission", name, qualifier, StatementId=sid)
        function = self.functions.get(name)
        assert (removed is not None) == (function is not None and sid in function.policies.get(qualifier, set()))
        if removed is not None and function:
            function.policies[qualifier].discard(sid)

    @rule(name=FUNCTIONS, qualifier=QUALIFIERS, retries=st.integers(0, 2))
    def configure_events(self, name: str, qualifier: str, retries: int) -> None:
        put = self.on("PutFunctionEventInvokeConfig", name, qualifier, MaximumRetryAttempts=retries)
        function = self.functions.get(name)
        assert (put is not None) == (function is not None and function.has(qualifier))
        if put and function:
            function.retries[qualifier] = retries

    @rule(name=FUNCTIONS, key=st.sampled_from(["a", "b"]), value=st.none() | st.sampled_from(["x", "y"]))
    def tag(self, name: str, key: str, value: str | None) -> None:
        resource = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:{name}"
        if value is None:
            done = self.call("UntagResource", Resource=resource, TagKeys=[key])
        else:
            done = self.call("TagResource", Resource=resource, Tags={key: value})
        function = self.functions.get(name)
        assert (done is None) == (function is None)
        if function:
            function.tags = {**function.tags, **({} if value is None else {key: value})}
            if value is None:
                function.tags.pop(key, None)

    @rule(name=FUNCTIONS, number=st.sampled_from([None, 0, 400, 500, 600]))
    def reserve(self, name: str, number: int | None) -> None:
        function = self.functions.get(name)
        others = sum(each.reserved or 0 for other, each in self.functions.items() if other != name)
        if number is None:
            done = self.call("DeleteFunctionConcurrency", FunctionName=name)
        else:
            done = self.call("PutFunctionConcurrency", FunctionName=name, ReservedConcurrentExecutions=number)
        assert (done is not None) == (function is not None and (number or 0) + others <= 900)
        if done is not None and function:
            function.reserved = number

    # Layers

    @rule(layer=LAYERS, code=CODES)
    def publish_layer(self, layer: str, code: int) -> None:
        published = self.call("PublishLayerVersion", LayerName=layer, Content={"ZipFile": zipped(code)})
        known = self.layers[layer]
        known.last += 1
        known.codes[known.last] = code
        assert published and published["Version"] == known.last

    @rule(layer=LAYERS, number=NUMBERS)
    def delete_layer_version(self, layer: str, number: int) -> None:
        assert self.call("DeleteLayerVersion", LayerName=layer, VersionNumber=number) is not None
        self.layers[layer].codes.pop(number, None)
        self.layers[layer].statements.pop(number, None)

    @rule(layer=LAYERS, number=NUMBERS, sid=STATEMENTS)
    def share_layer(self, layer: str, number: int, sid: str) -> None:
        statement = {"StatementId": sid, "Action": "lambda:GetLayerVersion", "Principal": "*"}
        added = self.call("AddLayerVersionPermission", LayerName=layer, VersionNumber=number, **statement)
        known = self.layers[layer]
        assert (added is not None) == (number in known.codes and sid not in known.statements.get(number, set()))
        if added:
            known.statements.setdefault(number, set()).add(sid)

    # The service

    @precondition(lambda self: self.functions or any(each.codes for each in self.layers.values()))
    @rule()
    def restart(self) -> None:
        self.run(self.stack.aclose())
        self.start()

    @invariant()
    def functions_are_as_in_the_model(self) -> None:
        if not hasattr(self, "plane"):
            return
        listed = self.call("ListFunctions")
        assert listed and [each["FunctionName"] for each in listed["Functions"]] == sorted(self.functions)
        for name, function in self.functions.items():
            versions = self.call("ListVersionsByFunction", FunctionName=name)
            assert versions and {each["Version"]: shown(each) for each in versions["Versions"]} == {
                version: expected(snapshot)
                for version, snapshot in {"$LATEST": function.latest, **function.versions}.items()
            }
            aliases = self.call("ListAliases", FunctionName=name)
            assert (
                aliases and {each["Name"]: each["FunctionVersion"] for each in aliases["Aliases"]} == function.aliases
            )
            details = self.call("GetFunction", FunctionName=name)
            assert details and details.get("Tags", {}) == function.tags
            reserved = None if function.reserved is None else {"ReservedConcurrentExecutions": function.reserved}
            assert details.get("Concurrency") == reserved
            for qualifier in ("", "1", "2", "live"):
                policy = self.on("GetPolicy", name, qualifier)
                sids = {each["Sid"] for each in json.loads(policy["Policy"])["Statement"]} if policy else set[str]()
                assert sids == function.policies.get(qualifier, set()), (name, qualifier)
                config = self.on("GetFunctionEventInvokeConfig", name, qualifier)
                assert (config and config["MaximumRetryAttempts"]) == function.retries.get(qualifier), (name, qualifier)

    @invariant()
    def layers_are_as_in_the_model(self) -> None:
        if not hasattr(self, "plane"):
            return
        listed = self.call("ListLayers")
        assert listed and {
            each["LayerName"]: each["LatestMatchingVersion"]["Version"] for each in listed["Layers"]
        } == {name: max(layer.codes) for name, layer in self.layers.items() if layer.codes}
        for name, layer in self.layers.items():
            versions = self.call("ListLayerVersions", LayerName=name)
            assert versions and [each["Version"] for each in versions["LayerVersions"]] == sorted(layer.codes)[::-1]
            for number in layer.codes:
                policy = self.call("GetLayerVersionPolicy", LayerName=name, VersionNumber=number)
                sids = {each["Sid"] for each in json.loads(policy["Policy"])["Statement"]} if policy else set[str]()
                assert sids == layer.statements.get(number, set())

    @invariant()
    def what_is_stored_is_what_is_needed(self) -> None:
        if not hasattr(self, "plane"):
            return
        snapshots = [
            each for function in self.functions.values() for each in (function.latest, *function.versions.values())
        ]
        published = [code for layer in self.layers.values() for code in layer.codes.values()]
        usage = self.call("GetAccountSettings")
        sizes = sum(len(zipped(code)) for code in (*(each.code for each in snapshots), *published))
        assert usage and usage["AccountUsage"] == {"FunctionCount": len(self.functions), "TotalCodeSize": sizes}
        attached = [code for each in snapshots for _, code in each.layers]
        needed = {digest(code) for code in (*(each.code for each in snapshots), *published, *attached)}

        async def nothing_else_is_kept() -> bool:  # packages go a moment after what needed them
            return await self.plane.blobs.digests() == needed

        self.run(until(nothing_else_is_kept))


def arn(layer: str, number: int) -> str:
    return f"arn:aws:lambda:{REGION}:{ACCOUNT}:layer:{layer}:{number}"


def vars_of(snapshot: Snapshot) -> dict[str, Any]:
    return {"code": snapshot.code, "timeout": snapshot.timeout, "layers": snapshot.layers}


def shown(version: dict[str, Any]) -> Any:
    code = base64.b64decode(version["CodeSha256"]).hex()
    return code, version["Timeout"], [(each["Arn"], each["CodeSize"]) for each in version.get("Layers", [])]


def expected(snapshot: Snapshot) -> Any:
    layers = [(arn(*layer), len(zipped(code))) for layer, code in snapshot.layers]
    return digest(snapshot.code), snapshot.timeout, layers


TestControlPlane = ControlPlaneModel.TestCase
TestControlPlane.settings = settings(max_examples=15, stateful_step_count=40, deadline=None)
