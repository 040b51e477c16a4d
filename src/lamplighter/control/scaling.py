"""Function scaling configs: between how many environments a version on a capacity provider has (AWS: spec 4.6).

Kept, shown and checked here. Whoever runs capacity providers acts on them, and on 0 to 0, which switches a version off.
"""

from dataclasses import dataclass
from typing import Final

from lamplighter.model.errors import (
    AccessDeniedException,
    InvalidParameterValueException,
    ResourceNotFoundException,
)
from lamplighter.model.functions import LATEST, FunctionVersion, State
from lamplighter.model.names import LATEST_PUBLISHED, FunctionRef
from lamplighter.store.contract import Records, RecordTransaction, RecordView

KIND: Final = "scaling"  # of the record; the key is the version
LEAST: Final = 3  # environments, unless configured


@dataclass(frozen=True, slots=True)
class ScalingConfig:
    """Environments of one version. None: not said."""

    least: int | None = LEAST
    most: int | None = None


class Scaling:
    def __init__(self, records: Records) -> None:
        self._records = records

    async def put(self, reference: FunctionRef, config: ScalingConfig | None) -> State:
        """The state of the version. None: back to the default."""
        name, version = reference.id.name, reference.qualifier or LATEST

        def run(transaction: RecordTransaction) -> State:
            function = _on_capacity_provider(transaction, reference)
            if config is None:
                transaction.delete(KIND, name, version)
            else:
                _check(config)
                transaction.put(KIND, name, version, {"least": config.least, "most": config.most})
            transaction.changed(name)
            return function.state

        return await self._records.transact(reference.id.account, reference.id.region, run)

    def get(self, reference: FunctionRef) -> ScalingConfig:
        view = self._records.view(reference.id.account, reference.id.region)
        _on_capacity_provider(view, reference)
        document = view.get(KIND, reference.id.name, reference.qualifier or LATEST)
        return ScalingConfig() if document is None else ScalingConfig(**document)


def _on_capacity_provider(view: RecordView, reference: FunctionRef) -> FunctionVersion:
    """The version. Raises AccessDenied, as was seen of AWS (2026-08), for one that runs on demand."""
    version = LATEST if reference.qualifier == LATEST_PUBLISHED else reference.qualifier or LATEST
    function = view.version(reference.id.name, version)
    if function is None:
        raise ResourceNotFoundException(f"Function not found: {reference.arn}")
    if not function.other.get("CapacityProviderConfig"):
        raise AccessDeniedException(
            "The function provided by the arn does not contain a capacity provider configuration"
        )
    return function


def _check(config: ScalingConfig) -> None:
    """The texts are ours: AWS's are not known."""
    if config.least is None or config.most is None:
        raise InvalidParameterValueException(
            "MinExecutionEnvironments and MaxExecutionEnvironments must be specified together."
        )
    if config.least > config.most:
        raise InvalidParameterValueException(
            "MinExecutionEnvironments must be less than or equal to MaxExecutionEnvironments."
        )
    if config.least == 0 and config.most > 0:
        raise InvalidParameterValueException(
            "MinExecutionEnvironments can only be 0 when MaxExecutionEnvironments is 0, which deactivates the version."
        )
