"""Who else may use a function: statements added one by one, or a policy put as a whole, on one document for each
qualifier (AWS: spec 1.10). The document has a RevisionId of its own: neither function nor alias changes with it.
"""

from collections.abc import Mapping
from typing import Any, Final

from lamplighter.control import policies
from lamplighter.model.aliases import KIND as ALIAS
from lamplighter.model.errors import InvalidParameterValueException, ResourceNotFoundException
from lamplighter.model.names import FunctionRef, is_alias, kind_of_qualifier
from lamplighter.store.contract import Document, Records, RecordTransaction, RecordView

KIND: Final = "policy"  # the key is the qualifier, or empty for the function's own
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

# Conditions that make sense for one action only.
ONLY_FOR: Final = {"FunctionUrlAuthType": "lambda:InvokeFunctionUrl", "InvokedViaFunctionUrl": "lambda:InvokeFunction"}


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
    ) -> policies.Statement:
        """The statement. `conditions`: by the request's member names, see CONDITIONS."""
        _check_not_latest(function)
        for member, only in ONLY_FOR.items():
            if member in conditions and action != only:
                raise InvalidParameterValueException(f"{member} is only supported for {only} action")
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
        _check_not_latest(function)
        document = policies.revised(policies.parse(policy, function.arn))

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
    transaction.changed(function.id.name)


def _check_not_latest(function: FunctionRef) -> None:
    if function.qualifier is not None and kind_of_qualifier(function.qualifier) == "latest":
        raise InvalidParameterValueException("We currently do not support adding policies for $LATEST.")


def _check_exists(view: RecordView, function: FunctionRef) -> None:
    """Texts as recorded: an alias is missed as an alias, whatever else is missing."""
    qualifier = function.qualifier
    if qualifier is not None and is_alias(qualifier):
        if view.get(ALIAS, function.id.name, qualifier) is None:
            raise ResourceNotFoundException(f"Cannot find alias arn: {function.arn}")
    elif view.version(function.id.name, qualifier or "$LATEST") is None:
        raise ResourceNotFoundException(f"Function not found: {function.arn}")
