"""Who else may use a function: statements added one by one, or a policy put as a whole, on one document for each
qualifier (AWS: spec 1.10).
"""

import json
from collections.abc import Mapping
from typing import Any, Final, cast

from lamplighter.control import policies
from lamplighter.model.errors import (
    InvalidParameterValueException,
    PublicPolicyException,
    ResourceNotFoundException,
)
from lamplighter.model.names import FunctionRef, is_alias, kind_of_qualifier
from lamplighter.store.contract import Document, Records, RecordTransaction, RecordView

KIND: Final = "policy"
NO_POLICY: Final = "No policy is associated with the given resource."
NOT_THERE: Final = "The resource you requested does not exist."

# Request member -> condition operator and key of the statement.
CONDITIONS: Final = {
    "SourceArn": ("ArnLike", "AWS:SourceArn"),
    "SourceAccount": ("StringEquals", "AWS:SourceAccount"),
    "PrincipalOrgID": ("StringEquals", "aws:PrincipalOrgID"),
    "EventSourceToken": ("StringEquals", "lambda:EventSourceToken"),
    "FunctionUrlAuthType": ("StringEquals", "lambda:FunctionUrlAuthType"),
    "InvokedViaFunctionUrl": ("Bool", "lambda:InvokedViaFunctionUrl"),
}


class Permissions:
    def __init__(self, records: Records) -> None:
        self._records = records

    async def add(
        self,
        function: FunctionRef,
        sid: str,
        action: str,
        principal: str,
        conditions: Mapping[str, str | bool],
        revision: str | None,
    ) -> dict[str, Any]:
        """The statement. `conditions`: by the request's member names, see CONDITIONS."""
        if function.qualifier is not None and kind_of_qualifier(function.qualifier) == "latest":
            raise InvalidParameterValueException("We currently do not support adding policies for $LATEST.")
        if "FunctionUrlAuthType" in conditions and action != "lambda:InvokeFunctionUrl":
            raise InvalidParameterValueException(
                "FunctionUrlAuthType is only supported for lambda:InvokeFunctionUrl action"
            )
        statement: dict[str, Any] = {
            "Sid": sid,
            "Effect": "Allow",
            "Principal": policies.principal(principal),
            "Action": action,
            "Resource": function.arn,
        }
        for member, value in conditions.items():
            operator, key = CONDITIONS[member]
            text = str(value).lower() if isinstance(value, bool) else value
            statement.setdefault("Condition", {}).setdefault(operator, {})[key] = text

        def run(transaction: RecordTransaction) -> None:
            _check_exists(transaction, function)
            document = _get(transaction, function)
            policies.check_revision(document, revision)
            _put(transaction, function, policies.with_statement(document, statement))

        await self._records.transact(function.id.account, function.id.region, run)
        return statement

    async def remove(self, function: FunctionRef, sid: str, revision: str | None) -> None:
        def run(transaction: RecordTransaction) -> None:
            if function.qualifier is not None and is_alias(function.qualifier):
                _check_exists(transaction, function)
            elif transaction.version(function.id.name) is None:
                raise ResourceNotFoundException(f"No policy found for: {function.arn}")
            document = _get(transaction, function)
            if document is None:
                raise ResourceNotFoundException(NO_POLICY)
            policies.check_revision(document, revision)
            _put(transaction, function, policies.without_statement(document, sid))

        await self._records.transact(function.id.account, function.id.region, run)

    async def get(self, function: FunctionRef) -> Document:
        document = _get(self._records.view(function.id.account, function.id.region), function)
        if document is None:
            raise ResourceNotFoundException(NOT_THERE)
        return document

    async def put(self, function: FunctionRef, policy: str, revision: str | None) -> Document:
        """The whole policy, over whatever there was."""
        document = policies.revised(_checked(policy, function))

        def run(transaction: RecordTransaction) -> None:
            _check_exists(transaction, function)
            policies.check_revision(_get(transaction, function), revision, "GetResourcePolicy")
            _put(transaction, function, document)

        await self._records.transact(function.id.account, function.id.region, run)
        return document

    async def delete(self, function: FunctionRef, revision: str | None) -> None:
        def run(transaction: RecordTransaction) -> None:
            document = _get(transaction, function)
            if document is None:
                raise ResourceNotFoundException(NOT_THERE)
            policies.check_revision(document, revision, "GetResourcePolicy")
            _put(transaction, function, None)

        await self._records.transact(function.id.account, function.id.region, run)


def _get(view: RecordView, function: FunctionRef) -> Document | None:
    return view.get(KIND, function.id.name, function.qualifier or "")


