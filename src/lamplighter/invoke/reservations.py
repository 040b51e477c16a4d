"""Reserved concurrency as it is stored, made true: what the store says is what the limits hold (AWS: spec 4.2).

Read once at the start, then followed change by change, so that whoever was told that a reservation is made, changed or
gone meets it with the next invocation.
"""

from lamplighter.invoke.limits import Limits
from lamplighter.model.concurrency import KEY, KIND, from_document
from lamplighter.model.functions import FunctionId
from lamplighter.store.contract import Changes, Records


def follow_reservations(limits: Limits, records: Records, changes: Changes, account: str, region: str) -> None:
    """`account`, `region`: of the functions that can be invoked before anything about them changes."""
    reserving: set[FunctionId] = set()  # all others share the rest, and need no word about it

    def tell(id: FunctionId) -> None:
        document = records.view(id.account, id.region).get(KIND, id.name, KEY)
        if document is not None:
            reserving.add(id)
            limits.share(id).reserve(from_document(document))
        elif id in reserving:
            reserving.remove(id)
            limits.share(id).reserve(None)

    changes.listen(tell)
    for record in records.view(account, region).page(KIND):
        tell(FunctionId(account, region, record.owner))
