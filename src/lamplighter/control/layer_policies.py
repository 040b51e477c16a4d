"""Who may use a layer version: its owner, and whom its policy names (AWS: spec 1.10).

A policy hangs on one version and goes with it. It has a RevisionId of its own, which changes with every statement.
"""

import uuid
from dataclasses import dataclass
from typing import Any, Final

import orjson

from lamplighter.model import layers
from lamplighter.model.errors import (
    AccessDeniedException,
    PolicyLengthExceededException,
    PreconditionFailedException,
    ResourceConflictException,
    ResourceNotFoundException,
)
from lamplighter.model.names import LayerId, LayerVersionRef
from lamplighter.store.contract import Records, RecordTransaction, RecordView

KIND: Final = "layer_policy"  # owner is the layer's name, the key is the version
LARGEST_POLICY: Final = 20_480  # bytes

Statement = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Policy:
    statements: tuple[Statement, ...] = ()
    revision: str | None = None  # None: there is no policy

    @property
    def text(self) -> str:
        document = {"Version": "2012-10-17", "Id": "default", "Statement": self.statements}
        return orjson.dumps(document).decode()


class LayerPolicies:
    """`caller`: account id."""

    def __init__(self, records: Records) -> None:
        self._records = records

    async def add(
        self,
        caller: str,
        ref: LayerVersionRef,
        sid: str,
        action: str,
        principal: str,
        organization: str | None = None,
        revision: str | None = None,
    ) -> tuple[Statement, str]:
        """The statement, and the policy's RevisionId now."""
        check_owner(caller, ref.layer, "AddLayerVersionPermission", ref.arn)
        statement: Statement = {
            "Sid": sid,
            "Effect": "Allow",
            "Principal": principal if principal == "*" else {"AWS": _principal_arn(principal)},
            "Action": action,
            "Resource": ref.arn,
        }
        if organization is not None:
            statement["Condition"] = {"StringEquals": {"aws:PrincipalOrgID": organization}}

        def run(transaction: RecordTransaction) -> str:
            policy = _existing(transaction, ref)
            _check_revision(revision, policy)
            if any(existing["Sid"] == sid for existing in policy.statements):
                raise ResourceConflictException(
                    f"The statement id ({sid}) provided already exists. "
                    "Please provide a new statement id, or remove the existing statement."
                )
            return _keep(transaction, ref, (*policy.statements, statement))

        return statement, await self._records.transact(ref.layer.account, ref.layer.region, run)

    async def get(self, caller: str, ref: LayerVersionRef) -> Policy:
        check_owner(caller, ref.layer, "GetLayerVersionPolicy", ref.arn)
        policy = _existing(self._records.view(ref.layer.account, ref.layer.region), ref)
        if policy.revision is None:
            raise ResourceNotFoundException("No policy is associated with the given resource.")
        return policy

    async def remove(self, caller: str, ref: LayerVersionRef, sid: str, revision: str | None = None) -> None:
        check_owner(caller, ref.layer, "RemoveLayerVersionPermission", ref.arn)

        def run(transaction: RecordTransaction) -> None:
            policy = _existing(transaction, ref)
            if policy.revision is None:
                raise ResourceNotFoundException("No policy is associated with the given resource.")
            _check_revision(revision, policy)
            left = tuple(statement for statement in policy.statements if statement["Sid"] != sid)
            if len(left) == len(policy.statements):
                raise ResourceNotFoundException(f"Statement {sid} is not found in resource policy.")
            if left:
                _keep(transaction, ref, left)
            else:
                forget(transaction, ref)

        await self._records.transact(ref.layer.account, ref.layer.region, run)


def allows(view: RecordView, ref: LayerVersionRef, caller: str) -> bool:
    """Whether an account may use a version. `view`: of the layer's account and region.

    What is granted to an organization is granted to nobody: there are none here to be a member of."""
    if caller == ref.layer.account:
        return True
    return any(
        "Condition" not in statement
        and (statement["Principal"] == "*" or statement["Principal"]["AWS"].split(":")[4] == caller)
        for statement in _policy(view, ref).statements
    )


def check_owner(caller: str, layer: LayerId, operation: str, arn: str | None = None) -> None:
    """For operations that no policy of a layer version can allow to others."""
    if caller != layer.account:
        raise denied(caller, operation, arn or layer.arn)


def denied(caller: str, operation: str, arn: str) -> AccessDeniedException:
    return AccessDeniedException(
        f"User: arn:aws:iam::{caller}:root is not authorized to perform: lambda:{operation} on resource: {arn} "
        f"because no resource-based policy allows the lambda:{operation} action"
    )


def forget(transaction: RecordTransaction, ref: LayerVersionRef) -> None:
    transaction.delete(KIND, ref.layer.name, str(ref.version))


def _policy(view: RecordView, ref: LayerVersionRef) -> Policy:
    document = view.get(KIND, ref.layer.name, str(ref.version))
    return Policy() if document is None else Policy(tuple(document["statements"]), document["revision"])


def _existing(view: RecordView, ref: LayerVersionRef) -> Policy:
    """Raises ResourceNotFound when there is no such version."""
    if view.get(layers.KIND, ref.layer.name, str(ref.version)) is None:
        raise ResourceNotFoundException(f"Layer version {ref.arn} does not exist.")
    return _policy(view, ref)


def _keep(transaction: RecordTransaction, ref: LayerVersionRef, statements: tuple[Statement, ...]) -> str:
    policy = Policy(statements, str(uuid.uuid4()))
    size = len(policy.text)
    if size > LARGEST_POLICY:
        raise PolicyLengthExceededException(
            f"The final policy size ({size}) is bigger than the limit ({LARGEST_POLICY})."
        )
    document = {"statements": statements, "revision": policy.revision}
    transaction.put(KIND, ref.layer.name, str(ref.version), document, of_function=False)
    return policy.revision or ""


def _principal_arn(principal: str) -> str:
    """An account id stands for the account itself."""
    return f"arn:aws:iam::{principal}:root" if principal.isdecimal() else principal


def _check_revision(wanted: str | None, policy: Policy) -> None:
    if wanted is not None and wanted != policy.revision:
        raise PreconditionFailedException(
            "The Revision Id provided does not match the latest Revision Id. "
            "Call the GetLayerPolicy API to retrieve the latest Revision Id"
        )
