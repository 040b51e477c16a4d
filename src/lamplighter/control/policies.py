"""Resource policies as values: documents whose statements come and go, with one RevisionId for the whole (AWS: spec
1.10). Each change gives a new document. Who may call what is not decided here.
"""

import math
import re
import uuid
from typing import Any, Final, cast

import orjson

from lamplighter.model.errors import (
    InvalidParameterValueException,
    PolicyLengthExceededException,
    PreconditionFailedException,
    PublicPolicyException,
    ResourceConflictException,
    ResourceNotFoundException,
)
from lamplighter.store.contract import Document

Statement = dict[str, Any]
Policy = dict[str, Any]  # Statement is a list in it, whatever a request had

LARGEST: Final = 20_480  # bytes of a policy

ACCOUNT: Final = re.compile(r"\d{12}", re.ASCII)
IDENTITY: Final = re.compile(
    r"arn:aws[a-zA-Z-]*:(iam::\d{12}:(root|(user|role|federated-user)/[\w+=,.@/-]+)"
    r"|sts::\d{12}:(assumed-role|federated-user)/[\w+=,.@/-]+)",
    re.ASCII,
)
SERVICE: Final = re.compile(r"([a-z0-9-]+\.)+(amazonaws\.com(\.cn)?|amazon\.com)", re.ASCII)

ELEMENTS: Final = {"Version", "Id", "Statement"}
OF_STATEMENT: Final = {"Sid", "Effect", "Principal", "NotPrincipal", "Action", "Resource", "Condition"}
KINDS_OF_PRINCIPAL: Final = {"AWS", "Service", "Federated", "CanonicalUser"}
OPERATOR: Final = re.compile(
    r"(ForAllValues:|ForAnyValue:)?"
    r"(String(Not)?(Equals(IgnoreCase)?|Like)|(Numeric|Date)((Not)?Equals|(Less|Greater)Than(Equals)?)"
    r"|Bool|BinaryEquals|(Not)?IpAddress|Arn(Not)?(Equals|Like)|Null)(IfExists)?",
    re.ASCII,
)


def principal(text: str) -> str | dict[str, str]:
    """As it stands in a statement: everybody, an account, an identity or a service of AWS."""
    if text == "*":
        return text
    if ACCOUNT.fullmatch(text):
        return {"AWS": f"arn:aws:iam::{text}:root"}
    if IDENTITY.fullmatch(text):
        return {"AWS": text}
    if SERVICE.fullmatch(text):
        return {"Service": text}
    raise InvalidParameterValueException(
        "The provided principal was invalid. Please check the principal and try again."
    )


def with_statement(document: Document | None, statement: Statement) -> Document:
    """Raises ResourceConflict when its Sid is taken, PolicyLengthExceeded."""
    policy: Policy = document["policy"] if document else {"Version": "2012-10-17", "Id": "default", "Statement": []}
    if any(each.get("Sid") == statement["Sid"] for each in policy["Statement"]):
        raise ResourceConflictException(
            f"The statement id ({statement['Sid']}) provided already exists. "
            "Please provide a new statement id, or remove the existing statement."
        )
    return revised({**policy, "Statement": [*policy["Statement"], statement]})


def without_statement(document: Document, sid: str) -> Document | None:
    """None when that was the last one. Raises ResourceNotFound when there is no such statement."""
    policy: Policy = document["policy"]
    left = [each for each in policy["Statement"] if each.get("Sid") != sid]
    if len(left) == len(policy["Statement"]):
        raise ResourceNotFoundException(f"Statement {sid} is not found in resource policy.")
    return revised({**policy, "Statement": left}) if left else None


def revised(policy: Policy) -> Document:
    """The policy as it is kept, with a RevisionId of its own. Raises PolicyLengthExceeded."""
    size = len(to_text(policy).encode())
    if size > LARGEST:
        raise PolicyLengthExceededException(f"The final policy size ({size}) is bigger than the limit ({LARGEST}).")
    return {"revision": str(uuid.uuid4()), "policy": policy}


def to_text(policy: Policy | Statement) -> str:
    """As AWS gives policies and statements back: JSON in a string."""
    return orjson.dumps(policy).decode()


def check_revision(document: Document | None, expected: str | None, call: str = "GetPolicy") -> None:
    """`call`: which operation tells the right one."""
    if expected is not None and (document is None or document["revision"] != expected):
        raise PreconditionFailedException(
            "The Revision Id provided does not match the latest Revision Id. "
            f"Call the {call} API to retrieve the latest Revision Id"
        )


