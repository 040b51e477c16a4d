"""Runtime management: when a version moves to a newer build of its runtime (AWS: spec 1.11).

A host has one build of each runtime, which its operator updates. So the modes differ in what they say and not in what
they do, and the only build that a version can be held at by Manual is the one that it runs on.
"""

from dataclasses import dataclass
from typing import Final, Literal

from lamplighter.model.errors import InvalidParameterValueException, ResourceNotFoundException
from lamplighter.model.functions import LATEST, FunctionVersion
from lamplighter.model.names import FunctionRef
from lamplighter.store.contract import Records, RecordTransaction, RecordView

KIND: Final = "runtime_management"  # of the record; the key is the version

Mode = Literal["Auto", "FunctionUpdate", "Manual"]


@dataclass(frozen=True, slots=True)
class RuntimeManagementConfig:
    """`runtime_version`: an ARN, with Manual and only then."""

    mode: Mode = "Auto"
    runtime_version: str | None = None


class RuntimeManagement:
    def __init__(self, records: Records) -> None:
        self._records = records

    async def put(self, reference: FunctionRef, config: RuntimeManagementConfig) -> None:
        def run(transaction: RecordTransaction) -> None:
            _check(config, _version(transaction, reference))
            document = {"mode": config.mode, "runtime_version": config.runtime_version}
            transaction.put(KIND, reference.id.name, reference.qualifier or LATEST, document)
            transaction.changed(reference.id.name)

        await self._records.transact(reference.id.account, reference.id.region, run)

    def get(self, reference: FunctionRef) -> RuntimeManagementConfig:
        view = self._records.view(reference.id.account, reference.id.region)
        _version(view, reference)
        document = view.get(KIND, reference.id.name, reference.qualifier or LATEST)
        return RuntimeManagementConfig() if document is None else RuntimeManagementConfig(**document)


def _version(view: RecordView, reference: FunctionRef) -> FunctionVersion:
    """Aliases have no config of their own, and lead to no version's."""
    function = view.version(reference.id.name, reference.qualifier or LATEST)
    if function is None:
        raise ResourceNotFoundException(f"Function not found: {reference.arn}")
    return function


def _check(config: RuntimeManagementConfig, function: FunctionVersion) -> None:
    """The texts are ours: AWS's are not known."""
    if config.mode != "Manual":
        if config.runtime_version is not None:
            raise InvalidParameterValueException(
                "RuntimeVersionArn can only be specified when UpdateRuntimeOn is Manual."
            )
    elif config.runtime_version is None:
        raise InvalidParameterValueException("RuntimeVersionArn is required when UpdateRuntimeOn is Manual.")
    elif config.runtime_version != function.runtime_version_arn:
        has = "this function has none" if function.runtime is None else f"{function.runtime} is there as "
        raise InvalidParameterValueException(
            f"Runtime version {config.runtime_version} is not available: {has}{function.runtime_version_arn or ''}."
        )
