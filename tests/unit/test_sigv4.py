"""Botocore signs, we verify; whatever was changed on the way is refused."""

from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any
from unittest import mock
from urllib.parse import quote, urlsplit

import botocore.auth
import pytest
from botocore.auth import SigV4Auth, SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from lamplighter.api.canonical import canonical_query
from lamplighter.api.http import Caller, Request
from lamplighter.api.sigv4 import REMEMBERED, Session, Verifier
from lamplighter.model.errors import (
    ExpiredTokenException,
    IncompleteSignatureException,
    InvalidSignatureException,
    MissingAuthenticationTokenException,
    ServiceError,
    UnrecognizedClientException,
)

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
HOST = "127.0.0.1:4566"
PATH = "/2015-03-31/functions/hello/invocations"
CALLER = Caller("AKIDEXAMPLE", "000000000000", "arn:aws:iam::000000000000:root")
SECRET = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
MISMATCH = "The request signature we calculated does not match the signature you provided."


class StoppedClock:
    def __init__(self, moment: datetime = NOW) -> None:
        self.moment = moment

    def now(self) -> float:
        return self.moment.timestamp()

    def monotonic(self) -> float:
        return self.moment.timestamp()


class OverBody(SigV4QueryAuth):
    """Presigns for a body that will be sent."""

    body = b""
    word: str | None = None

    def payload(self, request: AWSRequest) -> str:
        return self.word or sha256(self.body).hexdigest()


def verifier(at: datetime = NOW, **options: Any) -> Verifier:
    secrets = {CALLER.access_key: (SECRET, CALLER)}
    return Verifier(secrets.get, StoppedClock(at), **({"region": "us-east-1"} | options))


def sign(
    method: str = "GET",
    path: str = PATH,
    query: str = "",
    body: bytes = b"",
    headers: dict[str, str] | None = None,
    *,
    access_key: str = CALLER.access_key,
    secret: str = SECRET,
    token: str | None = None,
    region: str = "us-east-1",
    service: str = "lambda",
    at: datetime = NOW,
    presigned: int | None = None,
) -> Request:
    """Signed by botocore at a given time, and taken off its wire as the server would take it."""
    url = f"http://{HOST}{path}" + (f"?{query}" if query else "")
    credentials = Credentials(access_key, secret, token)
    if presigned is None:
        request = AWSRequest(method, url, data=body, headers={"Host": HOST} | (headers or {}))
        signer = SigV4Auth(credentials, service, region)
    else:  # botocore would move the body into the query, as the query protocol wants it
        request = AWSRequest(method, url, headers={"Host": HOST} | (headers or {}))
        signer = OverBody(credentials, service, region, expires=presigned)
        signer.body = body
    with mock.patch.object(botocore.auth, "get_current_datetime", lambda: at.replace(tzinfo=None)):
        signer.add_auth(request)
    parts = urlsplit(request.url)
    received = {name.lower(): value for name, value in request.headers.items()}
    return Request(method, parts.path, parts.query, received, body)


def refused(request: Request, by: Verifier | None = None) -> ServiceError:
    with pytest.raises(ServiceError) as error:
        (by or verifier()).verify(request)
    return error.value


BODIES = st.binary(max_size=30)
SEGMENTS = st.text(st.characters(exclude_categories=("Cs",)), min_size=1, max_size=8).filter(
    lambda text: text not in (".", "..")
)
PATHS = st.lists(SEGMENTS, min_size=1, max_size=4).map(
    lambda segments: "/" + "/".join(quote(segment, safe="") for segment in segments)
)
NAMES = st.text(st.characters(exclude_categories=("Cs",)), min_size=1, max_size=6)
ITEMS = st.lists(st.tuples(NAMES, st.text(st.characters(exclude_categories=("Cs",)), max_size=6)), max_size=4)
QUERIES = ITEMS.map(lambda items: "&".join(f"{quote(n, safe='-_.~')}={quote(v, safe='-_.~')}" for n, v in items))
VALUES = st.text(st.sampled_from('abc  ,;="/\t'), max_size=10)