# Policies that come as a whole


def parse(text: str, resource: str) -> Policy:
    """A policy about one resource (its ARN), as IAM's grammar allows it.

    Raises InvalidParameterValue for anything else, PublicPolicy when it lets everybody in."""
    try:
        document: Any = orjson.loads(text)
    except ValueError:
        raise _malformed("it is not valid JSON") from None
    policy = _object(document, "the policy", ELEMENTS)
    if policy.get("Version", "2012-10-17") not in ("2012-10-17", "2008-10-17"):
        raise _malformed("unknown Version")
    if not isinstance(policy.get("Id", ""), str):
        raise _malformed("Id is not a text")
    given = policy.get("Statement")
    statements = cast(list[Any], given if isinstance(given, list) else [given])
    if not statements:
        raise _malformed("it has no Statement")
    checked = [_statement(each, resource) for each in statements]
    sids = [each["Sid"] for each in checked if "Sid" in each]
    if len(set(sids)) < len(sids):
        raise _malformed("statement ids (Sid) are not unique")
    return {**policy, "Statement": checked}


def _statement(given: Any, resource: str) -> Statement:
    statement: Statement = _object(given, "a statement", OF_STATEMENT)
    if statement.get("Effect") not in ("Allow", "Deny"):
        raise _malformed("Effect must be Allow or Deny")
    if not isinstance(statement.get("Sid", ""), str):
        raise _malformed("Sid is not a text")
    if ("Principal" in statement) == ("NotPrincipal" in statement):
        raise _malformed("a statement has either Principal or NotPrincipal")
    if "NotPrincipal" in statement and statement["Effect"] == "Allow":
        raise _malformed("NotPrincipal goes with Deny only")
    actions = _texts(statement.get("Action"), "Action")
    if not all(action == "*" or action.lower().startswith("lambda:") for action in actions):
        raise _malformed("Action must be of the service lambda")
    if any(each != resource for each in _texts(statement.get("Resource"), "Resource")):
        raise _malformed(f"Resource must be {resource}")
    everybody = _names_everybody(statement.get("Principal", statement.get("NotPrincipal")))
    if "Condition" in statement:
        _check_condition(statement["Condition"])
    if everybody and statement["Effect"] == "Allow" and not statement.get("Condition"):
        raise PublicPolicyException("The policy would give everybody access, and public access is blocked.")
    return statement


def _names_everybody(given: Any) -> bool:
    if given == "*":
        return True
    named = _object(given, "a Principal", KINDS_OF_PRINCIPAL)
    if not named:
        raise _malformed("a Principal is empty")
    values = {kind: _texts(each, "Principal") for kind, each in named.items()}
    identities = values.get("AWS", [])
    for identity in identities:
        if identity != "*" and "AWS" not in principal(identity):
            raise _malformed(f"{identity} is no Principal of the kind AWS")
    return "*" in identities


def _check_condition(given: Any) -> None:
    """Operators with keys with values: {"StringEquals": {"aws:SourceAccount": "…"}}"""
    for operator, keys in _object(given, "Condition").items():
        if not OPERATOR.fullmatch(operator):
            raise _malformed(f"unknown operator of a Condition {operator}")
        tests = _object(keys, "an operator of a Condition")
        if not tests:
            raise _malformed(f"{operator} of a Condition is empty")
        for key, value in tests.items():
            values = cast(list[Any], value if isinstance(value, list) else [value])
            if not key or not values or not all(_is_scalar(each) for each in values):
                raise _malformed(f"{operator} of a Condition has no values for a key")


def _is_scalar(value: Any) -> bool:
    return isinstance(value, (str, int)) or (isinstance(value, float) and math.isfinite(value))


def _object(given: Any, what: str, known: set[str] | None = None) -> dict[str, Any]:
    if not isinstance(given, dict):
        raise _malformed(f"{what} is missing or not an object")
    members = cast(dict[str, Any], given)
    unknown = set[str]() if known is None else set(members) - known
    if unknown:
        raise _malformed(f"{what} has an unknown element {min(unknown)}")
    return members


def _texts(given: Any, element: str) -> list[str]:
    """One text or a list of them."""
    values = cast(list[Any], given if isinstance(given, list) else [given])
    if not values or not all(isinstance(value, str) and value for value in values):
        raise _malformed(f"{element} is missing or not a text")
    return cast(list[str], values)


def _malformed(why: str) -> InvalidParameterValueException:
    return InvalidParameterValueException(f"The provided policy is malformed: {why}.")
