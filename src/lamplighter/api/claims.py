"""What a request claims about its signature: read from the Authorization header or from a presigned query.

Nothing is verified here. What lacks a part is an IncompleteSignatureException that lists every part that is missing, as
AWS does; secrets that someone sent by mistake are not repeated, only their hash.
"""

from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256

from lamplighter.model.errors import IncompleteSignatureException

ALGORITHM = "AWS4-HMAC-SHA256"
LONGEST_EXPIRES = 604800  # seconds: seven days
HEADER_PARTS = ("Credential", "Signature", "SignedHeaders")
QUERY_PARTS = ("X-Amz-Credential", "X-Amz-Signature", "X-Amz-SignedHeaders", "X-Amz-Date", "X-Amz-Expires")


@dataclass(frozen=True, slots=True)
class Claim:
    """Whose key signed for which scope, and over which headers (in the order in which they are signed)."""

    access_key: str
    date: str
    region: str
    service: str
    terminator: str
    signed_headers: tuple[str, ...]
    names: str  # of these, as they are signed
    scope: str  # date/region/service/terminator, likewise


def read_authorization(text: str, dated: bool) -> tuple[Claim, str]:
    """The claim and the signature. `dated`: the request has a date of signing."""
    algorithm, _, rest = text.partition(" ")
    if algorithm.startswith("AWS4-") and algorithm != ALGORITHM:
        raise IncompleteSignatureException(f"Unsupported AWS 'algorithm': '{algorithm}'.")
    parts: dict[str, str] = {}
    for part in rest.split(",") if algorithm == ALGORITHM and rest else ():
        name, equals, value = part.strip().partition("=")
        if not equals:
            raise IncompleteSignatureException(
                "Invalid key=value pair (missing equal-sign) in Authorization header "
                f"(hashed with SHA-256 and encoded with Base64): '{fingerprint(text)}'."
            )
        parts[name] = value
    missing = [f"Authorization header requires '{name}' parameter." for name in HEADER_PARTS if not parts.get(name)]
    if not dated:
        missing.append("Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header.")
    if missing:
        missing.append(f"(Hashed with SHA-256 and encoded with Base64) Authorization={fingerprint(text)}")
        raise IncompleteSignatureException(" ".join(missing))
    return claim(parts["Credential"], parts["SignedHeaders"]), parts["Signature"]


def read_presigned(parameters: Mapping[str, str]) -> tuple[Claim, str, int]:
    """The claim, the signature and for how many seconds it holds."""
    if parameters.get("X-Amz-Algorithm") != ALGORITHM:
        raise IncompleteSignatureException(f"Unsupported AWS 'algorithm': '{parameters.get('X-Amz-Algorithm', '')}'.")
    missing = [
        f"AWS query-string parameters must include '{name}'." for name in QUERY_PARTS if not parameters.get(name)
    ]
    if missing:
        raise IncompleteSignatureException(" ".join([*missing, "Re-examine the query-string parameters."]))
    expires = parameters["X-Amz-Expires"]
    if not (expires.isascii() and expires.isdigit()):
        raise IncompleteSignatureException("X-Amz-Expires should be a number")
    if len(expires) > 9 or int(expires) > LONGEST_EXPIRES:
        raise IncompleteSignatureException(
            "X-Amz-Expires must be less than a week (in seconds); that is, "
            f"the given X-Amz-Expires must be less than {LONGEST_EXPIRES} seconds"
        )
    read = claim(parameters["X-Amz-Credential"], parameters["X-Amz-SignedHeaders"])
    return read, parameters["X-Amz-Signature"], int(expires)


def claim(credential: str, signed_headers: str) -> Claim:
    elements = credential.split("/")
    if len(elements) != 5:
        raise IncompleteSignatureException(
            "Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term, "
            f"got '{credential}'"
        )
    access_key, date, region, service, terminator = elements
    names = tuple(signed_headers.lower().split(";"))
    return Claim(access_key, date, region, service, terminator, names, ";".join(names), credential.partition("/")[2])


def fingerprint(text: str) -> str:
    return b64encode(sha256(text.encode()).digest()).decode("ascii")