@settings(deadline=None)
@given(method=st.sampled_from(["GET", "POST", "PUT", "DELETE"]), path=PATHS, query=QUERIES, body=BODIES, value=VALUES)
def test_what_botocore_signed_is_verified(method: str, path: str, query: str, body: bytes, value: str) -> None:
    request = sign(method, path, query, body, {"X-Amz-Client-Context": value, "Content-Type": "application/json"})
    assert verifier().verify(request) == CALLER


@settings(deadline=None)
@given(path=PATHS, query=QUERIES, body=BODIES)
def test_what_botocore_presigned_is_verified(path: str, query: str, body: bytes) -> None:
    # Botocore reads a presigned URL's own query in its own way: one value per name, none of them empty.
    names = [item.partition("=")[0] for item in query.split("&")]
    assume(len(names) == len(set(names)) and not any(item.endswith("=") for item in query.split("&")))
    request = sign("POST", path, query, body, presigned=3600)
    assert "authorization" not in request.headers
    assert verifier().verify(request) == CALLER


@pytest.mark.parametrize(
    "path",
    [
        "/2015-03-31/functions/arn%3Aaws%3Alambda%3Aus-east-1%3A000000000000%3Afunction%3Ahello/invocations",
        "/2015-03-31/functions/arn:aws:lambda:us-east-1:000000000000:function:hello",
        "/2025-12-01/durable-executions/arn%3Aaws%2Fdurable-execution%2Fa%2Fb/stop",
        "/2015-03-31/functions/100%2525",
        "/2015-03-31/functions/~a!b*c'(d)",
        "/2015-03-31/functions/",
        "/",
    ],
)
@pytest.mark.parametrize("presigned", [None, 60])
def test_paths_are_signed_as_they_are_on_the_wire(path: str, presigned: int | None) -> None:
    assert verifier().verify(sign("GET", path, presigned=presigned)) == CALLER


def test_spaces_around_and_within_signed_headers_do_not_count() -> None:
    request = sign(headers={"X-Amz-Client-Context": "a b"})
    spaced = dict(request.headers) | {"x-amz-client-context": "  a   b "}
    assert verifier().verify(request._replace(headers=spaced)) == CALLER


@pytest.mark.parametrize(
    ("query", "canonical"),
    [
        ("", ""),
        ("Qualifier=1", "Qualifier=1"),
        ("b=2&a=1", "a=1&b=2"),
        ("a=2&a=1&a-b=0", "a=1&a=2&a-b=0"),
        ("List", "List="),
        ("Qualifier=$LATEST", "Qualifier=%24LATEST"),
        ("Qualifier=%24latest&x=%7e", "Qualifier=%24latest&x=~"),
        ("a=%c3%A9&&b", "a=%C3%A9&b="),
        ("a=%FF", "a=%FF"),
        ("a=b=c+d", "a=b%3Dc%2Bd"),
    ],
)
def test_queries_are_signed_encoded_and_sorted(query: str, canonical: str) -> None:
    assert canonical_query(query) == canonical


def flip(text: str, position: int) -> str:
    return text[:position] + chr(ord(text[position]) ^ 1) + text[position + 1 :]


