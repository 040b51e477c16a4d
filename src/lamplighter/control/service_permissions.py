"""Whether a function's policy lets one of AWS's services call it (AWS: spec 1.10, 9). Asked by what acts in a service's
name, since such calls have no other policy: no statement, no call.

Statements mean what IAM's mean: a Deny wins; a condition of a key that the call does not have fails, unless it is one
of what must not be, or of IfExists. Whoever calls has the keys that AWS's services have.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, cast

from lamplighter.control.permissions import KIND
from lamplighter.control.wildcards import expression
from lamplighter.model.functions import FunctionId
from lamplighter.store.contract import Records

INVOKE: Final = "lambda:InvokeFunction"
_OF_EACH: Final = re.compile(r"(?P<set>ForAllValues:|ForAnyValue:)?(?P<test>\w+?)(?P<if>IfExists)?", re.ASCII)


@dataclass(frozen=True, slots=True)
class ServiceCall:
    """`names`: the service's principals, any of which may be allowed; `source`: the ARN of what it calls for."""

    names: Sequence[str]
    source: str
    account: str

    def keys(self) -> Mapping[str, Sequence[str]]:
        """Of conditions, in lower case."""
        return {
            "aws:sourcearn": (self.source,),
            "aws:sourceaccount": (self.account,),
            "aws:principalisawsservice": ("true",),
            "aws:principalservicename": self.names[:1],
            "aws:principalservicenameslist": self.names,
        }


def may_invoke(records: Records, id: FunctionId, qualifier: str | None, call: ServiceCall) -> bool:
    """By the policy of this qualifier; None: of the function's own."""
    document = records.view(id.account, id.region).get(KIND, id.name, qualifier or "")
    return document is not None and lets(document["policy"]["Statement"], call)


def lets(statements: Sequence[Mapping[str, Any]], call: ServiceCall) -> bool:
    """Statements of a policy that was checked when it was put; their Resource is the function."""
    found = {each["Effect"] for each in statements if _is_about(each, call)}
    return found == {"Allow"}


def _is_about(statement: Mapping[str, Any], call: ServiceCall) -> bool:
    return (
        _names(statement, call)
        and any(_like(action, INVOKE, re.IGNORECASE) for action in _listed(statement["Action"]))
        and all(
            _holds(operator, key, [_text(value) for value in _listed(values)], call.keys())
            for operator, tests in statement.get("Condition", {}).items()
            for key, values in tests.items()
        )
    )


def _names(statement: Mapping[str, Any], call: ServiceCall) -> bool:
    if "NotPrincipal" in statement:
        return not _is_one_of(statement["NotPrincipal"], call)
    return _is_one_of(statement["Principal"], call)


def _is_one_of(principal: Any, call: ServiceCall) -> bool:
    if principal == "*":
        return True
    return "*" in _listed(principal.get("AWS", [])) or any(
        name in call.names for name in _listed(principal.get("Service", []))
    )


def _holds(operator: str, key: str, wanted: Sequence[str], keys: Mapping[str, Sequence[str]]) -> bool:
    """One operator with one key."""
    parts = _OF_EACH.fullmatch(operator)
    assert parts is not None, "policies are checked when they are put"
    found, name = keys.get(key.lower()), parts["test"]
    if name == "Null":
        return any((each.lower() == "true") is (found is None) for each in wanted)
    if not found:
        return parts["if"] is not None or parts["set"] == "ForAllValues:" or "Not" in name
    test = _test(name.replace("Not", ""))
    met = [any(test(each, value) for each in wanted) is not ("Not" in name) for value in found]
    return all(met) if parts["set"] == "ForAllValues:" else any(met)


def _test(name: str) -> Callable[[str, str], bool]:
    """Of the policy's value and the call's. No key that is known has numbers, dates, addresses or bytes: these fail."""
    if name in ("ArnEquals", "ArnLike"):
        return _arn_like
    if name == "StringLike":
        return _like
    if name in ("StringEqualsIgnoreCase", "Bool"):
        return lambda wanted, found: wanted.lower() == found.lower()
    if name == "StringEquals":
        return lambda wanted, found: wanted == found
    return lambda wanted, found: False


def _arn_like(wanted: str, found: str) -> bool:
    """Each of the six parts by itself."""
    one, other = wanted.split(":", 5), found.split(":", 5)
    return len(one) == len(other) and all(map(_like, one, other))


def _like(wanted: str, found: str, flags: int = 0) -> bool:
    return re.fullmatch(expression(wanted), found, flags | re.DOTALL) is not None


def _listed(given: Any) -> list[Any]:
    return cast(list[Any], given) if isinstance(given, list) else [given]


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
