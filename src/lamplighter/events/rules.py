"""The rules that hold for an event now: read at every decision, so that a change applies to what waits already."""

from lamplighter.model.event_invoke import KIND, EventRules, from_document
from lamplighter.model.functions import LATEST, FunctionId
from lamplighter.store.contract import Changes, Records


class Rules:
    """Remembered until something about the function changes."""

    def __init__(self, records: Records, changes: Changes) -> None:
        self._records = records
        self._known: dict[FunctionId, dict[str | None, EventRules]] = {}
        changes.listen(self._changed)

    def of(self, id: FunctionId, qualifier: str | None) -> EventRules:
        """`qualifier`: as invoked. Each has rules of its own; an alias does not take those of its versions."""
        known = self._known.get(id)
        if known is not None and (found := known.get(qualifier)) is not None:
            return found
        document = self._records.view(id.account, id.region).get(KIND, id.name, qualifier or LATEST)
        rules = from_document(document)
        self._known.setdefault(id, {})[qualifier] = rules
        return rules

    def _changed(self, id: FunctionId) -> None:
        self._known.pop(id, None)