@settings(deadline=None)
@given(data=st.data(), presigned=st.sampled_from([None, 3600]))
def test_one_flipped_bit_anywhere_is_refused(data: st.DataObject, presigned: int | None) -> None:
    query = "MaxItems=10&Qualifier=%24LATEST"
    headers = {"X-Amz-Invocation-Type": "Event", "X-Amz-Client-Context": "e30="}
    request = sign("POST", PATH, query, b'{"a": 1}', headers, presigned=presigned)
    by = verifier()
    by.verify(request)  # also fills the caches, which must not help
    signed = {
        None: ["host", "x-amz-date", "x-amz-invocation-type", "x-amz-client-context", "authorization"],
        3600: ["host", "x-amz-invocation-type", "x-amz-client-context"],
    }[presigned]
    where = data.draw(st.sampled_from(["method", "path", "query", "body", *signed]))
    if where == "body":
        position = data.draw(st.integers(0, len(request.body) - 1))
        body = bytearray(request.body)
        body[position] ^= 1
        changed = request._replace(body=bytes(body))
    elif where in ("method", "path", "query"):
        text = getattr(request, where)
        changed = request._replace(**{where: flip(text, data.draw(st.integers(0, len(text) - 1)))})
    else:
        text = request.headers[where]
        value = flip(text, data.draw(st.integers(0, len(text) - 1)))
        changed = request._replace(headers=dict(request.headers) | {where: value})
    assert refused(changed, by).status in (400, 403)


@pytest.mark.parametrize("presigned", [None, 60])
def test_a_wrong_secret_is_refused(presigned: int | None) -> None:
    error = refused(sign(secret="other", presigned=presigned))
    assert isinstance(error, InvalidSignatureException)
    assert error.message == (
        f"{MISMATCH} Check your AWS Secret Access Key and signing method. "
        "Consult the service documentation for details."
    )


def test_no_signature_at_all() -> None:
    for query in ("", "Qualifier=1", "X-Amz-Signature=abc"):
        error = refused(Request("GET", PATH, query, {"host": HOST}, b""))
        assert isinstance(error, MissingAuthenticationTokenException)
        assert (error.status, error.message) == (403, "Missing Authentication Token")


def test_an_unknown_access_key_is_refused_before_anything_else() -> None:
    for presigned in (None, 60):
        error = refused(sign(access_key="AKIDNOBODY", region="eu-west-1", presigned=presigned))
        assert isinstance(error, UnrecognizedClientException)
        assert (error.status, error.message) == (403, "The security token included in the request is invalid.")


@pytest.mark.parametrize(
    ("authorization", "text"),
    [
        ("Basic dXNlcjpwYXNz", "Authorization header requires 'Credential' parameter. Authorization header requires"),
        ("AWS4-HMAC-SHA256", "Authorization header requires 'Credential' parameter."),
        ("AWS4-HMAC-SHA256 Credential=a/b/c/d/e, SignedHeaders=host", "Authorization header requires 'Signature'"),
        ("AWS4-HMAC-SHA256 Credential= a/b/c/d/e, x", "Invalid key=value pair (missing equal-sign) in Authorization"),
        ("AWS4-HMAC-SHA256 Credential=a/b, SignedHeaders=host, Signature=0", "Credential must have exactly 5"),
        ("AWS4-HMAC-SHA1 Credential=a/b/c/d/e, SignedHeaders=host, Signature=0", "Unsupported AWS 'algorithm'"),
    ],
)
def test_an_incomplete_authorization_says_what_is_missing(authorization: str, text: str) -> None:
    headers = {"host": HOST, "x-amz-date": "20260102T030405Z", "authorization": authorization}
    error = refused(Request("GET", PATH, "", headers, b""))
    assert isinstance(error, IncompleteSignatureException)
    assert error.status == 400
    assert error.message is not None
    assert error.message.startswith(text)
    assert "dXNlcjpwYXNz" not in error.message


def test_a_date_is_required_and_must_be_one() -> None:
    request = sign()
    undated = {name: value for name, value in request.headers.items() if name != "x-amz-date"}
    by = verifier()
    by.verify(request)
    assert "existence of either a 'X-Amz-Date' or a 'Date' header" in str(
        refused(request._replace(headers=undated), by)
    )
    for wrong in ("2026-01-02T03:04:05Z", "20261302T030405Z", "20260102T030405", "yesterday"):
        headers = {**request.headers, "x-amz-date": wrong}
        assert refused(request._replace(headers=headers), by).status in (400, 403)


