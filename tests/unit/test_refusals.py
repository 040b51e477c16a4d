"""Refusals against the service model, and as SDKs read them."""

import json

import pytest

from lamplighter.api import service_model
from lamplighter.api.errors import refusal
from lamplighter.model import errors
from lamplighter.model.errors import ServiceError
from support import botocore_wire

SHAPES = service_model.load()["shapes"]
EXCEPTIONS = sorted(name for name, shape in SHAPES.items() if shape.get("exception"))


@pytest.mark.parametrize("name", EXCEPTIONS)
def test_every_exception_of_the_model_has_its_class(name: str) -> None:
    error: type[ServiceError] = getattr(errors, name)
    members = SHAPES[name]["members"]
    assert error.code == name
    assert error.status == SHAPES[name]["error"]["httpStatusCode"]
    assert error.key in members
    assert error.typed is ("Type" in members)
    assert (error.status >= 500) is SHAPES[name].get("fault", False)


def test_sdks_read_code_and_text() -> None:
    response = refusal(errors.ResourceNotFoundException("Function not found: x"), "r")
    parsed = botocore_wire.understood("GetFunction", response)
    assert parsed["Error"] == {"Code": "ResourceNotFoundException", "Message": "Function not found: x"}
    assert response.status == 404
    assert json.loads(response.body) == {"Type": "User", "Message": "Function not found: x"}


def test_a_throttle_says_why_and_for_how_long() -> None:
    response = refusal(errors.TooManyRequestsException("CallerRateLimitExceeded", retry_after=2), "r")
    assert json.loads(response.body) == {
        "Type": "User",
        "message": "Rate Exceeded.",
        "Reason": "CallerRateLimitExceeded",
    }
    assert dict(response.headers) == {
        "Content-Type": "application/json",
        "x-amzn-ErrorType": "TooManyRequestsException",
        "Retry-After": "2",
    }


def test_common_errors_have_no_type() -> None:
    assert json.loads(refusal(errors.ValidationException("x"), "r").body) == {"message": "x"}
    assert json.loads(refusal(errors.SerializationException("x"), "r").body) == {"Message": "x"}
    assert json.loads(refusal(errors.AccessDeniedException(), "r").body) == {"Message": None}


def test_further_members_travel() -> None:
    response = refusal(errors.EC2UnexpectedException("x", EC2ErrorCode="y"), "r")
    assert json.loads(response.body) == {"Type": "Service", "Message": "x", "EC2ErrorCode": "y"}


def test_a_failure_of_ours_names_the_request() -> None:
    assert "abc-123" in json.loads(refusal(errors.ServiceException(), "abc-123").body)["Message"]


def test_a_subclass_keeps_the_code_that_it_is_given() -> None:
    class Special(errors.ServiceException):
        code = "ServiceException"

    assert Special().code == "ServiceException"
