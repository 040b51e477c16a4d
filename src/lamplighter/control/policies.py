"""Resource policy documents: statements that come and go, one RevisionId for the whole (AWS: spec 1.10).

Functions and layers keep the same kind of document; who may be named in it, and what else is checked, is theirs.
Documents are values here: each change gives a new one.
"""

import json
import re
import uuid
from typing import Any, Final

from lamplighter.model.errors import (
    InvalidParameterValueException,
    PolicyLengthExceededException,
    PreconditionFailedException,
    ResourceConflictException,
    ResourceNotFoundException,
)
from lamplighter.store.contract import Document

LARGEST: Final = 20_480  # bytes of a policy

ACCOUNT: Final = re.compile(r"\d{12}", re.ASCII)
IDENTITY: Final = re.compile(
    r"arn:aws[a-zA-Z-]*:(iam::\d{12}:(root|(user|role|federated-user)/[\w+=,.@/-]+)"
    r"|sts::\d{12}:(assumed-role|federated-user)/[\w+=,.@/-]+)",
    re.ASCII,
)
SERVICE: Final = re.compile(r"[a-z0-9-]+(\.[a-z0-9-]+)*\.(amazonaws\.com(\.cn)?|amazon\.com)", re.ASCII)


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


def with_statement(document: Document | None, statement: dict[str, Any]) -> Document:
    """Raises ResourceConflict when its Sid is taken, PolicyLengthExceeded."""
    policy = document["policy"] if document else {"Version": "2012-10-17", "Id": "default", "Statement": []}
    if any(each.get("Sid") == statement["Sid"] for each in policy["Statement"]):
        raise ResourceConflictException(
            f"The statement id ({statement['Sid']}) provided already exists. "
            "Please provide a new statement id, or remove the existing statement."
        )
    return revised({**policy, "Statement": [*policy["Statement"], statement]})


def without_statement(document: Document, sid: str) -> Document | None:
    """None when that was the last one. Raises ResourceNotFound when there is no such statement."""
    policy = document["policy"]
    left = [each for each in policy["Statement"] if each.get("Sid") != sid]
    if len(left) == len(policy["Statement"]):
        raise ResourceNotFoundException(f"Statement {sid} is not found in resource policy.")
    return revised({**policy, "Statement": left}) if left else None


def revised(policy: dict[str, Any]) -> Document:
    """The policy as it is kept, with a RevisionId of its own. Raises PolicyLengthExceeded."""
    size = len(to_text(policy).encode())
    if size > LARGEST:
        raise PolicyLengthExceededException(f"The final policy size ({size}) is bigger than the limit ({LARGEST}).")
    return {"revision": str(uuid.uuid4()), "policy": policy}


def to_text(policy: dict[str, Any]) -> str:
    """As AWS gives policies and statements back: JSON in a string."""
    return json.dumps(policy, separators=(",", ":"))


def check_revision(document: Document | None, expected: str | None, call: str = "GetPolicy") -> None:
    """`call`: which operation tells the right one."""
    if expected is not None and (document is None or document["revision"] != expected):
        raise PreconditionFailedException(
            "The Revision Id provided does not match the latest Revision Id. "
            f"Call the {call} API to retrieve the latest Revision Id"
        )