def test_a_date_header_stands_in_for_x_amz_date() -> None:
    request = sign(headers={"Date": "Fri, 02 Jan 2026 03:04:05 GMT"})
    assert verifier().verify(request) == CALLER


@pytest.mark.parametrize("minutes", [-5, -1, 0, 4, 5])
def test_clocks_may_differ_by_five_minutes(minutes: int) -> None:
    assert verifier().verify(sign(at=NOW + timedelta(minutes=minutes))) == CALLER


def test_an_older_signature_has_expired() -> None:
    error = refused(sign(at=NOW - timedelta(minutes=5, seconds=1)))
    assert isinstance(error, InvalidSignatureException)
    assert error.message == (
        "Signature expired: 20260102T025904Z is now earlier than 20260102T025905Z (20260102T030405Z - 5 min.)"
    )


@pytest.mark.parametrize("presigned", [None, 3600])
def test_a_signature_from_the_future_is_not_yet_current(presigned: int | None) -> None:
    error = refused(sign(at=NOW + timedelta(minutes=5, seconds=1), presigned=presigned))
    assert isinstance(error, InvalidSignatureException)
    assert error.message == (
        "Signature not yet current: 20260102T030906Z is still later than 20260102T030905Z (20260102T030405Z + 5 min.)"
    )


def test_a_presigned_url_holds_as_long_as_it_says() -> None:
    request = sign(presigned=3600)
    assert verifier(NOW + timedelta(seconds=3600)).verify(request) == CALLER
    error = refused(request, verifier(NOW + timedelta(seconds=3601)))
    assert isinstance(error, InvalidSignatureException)
    assert error.message == (
        "Signature expired: 20260102T030405Z is now earlier than 20260102T030406Z (20260102T040406Z - 60 min.)"
    )


@pytest.mark.parametrize(
    ("expires", "text"),
    [
        ("604801", "less than a week"),
        ("9" * 5000, "less than a week"),
        ("-1", "a number"),
        ("x", "a number"),
        ("", "include"),
    ],
)
def test_a_presigned_url_holds_for_a_week_at_most(expires: str, text: str) -> None:
    assert verifier().verify(sign(presigned=604800)) == CALLER
    request = sign(presigned=3600)
    query = request.query.replace("X-Amz-Expires=3600", f"X-Amz-Expires={expires}")
    error = refused(request._replace(query=query))
    assert isinstance(error, IncompleteSignatureException)
    assert text in str(error.message)


def test_a_presigned_url_lists_what_it_lacks() -> None:
    error = refused(Request("GET", PATH, "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Date=1", {"host": HOST}, b""))
    assert isinstance(error, IncompleteSignatureException)
    assert str(error.message).startswith(
        "AWS query-string parameters must include 'X-Amz-Credential'. AWS query-string"
    )


def test_a_presigned_body_may_be_left_open_only_by_its_signer() -> None:
    with mock.patch.object(OverBody, "word", "UNSIGNED-PAYLOAD"):
        request = sign("POST", query="X-Amz-Content-Sha256=UNSIGNED-PAYLOAD", presigned=60)
    assert verifier().verify(request._replace(body=b"anything")) == CALLER
    closed = sign("POST", body=b"{}", presigned=60)
    opened = closed._replace(body=b"other", headers={**closed.headers, "x-amz-content-sha256": "UNSIGNED-PAYLOAD"})
    assert isinstance(refused(opened), InvalidSignatureException)


