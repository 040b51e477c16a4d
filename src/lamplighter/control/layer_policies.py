"""Who may use a layer version: its owner, and whom its policy names (AWS: spec 1.10).

A policy hangs on one version and goes with it; what a policy is, is for `policies`.
"""

from typing import Any, Final

from lamplighter.control import policies
from lamplighter.model import layers
from lamplighter.model.errors import AccessDeniedException, ResourceNotFoundException
from lamplighter.model.names import LayerId, LayerVersionRef
from lamplighter.store.contract import Document, Records, RecordTransaction, RecordView

KIND: Final = "layer_policy"  # owner is the layer's name, the key is the version

Statement = dict[str, Any]


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
            "Principal": policies.principal(principal),
            "Action": action,
            "Resource": ref.arn,
        }
        if organization is not None:
            statement["Condition"] = {"StringEquals": {"aws:PrincipalOrgID": organization}}

        def run(transaction: RecordTransaction) -> str:
            before = _find(transaction, ref)
            policies.check_revision(before, revision, "GetLayerPolicy")
            return _keep(transaction, ref, policies.with_statement(before, statement))

        return statement, await self._records.transact(ref.layer.account, ref.layer.region, run)

    async def get(self, caller: str, ref: LayerVersionRef) -> tuple[str, str]:
        """The policy as text, and its RevisionId."""
        check_owner(caller, ref.layer, "GetLayerVersionPolicy", ref.arn)
        document = _existing(self._records.view(ref.layer.account, ref.layer.region), ref)
        return policies.to_text(document["policy"]), document["revision"]

    async def remove(self, caller: str, ref: LayerVersionRef, sid: str, revision: str | None = None) -> None:
        check_owner(caller, ref.layer, "RemoveLayerVersionPermission", ref.arn)

        def run(transaction: RecordTransaction) -> None:
            before = _existing(transaction, ref)
            policies.check_revision(before, revision, "GetLayerPolicy")
            after = policies.without_statement(before, sid)
            if after is None:
                forget(transaction, ref)
            else:
                _keep(transaction, ref, after)

        await self._records.transact(ref.layer.account, ref.layer.region, run)


def allows(view: RecordView, ref: LayerVersionRef, caller: str) -> bool:
    """Whether an account may use a version. `view`: of the layer's account and region.

    What is granted to an organization is granted to nobody: there are none here to be a member of."""
    if caller == ref.layer.account:
        return True
    document = view.get(KIND, ref.layer.name, str(ref.version))
    statements: list[Statement] = document["policy"]["Statement"] if document else []
    return any("Condition" not in statement and _names(statement["Principal"], caller) for statement in statements)


def _names(principal: str | dict[str, str], account: str) -> bool:
    return principal == "*" if isinstance(principal, str) else principal["AWS"].split(":")[4] == account


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


def _find(view: RecordView, ref: LayerVersionRef) -> Document | None:
    """Raises ResourceNotFound when there is no such version."""
    if view.get(layers.KIND, ref.layer.name, str(ref.version)) is None:
        raise ResourceNotFoundException(f"Layer version {ref.arn} does not exist.")
    return view.get(KIND, ref.layer.name, str(ref.version))


def _existing(view: RecordView, ref: LayerVersionRef) -> Document:
    document = _find(view, ref)
    if document is None:
        raise ResourceNotFoundException("No policy is associated with the given resource.")
    return document


def _keep(transaction: RecordTransaction, ref: LayerVersionRef, document: Document) -> str:
    transaction.put(KIND, ref.layer.name, str(ref.version), document, of_function=False)
    return document["revision"]
