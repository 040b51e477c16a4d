"""Whether a function may be part of a loop, as a record: the control plane writes it, the invoker obeys it (AWS: spec
1.11, 5). It hangs on its function under an empty key; there is none where AWS's default, Terminate, holds."""

from collections.abc import Mapping
from typing import Any, Final

KIND: Final = "recursion"  # of the record
KEY: Final = ""


def allows(document: Mapping[str, Any] | None) -> bool:
    return document is not None and document["loop"] == "Allow"
