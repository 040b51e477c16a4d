"""Recursive loops: whether a function that calls itself through other services is stopped (AWS: spec 1.11, 5)."""

from typing import Final

from lamplighter.model.errors import ResourceNotFoundException
from lamplighter.model.functions import FunctionId
from lamplighter.model.recursion import KEY, KIND
from lamplighter.store.contract import Records, RecordTransaction, RecordView

DEFAULT: Final = "Terminate"


class Recursion:
    def __init__(self, records: Records) -> None:
        self._records = records

    async def put(self, id: FunctionId, loop: str) -> None:
        """`loop`: Allow or Terminate."""

        def run(transaction: RecordTransaction) -> None:
            _check_exists(transaction, id)
            transaction.put(KIND, id.name, KEY, {"loop": loop})
            transaction.changed(id.name)

        await self._records.transact(id.account, id.region, run)

    def get(self, id: FunctionId) -> str:
        view = self._records.view(id.account, id.region)
        _check_exists(view, id)
        document = view.get(KIND, id.name, KEY)
        return DEFAULT if document is None else document["loop"]


def _check_exists(view: RecordView, id: FunctionId) -> None:
    if view.version(id.name) is None:
        raise ResourceNotFoundException(f"Function not found: {id.arn}")
