"""Reserved concurrency as a record: the control plane writes it, the invoker obeys it, so its form is defined here.

It hangs on its function under an empty key, and there is none for a function that shares what is not reserved.
"""

from collections.abc import Mapping
from typing import Any, Final

KIND: Final = "concurrency"  # of the record
KEY: Final = ""


def to_document(reserved: int) -> dict[str, Any]:
    return {"reserved": reserved}


def from_document(document: Mapping[str, Any]) -> int:
    return document["reserved"]
