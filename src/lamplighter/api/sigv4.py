"""Verifies AWS Signature Version 4, in the Authorization header and presigned in the query (AWS: spec 9).

Every request passes here, so the header form is fast: what repeats from request to request (claims, signing keys,
paths) is remembered, within bounds. What is refused is refused with AWS's codes and texts, since SDKs act on them: they
correct their clock, they refresh their credentials.
"""

import hmac
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from hashlib import sha256
from typing import NamedTuple, TypeVar

from lamplighter.api.canonical import canonical_headers, canonical_path, canonical_query
from lamplighter.api.claims import ALGORITHM, Claim, read_authorization, read_presigned
from lamplighter.api.http import Caller, Request
from lamplighter.api.routing import read_query
from lamplighter.model.clock import Clock
from lamplighter.model.errors import (
    ExpiredTokenException,
    IncompleteSignatureException,
    InvalidSignatureException,
    MissingAuthenticationTokenException,
    UnrecognizedClientException,
)

TERMINATOR = "aws4_request"
BASIC = "%Y%m%dT%H%M%SZ"
UNSIGNED = "UNSIGNED-PAYLOAD"
EMPTY_HASH = sha256(b"").hexdigest()
SKEW = 5 * 60  # seconds, either way
REMEMBERED = 1024  # entries of each cache
LONGEST_REMEMBERED = 2048  # characters

MISMATCH = (
    "The request signature we calculated does not match the signature you provided. "
    "Check your AWS Secret Access Key and signing method. Consult the service documentation for details."
)
INVALID_TOKEN = "The security token included in the request is invalid."
EXPIRED_TOKEN = "The security token included in the request is expired"
HOST_UNSIGNED = "'Host' or ':authority' must be a 'SignedHeader' in the AWS Authorization."

Value = TypeVar("Value")


class Session(NamedTuple):
    """What temporary credentials add: the token to be sent with them, and when they end (epoch seconds)."""

    token: str
    expires: float


class Verifier:
    """`secret_of`: access key -> its secret and whose it is; None if unknown. `session_of`: access key -> its session;
    None for lasting credentials. `region` and `service`: what credentials must be scoped to."""

    def __init__(
        self,
        secret_of: Callable[[str], tuple[str, Caller] | None],
        clock: Clock,
        region: str,
        service: str = "lambda",
        session_of: Callable[[str], Session | None] = lambda _: None,
    ) -> None:
        self._secret_of = secret_of
        self._session_of = session_of
        self._clock = clock
        self._region = region
        self._service = service
        self._claims: dict[str, Claim] = {}
        self._paths: dict[str, str] = {}
        self._keys: dict[str, _Key] = {}
        self._stamp = ""
        self._stamped = 0.0

    def verify(self, request: Request) -> Caller:
        """Who signed this request. Raises the refusals of AWS's front door (400 and 403)."""
        authorization = request.headers.get("authorization")
        if authorization is not None:
            return self._verify_header(request, authorization)
        if "X-Amz-Algorithm" in request.query:
            return self._verify_presigned(request)
        raise MissingAuthenticationTokenException("Missing Authentication Token")

    def _verify_header(self, request: Request, authorization: str) -> Caller:
        headers = request.headers
        stamp = headers.get("x-amz-date") or basic_format(headers.get("date"))
        claim, signature = self._claim(authorization, dated=bool(stamp))
        secret, caller = self._credentials(claim, headers.get("x-amz-security-token", ""))
        self._check_scope(claim, stamp)
        self._check_time(stamp, SKEW)
        payload = request.digest or (sha256(request.body).hexdigest() if request.body else EMPTY_HASH)
        if headers.get("x-amz-content-sha256", payload) != payload:
            raise InvalidSignatureException(MISMATCH)
        expected = self._sign(request, claim, secret, stamp, canonical_query(request.query), payload)
        if not hmac.compare_digest(expected, signature.encode()):
            raise InvalidSignatureException(MISMATCH)
        return caller

    def _verify_presigned(self, request: Request) -> Caller:
        parameters = {name: values[0] for name, values in read_query(request.query).items()}
        claim, signature, expires = read_presigned(parameters)
        stamp = parameters["X-Amz-Date"]
        secret, caller = self._credentials(claim, parameters.get("X-Amz-Security-Token", ""))
        self._check_scope(claim, stamp)
        self._check_time(stamp, expires)
        payload = self._presigned_payload(request, parameters)
        query = canonical_query(request.query, without="X-Amz-Signature")
        expected = self._sign(request, claim, secret, stamp, query, payload)
        if not hmac.compare_digest(expected, signature.encode()):
            raise InvalidSignatureException(MISMATCH)
        return caller

    def _presigned_payload(self, request: Request, parameters: Mapping[str, str]) -> str:
        """Who presigns may leave the body open, by signing a word in place of its hash."""
        payload = request.digest or sha256(request.body).hexdigest()
        claimed = parameters.get("X-Amz-Content-Sha256") or request.headers.get("x-amz-content-sha256", payload)
        if claimed not in (payload, UNSIGNED):
            raise InvalidSignatureException(MISMATCH)
        return claimed

    def _claim(self, authorization: str, dated: bool) -> tuple[Claim, str]:
        """All but the signature is the same in a client's next request, so that is what is remembered."""
        head, _, signature = authorization.rpartition("Signature=")
        claim = self._claims.get(head)
        if claim is not None and dated:
            return claim, signature
        claim, parsed = read_authorization(authorization, dated)
        if parsed == signature:  # else the signature is not the last part, and the head not all the rest
            remember(self._claims, head, claim)
        return claim, parsed

    def _credentials(self, claim: Claim, token: str) -> tuple[str, Caller]:
        found = self._secret_of(claim.access_key)
        if found is None:
            raise UnrecognizedClientException(INVALID_TOKEN)
        session = self._session_of(claim.access_key)
        if not hmac.compare_digest(token.encode(), (session.token if session else "").encode()):
            raise UnrecognizedClientException(INVALID_TOKEN)
        if session is not None and self._clock.now() >= session.expires:
            raise ExpiredTokenException(EXPIRED_TOKEN)
        return found

    def _check_scope(self, claim: Claim, stamp: str) -> None:
        wrong: list[str] = []
        if claim.region != self._region:
            wrong.append(f"Credential should be scoped to a valid region, not '{claim.region}'. ")
        if claim.service != self._service:
            wrong.append(f"Credential should be scoped to correct service: '{self._service}'. ")
        if claim.terminator != TERMINATOR:
            wrong.append(
                f"Credential should be scoped with a valid terminator: '{TERMINATOR}', not '{claim.terminator}'. "
            )
        if claim.date != stamp[:8]:
            wrong.append(
                "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: "
                f"'{claim.date}' != '{stamp[:8]}', from '{stamp}'. "
            )
        if "host" not in claim.signed_headers:
            wrong.append(HOST_UNSIGNED)
        if wrong:
            raise InvalidSignatureException("".join(wrong))

    def _check_time(self, stamp: str, valid: int) -> None:
        """`valid`: how many seconds the signature holds."""
        signed, now = self._moment(stamp), self._clock.now()
        if signed < now - valid:
            raise InvalidSignatureException(
                f"Signature expired: {stamp} is now earlier than {written(now - valid)} "
                f"({written(now)} - {valid // 60} min.)"
            )
        if signed > now + SKEW:
            raise InvalidSignatureException(
                f"Signature not yet current: {stamp} is still later than {written(now + SKEW)} "
                f"({written(now)} + {SKEW // 60} min.)"
            )

    def _moment(self, stamp: str) -> float:
        """Requests come many to a second, so the last one's is remembered."""
        if stamp != self._stamp:
            self._stamped = moment(stamp)
            self._stamp = stamp
        return self._stamped

    def _sign(self, request: Request, claim: Claim, secret: str, stamp: str, query: str, payload: str) -> bytes:
        """The signature that this request should have, in hexadecimal."""
        path = self._paths.get(request.path)
        if path is None:
            path = canonical_path(request.path)
            remember(self._paths, request.path, path)
        headers = canonical_headers(request.headers, claim.signed_headers)
        canonical = f"{request.method}\n{path}\n{query}\n{headers}\n{claim.names}\n{payload}"
        digest = sha256(canonical.encode()).hexdigest()
        to_sign = f"{ALGORITHM}\n{stamp}\n{claim.scope}\n{digest}"
        return self._key(claim, secret).sign(to_sign.encode())

    def _key(self, claim: Claim, secret: str) -> "_Key":
        """Derived from what it is remembered by, so a changed secret counts at once."""
        name = f"{secret}/{claim.scope}"
        key = self._keys.get(name)
        if key is None:
            derived = f"AWS4{secret}".encode()
            for part in (claim.date, claim.region, claim.service, claim.terminator):
                derived = hmac.digest(derived, part.encode(), "sha256")
            key = _Key(derived)
            remember(self._keys, name, key)
        return key