def test_a_claimed_body_hash_must_be_the_body_s() -> None:
    body = b'{"a":1}'
    right = sign("POST", body=body, headers={"X-Amz-Content-SHA256": sha256(body).hexdigest()})
    assert verifier().verify(right) == CALLER
    for claimed in ("UNSIGNED-PAYLOAD", sha256(b"other").hexdigest(), "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"):
        wrong = sign("POST", body=body, headers={"X-Amz-Content-SHA256": claimed})
        assert isinstance(refused(wrong), InvalidSignatureException)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"region": "eu-west-1"}, "Credential should be scoped to a valid region, not 'eu-west-1'. "),
        ({"service": "s3"}, "Credential should be scoped to correct service: 'lambda'. "),
        (
            {"region": "eu-west-1", "service": "sqs"},
            "Credential should be scoped to a valid region, not 'eu-west-1'. "
            "Credential should be scoped to correct service: 'lambda'. ",
        ),
    ],
)
def test_credentials_are_scoped(options: dict[str, str], text: str) -> None:
    error = refused(sign(**options))  # pyright: ignore[reportArgumentType]
    assert isinstance(error, InvalidSignatureException)
    assert error.message == text


def test_the_scope_s_date_and_end_are_checked() -> None:
    request = sign()
    scoped = request.headers["authorization"].replace("/20260102/", "/20260101/").replace("aws4_request", "aws5")
    error = refused(request._replace(headers={**request.headers, "authorization": scoped}))
    assert error.message == (
        "Credential should be scoped with a valid terminator: 'aws4_request', not 'aws5'. "
        "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: "
        "'20260101' != '20260102', from '20260102T030405Z'. "
    )


def test_the_host_must_be_signed() -> None:
    with mock.patch.object(SigV4Auth, "signed_headers", lambda *_: "x-amz-date"):
        request = sign()
    assert "'Host'" in str(refused(request).message)


def test_temporary_credentials_need_their_token_and_end() -> None:
    expires = (NOW + timedelta(hours=1)).timestamp()
    sessions = {CALLER.access_key: Session("token/1+2=", expires)}
    by = verifier(session_of=sessions.get)
    for presigned in (None, 60):
        assert by.verify(sign(token="token/1+2=", presigned=presigned)) == CALLER
        for token in (None, "other"):
            assert isinstance(refused(sign(token=token, presigned=presigned), by), UnrecognizedClientException)
    late = verifier(NOW + timedelta(hours=1), session_of=sessions.get)
    error = refused(sign(token="token/1+2=", at=NOW + timedelta(hours=1)), late)
    assert isinstance(error, ExpiredTokenException)
    assert (error.status, error.message) == (403, "The security token included in the request is expired")


def test_lasting_credentials_take_no_token() -> None:
    assert isinstance(refused(sign(token="left over")), UnrecognizedClientException)


def test_a_changed_secret_counts_at_once() -> None:
    secrets = {CALLER.access_key: (SECRET, CALLER)}
    by = Verifier(secrets.get, StoppedClock(), "us-east-1")
    assert by.verify(sign()) == CALLER
    secrets[CALLER.access_key] = ("new", CALLER)
    assert isinstance(refused(sign(), by), InvalidSignatureException)
    assert by.verify(sign(secret="new")) == CALLER
    del secrets[CALLER.access_key]
    assert isinstance(refused(sign(secret="new"), by), UnrecognizedClientException)


def test_what_is_remembered_is_bounded() -> None:
    by = verifier()
    for number in range(REMEMBERED + 10):
        request = Request("GET", f"/{number}", "", dict(sign_template(number)), b"")
        refused(request, by)
    assert all(len(cache) <= REMEMBERED for cache in (by._claims, by._paths, by._keys))


def sign_template(number: int) -> dict[str, str]:
    scope = f"{CALLER.access_key}/20260102/us-east-1/lambda/aws4_request"
    return {
        "host": HOST,
        "x-amz-date": "20260102T030405Z",
        "authorization": f"AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host;x-{number}, Signature=0",
    }


@given(
    authorization=st.text(st.sampled_from("AWS4-HMAC-SHA256 Credential=/,;Signature=SignedHeaders\u00e9"), max_size=80)
)
def test_any_authorization_is_refused_without_a_failure(authorization: str) -> None:
    headers = {"host": HOST, "x-amz-date": "20260102T030405Z", "authorization": authorization}
    assert refused(Request("GET", PATH, "", headers, b"")).status in (400, 403)
