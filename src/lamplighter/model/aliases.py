"""Aliases as values: a name of one version, or of two between which chance decides by weight (AWS: spec 1.7).

The control plane makes and shows them, the invoker follows them; both read the same record, whose form is defined here:
it hangs on its function, under the alias's name.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from lamplighter.model.functions import FunctionId

KIND: Final = "alias"  # of the record


@dataclass(frozen=True, slots=True)
class Alias:
    """`weights`: the share of calls (0 to 1) that goes to another version than `version`, which has the rest."""

    function: FunctionId
    name: str
    version: str
    revision: str
    description: str = ""
    weights: Mapping[str, float] = field(default_factory=dict[str, float])

    @property
    def arn(self) -> str:
        return f"{self.function.arn}:{self.name}"

    @property
    def versions(self) -> tuple[str, ...]:
        """All that it points to."""
        return (self.version, *self.weights)

    def pick(self, chance: float) -> str:
        """The version of one call. `chance`: evenly spread over [0, 1)."""
        for version, weight in self.weights.items():
            if chance < weight:
                return version
            chance -= weight
        return self.version


def to_document(alias: Alias) -> dict[str, Any]:
    return {
        "version": alias.version,
        "revision": alias.revision,
        "description": alias.description,
        "weights": dict(alias.weights),
    }


def from_document(function: FunctionId, name: str, document: Mapping[str, Any]) -> Alias:
    return Alias(function, name, **document)
