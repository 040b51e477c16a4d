"""Credentials of environments: whose they are, and for how long."""

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from lamplighter.api.authorization import INVOKE, authorize
from lamplighter.api.http import Caller, Request
from lamplighter.api.sessions import Keys, Sessions
from lamplighter.api.sigv4 import Verifier
from lamplighter.model.clock import SystemClock
from lamplighter.model.errors import (
    AccessDeniedException,
    ExpiredTokenException,
    InvalidSignatureException,
    UnrecognizedClientException,
)
from support.environments import version

FUNCTION = version("f", role="arn:aws:iam::000000000000:role/service-role/R")


def sign(keys: Keys, token: str | None = None) -> Request:
    signed = AWSRequest("GET", "http://127.0.0.1:4566/2015-03-31/functions/", headers={"Host": "127.0.0.1:4566"})
    SigV4Auth(Credentials(keys.access_key, keys.secret, token or keys.token), "lambda", "us-east-1").add_auth(signed)
    return Request(
        "GET", "/2015-03-31/functions/", "", {name.lower(): value for name, value in signed.headers.items()}, b""
    )


class Gate:
    def __init__(self, secret: bytes = b"s" * 32) -> None:
        self.sessions = Sessions(secret, INVOKE)
        by = self.sessions
        self.verifier = Verifier(by.secret_of, SystemClock(), "us-east-1", session_of=by.session_of)

    def caller(self, keys: Keys, token: str | None = None) -> Caller:
        return self.verifier.verify(sign(keys, token))


def test_a_functions_credentials_are_its_roles_session_named_after_it() -> None:
    gate = Gate()
    caller = gate.caller(gate.sessions.open(FUNCTION))
    assert caller.arn == "arn:aws:sts::000000000000:assumed-role/R/f"
    assert caller.account == "000000000000"


def test_each_environment_has_its_own_and_none_is_shown_by_accident() -> None:
    sessions = Gate().sessions
    one, other = sessions.open(FUNCTION), sessions.open(FUNCTION)
    assert not {one.access_key, one.secret, one.token} & {other.access_key, other.secret, other.token}
    assert one.secret not in repr(one)
    assert one.token not in repr(one)


def test_they_have_expired_once_the_environment_is_gone_also_after_a_restart() -> None:
    gate = Gate()
    keys = gate.sessions.open(FUNCTION)
    gate.caller(keys)
    gate.sessions.close(keys)
    for later in (gate, Gate()):
        with pytest.raises(ExpiredTokenException, match="The security token included in the request is expired"):
            later.caller(keys)


def test_a_token_that_was_never_ours_is_invalid_and_so_is_anothers_or_none() -> None:
    gate = Gate()
    one, other = gate.sessions.open(FUNCTION), gate.sessions.open(FUNCTION)
    stranger = Gate(b"t" * 32).sessions.open(FUNCTION)
    for keys, token in ((one, other.token), (stranger, None), (Keys("ASIAAAAAAAAAAAAAAAAA", "s", "t"), None)):
        with pytest.raises(UnrecognizedClientException, match="The security token included in the request is invalid"):
            gate.caller(keys, token)
    with pytest.raises(InvalidSignatureException):
        gate.caller(Keys(one.access_key, other.secret, one.token))


def test_functions_may_call_functions_and_write_logs_and_are_told_what_they_may_not() -> None:
    gate = Gate()
    caller = gate.caller(gate.sessions.open(FUNCTION))
    authorize(caller, "lambda", "InvokeWithResponseStream", "*")
    authorize(caller, "logs", "PutLogEvents", "*")
    with pytest.raises(AccessDeniedException) as refused:
        authorize(caller, "lambda", "UpdateFunctionCode", "arn:aws:lambda:us-east-1:000000000000:function:g")
    assert str(refused.value) == (
        "User: arn:aws:sts::000000000000:assumed-role/R/f is not authorized to perform: lambda:UpdateFunctionCode on "
        "resource: arn:aws:lambda:us-east-1:000000000000:function:g because no identity-based policy allows the "
        "lambda:UpdateFunctionCode action"
    )
