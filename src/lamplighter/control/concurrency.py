"""Reserved concurrency, and who keeps how much of the account's (AWS: spec 4.1, 4.2).

The account's limit is one pool per region. A function keeps what it reserved, or else what is provisioned for it; the
rest is unreserved, and of that a least part must stay for all others. Every claim is checked and written in one
transaction, so two that would only just fit never both do. `invoke/reservations.py` makes it true for invocations.
"""

from typing import Final

from lamplighter.model.concurrency import KEY, KIND, PROVISIONED, from_document, to_document
from lamplighter.model.errors import InvalidParameterValueException, ResourceNotFoundException
from lamplighter.model.functions import FunctionId
from lamplighter.store.contract import Records, RecordTransaction, RecordView

LEAST_UNRESERVED: Final = 100


class LimitRefused(InvalidParameterValueException):
    """The account's concurrency does not allow it. Its body has no Type, as recorded."""

    code = "InvalidParameterValueException"
    typed = False


class Pool:
    """The concurrency of one account in one region, as it is shared out. `limit`: the account's."""

    def __init__(self, view: RecordView, limit: int) -> None:
        self.limit = limit
        # AWS gives new accounts less than 100, and says then that none of it can be kept from the others.
        self.least = min(LEAST_UNRESERVED, limit)
        self.kept: dict[str, int] = {}
        """By function; those that keep nothing are not in it."""
        for record in view.page(PROVISIONED):
            self.kept[record.owner] = self.kept.get(record.owner, 0) + record.document["requested"]
        for record in view.page(KIND):
            self.kept[record.owner] = from_document(record.document)

    @property
    def unreserved(self) -> int:
        return max(0, self.limit - sum(self.kept.values()))


class Concurrency:
    """`limit`: the account's, per region."""

    def __init__(self, records: Records, limit: int) -> None:
        self._records = records
        self._limit = limit

    async def reserve(self, id: FunctionId, wanted: int) -> None:
        """Raises LimitRefused."""

        def run(transaction: RecordTransaction) -> None:
            _check_exists(transaction, id)
            pool = Pool(transaction, self._limit)
            more = wanted - pool.kept.get(id.name, 0)
            if more > 0 and pool.unreserved - more < pool.least:
                raise LimitRefused(
                    "Specified ReservedConcurrentExecutions for function decreases account's "
                    f"UnreservedConcurrentExecution below its minimum value of [{pool.least}]."
                )
            least = provisioned(transaction, id.name)
            if wanted < least:
                raise LimitRefused(  # the odd spaces are AWS's
                    f" ReservedConcurrentExecutions  {wanted} should not be lower than function's total "
                    f"provisioned concurrency [{least}]."
                )
            transaction.put(KIND, id.name, KEY, to_document(wanted))
            transaction.changed(id.name)

        await self._records.transact(id.account, id.region, run)

    def reserved(self, id: FunctionId) -> int | None:
        view = self._records.view(id.account, id.region)
        _check_exists(view, id)
        return reserved(view, id.name)

    async def release(self, id: FunctionId) -> None:
        """The function shares the rest again; what is provisioned for it stays its own."""

        def run(transaction: RecordTransaction) -> None:
            _check_exists(transaction, id)
            if transaction.delete(KIND, id.name, KEY) is not None:
                transaction.changed(id.name)

        await self._records.transact(id.account, id.region, run)


def reserved(view: RecordView, function: str) -> int | None:
    """None: it shares what is not reserved."""
    document = view.get(KIND, function, KEY)
    return None if document is None else from_document(document)


def provisioned(view: RecordView, function: str, beside: str | None = None) -> int:
    """For all versions and aliases of a function together, or for those other than `beside`."""
    records = view.page(PROVISIONED, function)
    return sum(record.document["requested"] for record in records if record.key != beside)


def _check_exists(view: RecordView, id: FunctionId) -> None:
    if view.version(id.name) is None:
        raise ResourceNotFoundException(f"Function not found: {id.arn}")