class _Key:
    """HMAC-SHA256 (RFC 2104) under one key, whose blocks are hashed once: `hmac.digest` takes twice as long."""

    __slots__ = ("_inner", "_outer")

    def __init__(self, key: bytes) -> None:
        block = key.ljust(64, b"\0")
        self._inner = sha256(bytes(byte ^ 0x36 for byte in block))
        self._outer = sha256(bytes(byte ^ 0x5C for byte in block))

    def sign(self, message: bytes) -> bytes:
        """In hexadecimal."""
        inner, outer = self._inner.copy(), self._outer.copy()
        inner.update(message)
        outer.update(inner.digest())
        return outer.hexdigest().encode()


def remember(cache: dict[str, Value], name: str, value: Value) -> None:
    """Bounded in entries and in their size; a full cache starts afresh, what is in use is soon back."""
    if len(name) <= LONGEST_REMEMBERED:
        if len(cache) >= REMEMBERED:
            cache.clear()
        cache[name] = value


def moment(stamp: str) -> float:
    """Epoch seconds of a date in ISO 8601's basic format; raises IncompleteSignatureException."""
    try:
        if len(stamp) != 16 or stamp[8] != "T" or stamp[15] != "Z" or not (stamp[:8] + stamp[9:15]).isdecimal():
            raise ValueError
        day = int(stamp[:4]), int(stamp[4:6]), int(stamp[6:8])
        return datetime(*day, int(stamp[9:11]), int(stamp[11:13]), int(stamp[13:15]), tzinfo=UTC).timestamp()
    except ValueError:
        raise IncompleteSignatureException(
            f"Date must be in ISO-8601 'basic format'. Got '{stamp}'. See http://en.wikipedia.org/wiki/ISO_8601"
        ) from None


def written(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime(BASIC)


def basic_format(date: str | None) -> str:
    """A Date header as X-Amz-Date would have it; as it is if it is no HTTP date, empty if there is none."""
    if date is None:
        return ""
    moment_of, _, zone = date.rpartition(" ")
    try:
        if zone not in ("GMT", "UTC", "+0000", "-0000"):
            raise ValueError
        return datetime.strptime(moment_of, "%a, %d %b %Y %H:%M:%S").strftime(BASIC)
    except ValueError:
        return date