def _put(transaction: RecordTransaction, function: FunctionRef, document: Document | None) -> None:
    if document is None:
        transaction.delete(KIND, function.id.name, function.qualifier or "")
    else:
        transaction.put(KIND, function.id.name, function.qualifier or "", document)


def _check_exists(view: RecordView, function: FunctionRef) -> None:
    """Texts as recorded: an alias is missed as an alias, whatever else is missing."""
    qualifier = function.qualifier
    if qualifier is not None and is_alias(qualifier):
        if view.get("alias", function.id.name, qualifier) is None:
            raise ResourceNotFoundException(f"Cannot find alias arn: {function.arn}")
    elif view.version(function.id.name, qualifier or "$LATEST") is None:
        raise ResourceNotFoundException(f"Function not found: {function.arn}")


# Policies put as a whole


def _checked(text: str, function: FunctionRef) -> dict[str, Any]:
    """The policy, if IAM's grammar allows it and it is about this function alone."""
    try:
        policy = json.loads(text)
    except (ValueError, RecursionError):
        raise _malformed("it is not valid JSON") from None
    if not isinstance(policy, dict):
        raise _malformed("it is not an object")
    members = cast(dict[str, Any], policy)
    unknown = set(members) - {"Version", "Id", "Statement"}
    if unknown:
        raise _malformed(f"unknown element {min(unknown)}")
    if members.get("Version", "2012-10-17") not in ("2012-10-17", "2008-10-17"):
        raise _malformed("unknown Version")
    statements = members.get("Statement")
    if isinstance(statements, dict):
        statements = [cast(dict[str, Any], statements)]
    if not isinstance(statements, list) or not statements:
        raise _malformed("it has no Statement")
    checked = [_checked_statement(each, function) for each in cast(list[Any], statements)]
    sids = [each["Sid"] for each in checked if "Sid" in each]
    if len(set(sids)) < len(sids):
        raise _malformed("statement ids (Sid) are not unique")
    return {"Version": "2012-10-17", **members, "Statement": checked}


def _checked_statement(statement: Any, function: FunctionRef) -> dict[str, Any]:
    if not isinstance(statement, dict):
        raise _malformed("a statement is not an object")
    members = cast(dict[str, Any], statement)
    unknown = set(members) - {"Sid", "Effect", "Principal", "NotPrincipal", "Action", "Resource", "Condition"}
    if unknown:
        raise _malformed(f"unknown element {min(unknown)}")
    if members.get("Effect") not in ("Allow", "Deny"):
        raise _malformed("Effect must be Allow or Deny")
    if ("Principal" in members) == ("NotPrincipal" in members):
        raise _malformed("a statement needs a Principal")
    if "NotPrincipal" in members and members["Effect"] == "Allow":
        raise _malformed("NotPrincipal goes with Deny only")
    if not isinstance(members.get("Sid", ""), str):
        raise _malformed("Sid is not a text")
    actions = _texts(members.get("Action"), "Action")
    if not all(action == "*" or action.startswith("lambda:") for action in actions):
        raise _malformed("Action must be of the service lambda")
    if any(resource != function.arn for resource in _texts(members.get("Resource"), "Resource")):
        raise _malformed(f"Resource must be {function.arn}")
    everybody = _names_everybody(members.get("Principal", members.get("NotPrincipal")))
    if not isinstance(members.get("Condition", {}), dict):
        raise _malformed("Condition is not an object")
    if everybody and members["Effect"] == "Allow" and not members.get("Condition"):
        raise PublicPolicyException("The policy would give everybody access, and public access is blocked.")
    return members


def _names_everybody(given: Any) -> bool:
    if given == "*":
        return True
    if not isinstance(given, dict) or not given:
        raise _malformed("a Principal is missing or has no known form")
    named = cast(dict[str, Any], given)
    for kind, values in named.items():
        if kind not in ("AWS", "Service", "Federated", "CanonicalUser"):
            raise _malformed(f"unknown kind of Principal {kind}")
        for value in _texts(values, "Principal"):
            if kind == "AWS" and value != "*":
                policies.principal(value)
    return "AWS" in named and "*" in _texts(named["AWS"], "Principal")


def _texts(given: Any, element: str) -> list[str]:
    """One text or a list of them."""
    values = cast(list[Any], given if isinstance(given, list) else [given])
    if not values or not all(isinstance(value, str) and value for value in values):
        raise _malformed(f"{element} is missing or not a text")
    return cast(list[str], values)


def _malformed(why: str) -> InvalidParameterValueException:
    return InvalidParameterValueException(f"The provided policy is malformed: {why}.")
