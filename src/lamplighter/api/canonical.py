"""The canonical forms that SigV4 signs: path, query, headers (AWS: spec 9).

Two requests that mean different things must never have the same form. So the path is signed as it is routed, byte for
byte, without collapsing `..` or `//`; a query is signed by its decoded items, which is also how it is read.
"""

import re
from collections.abc import Mapping, Sequence
from urllib.parse import quote, unquote_to_bytes

# Items already encoded as AWS encodes them: nothing to do but to sort.
CANONICAL_QUERY = re.compile(r"[A-Za-z0-9\-_.~]+=[A-Za-z0-9\-_.~]*")
SPACES = re.compile(r"[ \t]+")


def canonical_path(path: str) -> str:
    """Encoded once more than on the wire: every service but S3 signs so."""
    return quote(path, safe="/~") or "/"


def canonical_query(query: str, without: str | None = None) -> str:
    """Items encoded and sorted; `without`: the item that cannot sign itself, X-Amz-Signature."""
    if without is None and (not query or CANONICAL_QUERY.fullmatch(query)):
        return query
    items: list[tuple[str, str]] = []
    for item in query.split("&"):
        name, _, value = item.partition("=")
        if item and name != without:
            items.append((encode(name), encode(value)))
    return "&".join(f"{name}={value}" for name, value in sorted(items))


def encode(text: str) -> str:
    return quote(unquote_to_bytes(text), safe="-_.~")


def canonical_headers(headers: Mapping[str, str], names: Sequence[str]) -> str:
    """One line per signed header, in the order given; one that is not there is signed as empty."""
    lines: list[str] = []
    for name in names:
        value = headers.get(name, "").strip(" \t")
        if "  " in value or "\t" in value:
            value = SPACES.sub(" ", value)
        lines.append(f"{name}:{value}\n")
    return "".join(lines)
