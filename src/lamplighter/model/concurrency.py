"""Reserved and provisioned concurrency as records: the control plane writes them, the invoker obeys them, so their form
is defined here.

What is reserved hangs on its function under an empty key, and there is none for a function that shares what is not
reserved. What is provisioned hangs there under its version or alias.
"""

from collections.abc import Mapping
from typing import Any, Final

from lamplighter.model.aliases import Alias

KIND: Final = "concurrency"  # of the record
KEY: Final = ""
PROVISIONED: Final = "provisioned_concurrency"  # of the record: {"requested": …, "modified": seconds since the epoch}


def to_document(reserved: int) -> dict[str, Any]:
    return {"reserved": reserved}


def from_document(document: Mapping[str, Any]) -> int:
    return document["reserved"]


def split(alias: Alias, requested: int) -> Mapping[str, int]:
    """What is provisioned of each version for an alias: by its weights (AWS: spec 4.4). Together it is what was
    requested."""
    parts = {version: round(requested * weight) for version, weight in alias.weights.items()}
    return {alias.version: requested - sum(parts.values()), **parts}
