"""What execution roles may do, as far as somebody has said so: IAM policy documents by role (AWS: spec 9).

There is no IAM here, so what is known of roles is what the operator states at the start. A role that is named may do
what its policies allow and nothing else; of one that is not named nothing is known, and nothing is refused because of
it. What cannot be decided here, a Condition above all, is no part of a statement: a policy that would mean less than it
says stops the start.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, cast

import orjson

from lamplighter.control.wildcards import expression

ELEMENTS: Final = {"Version", "Id", "Statement"}
ROLE: Final = re.compile(r"arn:aws[a-zA-Z-]*:iam::\d{12}:role/[\w+=,.@/-]+", re.ASCII)
OF_STATEMENT: Final = {"Sid", "Effect", "Action", "NotAction", "Resource", "NotResource"}


class PoliciesUnusable(Exception):
    """The text says which role's policy, and why."""


@dataclass(frozen=True, slots=True)
class _Patterns:
    """`but`: everything that none of them matches."""

    patterns: tuple[re.Pattern[str], ...]
    but: bool

    def match(self, text: str) -> bool:
        return any(pattern.fullmatch(text) for pattern in self.patterns) is not self.but


@dataclass(frozen=True, slots=True)
class _Statement:
    allows: bool
    actions: _Patterns
    resources: _Patterns


class RolePolicies:
    def __init__(self, statements: Mapping[str, tuple[_Statement, ...]]) -> None:
        self._statements = statements  # by the role's ARN

    def allows(self, role: str, action: str, resource: str) -> bool:
        """Implements target_permissions.Allows."""
        known = self._statements.get(role)
        if known is None:
            return True
        said = {each.allows for each in known if each.actions.match(action) and each.resources.match(resource)}
        return said == {True}  # a Deny wins


def read_role_policies(text: bytes) -> RolePolicies:
    """From a JSON object: each role's ARN with its policy document, or a list of them. Raises PoliciesUnusable."""
    try:
        given: Any = orjson.loads(text)
    except ValueError as error:
        raise PoliciesUnusable(f"it is not valid JSON ({error})") from None
    if not isinstance(given, dict):
        raise PoliciesUnusable("it is not an object of roles and their policies")
    found: dict[str, tuple[_Statement, ...]] = {}
    for role, documents in cast(dict[str, Any], given).items():
        if not ROLE.fullmatch(role):
            raise PoliciesUnusable(f'"{role}" is not the ARN of a role')
        try:
            found[role] = tuple(each for document in _listed(documents) for each in _statements(document))
        except ValueError as error:
            raise PoliciesUnusable(f"the policy of {role} {error}") from None
    return RolePolicies(found)


def _statements(document: Any) -> list[_Statement]:
    policy = _object(document, ELEMENTS, "is not an object with a Statement")
    if "Statement" not in policy:
        raise ValueError("has no Statement")
    if policy.get("Version") not in ("2012-10-17", "2008-10-17"):
        raise ValueError("has no Version that is known (2012-10-17)")
    return [_statement(each) for each in _listed(policy["Statement"])]


def _statement(given: Any) -> _Statement:
    statement = _object(given, OF_STATEMENT, "has a Statement that is not an object")
    if statement.get("Effect") not in ("Allow", "Deny"):
        raise ValueError("has a statement whose Effect is neither Allow nor Deny")
    return _Statement(
        statement["Effect"] == "Allow",
        _patterns(statement, "Action", re.IGNORECASE),
        _patterns(statement, "Resource"),
    )


def _patterns(statement: dict[str, Any], element: str, flags: int = 0) -> _Patterns:
    but = "Not" + element
    if (element in statement) == (but in statement):
        raise ValueError(f"has a statement that needs either {element} or {but}")
    texts = _listed(statement.get(element, statement.get(but)))
    if not all(isinstance(text, str) and text for text in texts):
        raise ValueError(f"has a statement whose {element} is not a text")
    if any("${" in text for text in texts):
        raise ValueError("has a statement with policy variables (${…}), which are not known here")
    return _Patterns(tuple(re.compile(expression(text), flags | re.DOTALL) for text in texts), but in statement)


def _object(given: Any, known: set[str], otherwise: str) -> dict[str, Any]:
    if not isinstance(given, dict):
        raise ValueError(otherwise)
    members = cast(dict[str, Any], given)
    if unknown := set(members) - known:
        raise ValueError(f"has {min(unknown)}, which cannot be decided here")
    return members


def _listed(given: Any) -> list[Any]:
    return cast(list[Any], given) if isinstance(given, list) else [given]
