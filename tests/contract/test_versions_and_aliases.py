"""Versions and aliases against a model of them that fits on a page, whatever is done to them and in whichever order."""

import asyncio
import tempfile
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from lamplighter.model.errors import ServiceError
from support.control import control_plane

NAMES = st.sampled_from(["blue", "green"])
VERSIONS = st.sampled_from(["$LATEST", "1", "2", "3", "4"])
WEIGHTS = st.one_of(st.just(dict[str, float]()), st.dictionaries(VERSIONS.filter(str.isdecimal), st.just(0.5)))


class VersionsAndAliases(RuleBasedStateMachine):
    """Of one function, of which a time-out stands for the whole configuration."""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.stack = AsyncExitStack()
        self.path = Path(self.stack.enter_context(tempfile.TemporaryDirectory()))
        self.versions = {"$LATEST": 3}
        self.last = 0
        self.aliases: dict[str, tuple[str, dict[str, float]]] = {}

    @initialize()
    def start(self) -> None:
        async def begin() -> None:
            self.plane = await self.stack.enter_async_context(control_plane(self.path))
            await self.plane.create("f")
            await self.plane.settled("f")

        self.runner.run(begin())

    def teardown(self) -> None:
        self.runner.run(self.stack.aclose())
        self.runner.close()

    def call(self, operation: str, **members: Any) -> dict[str, Any] | None:
        """None: refused."""
        try:
            return self.runner.run(self.plane.call(operation, FunctionName="f", **members))
        except ServiceError as error:
            assert 400 <= error.status < 500
            return None

    def can_point(self, version: str, weights: dict[str, float]) -> bool:
        if weights and (len(weights) > 1 or version == "$LATEST" or version in weights):
            return False
        return version in self.versions and weights.keys() <= self.versions.keys()

    @rule(timeout=st.integers(3, 5))
    def configure(self, timeout: int) -> None:
        assert self.call("UpdateFunctionConfiguration", Timeout=timeout)
        self.runner.run(self.plane.settled("f"))
        self.versions["$LATEST"] = timeout

    @rule()
    def publish(self) -> None:
        if self.versions.get(str(self.last)) != self.versions["$LATEST"]:
            self.last += 1
            self.versions[str(self.last)] = self.versions["$LATEST"]
        published = self.call("PublishVersion")
        assert published and published["Version"] == str(self.last)

    @rule(version=VERSIONS)
    def delete_version(self, version: str) -> None:
        kept = version == "$LATEST" or any(version in (to, *weights) for to, weights in self.aliases.values())
        assert (self.call("DeleteFunction", Qualifier=version) is None) == kept
        if not kept:
            self.versions.pop(version, None)

    @rule(name=NAMES, version=VERSIONS, weights=WEIGHTS)
    def create_alias(self, name: str, version: str, weights: dict[str, float]) -> None:
        config = {"AdditionalVersionWeights": weights}
        made = self.call("CreateAlias", Name=name, FunctionVersion=version, RoutingConfig=config)
        assert (made is not None) == (name not in self.aliases and self.can_point(version, weights))
        if made:
            self.aliases[name] = (version, weights)

    @rule(name=NAMES, version=st.none() | VERSIONS, weights=st.none() | WEIGHTS)
    def update_alias(self, name: str, version: str | None, weights: dict[str, float] | None) -> None:
        members: dict[str, Any] = {} if version is None else {"FunctionVersion": version}
        if weights is not None:
            members["RoutingConfig"] = {"AdditionalVersionWeights": weights}
        updated = self.call("UpdateAlias", Name=name, **members)
        before = self.aliases.get(name)
        if before is None:
            assert updated is None
            return
        after = (version or before[0], before[1] if weights is None else weights)
        assert (updated is not None) == self.can_point(*after)
        if updated:
            self.aliases[name] = after

    @rule(name=NAMES)
    def delete_alias(self, name: str) -> None:
        assert self.call("DeleteAlias", Name=name) is not None
        self.aliases.pop(name, None)

    @invariant()
    def lists_show_what_there_is(self) -> None:
        if not hasattr(self, "plane"):
            return
        listed = self.call("ListVersionsByFunction")
        assert listed and {item["Version"]: item["Timeout"] for item in listed["Versions"]} == self.versions
        aliases = self.call("ListAliases")
        assert aliases is not None
        shown = {
            item["Name"]: (item["FunctionVersion"], item.get("RoutingConfig", {}).get("AdditionalVersionWeights", {}))
            for item in aliases["Aliases"]
        }
        assert shown == self.aliases
        for name, (version, _) in self.aliases.items():
            found = self.call("GetFunctionConfiguration", Qualifier=name)
            assert found and (found["Version"], found["Timeout"]) == (version, self.versions[version])


TestVersionsAndAliases = VersionsAndAliases.TestCase
TestVersionsAndAliases.settings = settings(max_examples=12, stateful_step_count=20, deadline=None)
