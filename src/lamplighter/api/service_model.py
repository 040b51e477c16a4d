"""Finds and reads the service model that botocore ships, without importing botocore: that costs 100 ms and memory.

The model is data (JSON, gzipped or not): routes, shapes, constraints and errors of every operation. Whatever a new
botocore release adds is served without a change here.
"""

import gzip
import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson

Model = Mapping[str, Any]


def read(service: str = "lambda", version: str = "2015-03-31") -> bytes:
    """The service model's JSON text. Raises FileNotFoundError with a remedy when botocore or its data is not there."""
    spec = importlib.util.find_spec("botocore")
    places = list(spec.submodule_search_locations or ()) if spec else []
    for place in places:
        plain = Path(place) / "data" / service / version / "service-2.json"
        if plain.exists():
            return plain.read_bytes()
        packed = plain.with_name(plain.name + ".gz")
        if packed.exists():
            return gzip.decompress(packed.read_bytes())
    raise FileNotFoundError(
        f"botocore's service model of {service} {version} is not among {places or 'the installed packages'}; "
        "install botocore with its data (pip install --force-reinstall botocore)"
    )


def load(text: bytes | None = None) -> Model:
    """The model as mappings; `text`: another model than the installed one."""
    return orjson.loads(read() if text is None else text)
