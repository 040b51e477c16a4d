"""Provisioned concurrency as it is stored, made true: the limits keep room for it, and the assignment has environments
ready (AWS: spec 4.3). Followed change by change, as reservations are, and begun anew at every start.

What is provisioned for an alias is for the versions it points to, and moves with it.
"""

from collections import Counter
from collections.abc import Mapping
from typing import Protocol

from lamplighter.invoke.ahead import Standing
from lamplighter.invoke.limits import Limits
from lamplighter.invoke.provisioned_time import ProvisionedTime
from lamplighter.model.aliases import KIND as ALIAS
from lamplighter.model.aliases import from_document
from lamplighter.model.concurrency import PROVISIONED, split
from lamplighter.model.functions import FunctionId, FunctionVersion
from lamplighter.model.names import is_alias
from lamplighter.store.contract import Changes, Records, RecordView


class Provisions(Protocol):
    """What of the assignment matters here."""

    def provision(self, function: FunctionVersion, count: int, qualifier: str = "") -> None: ...

    def standing(self, function: FunctionVersion) -> Standing: ...


class Provisioning:
    """`account`, `region`: of the functions that can be invoked before anything about them changes."""

    def __init__(
        self,
        assignment: Provisions,
        limits: Limits,
        records: Records,
        changes: Changes,
        time: ProvisionedTime,
        account: str,
        region: str,
    ) -> None:
        self._assignment = assignment
        self._limits = limits
        self._records = records
        self._time = time
        self._told: dict[FunctionId, dict[str, FunctionVersion]] = {}  # what there are environments for
        changes.listen(self._follow)
        view = records.view(account, region)
        for name in {record.owner for record in view.page(PROVISIONED)}:
            self._follow(FunctionId(account, region, name))

    def _follow(self, id: FunctionId) -> None:
        view = self._records.view(id.account, id.region)
        records = view.page(PROVISIONED, id.name)
        before = self._told.pop(id, None)
        if not records and before is None:
            return
        wanted, qualifiers = Counter[str](), dict[str, str]()
        for record in records:
            found = parts(view, id, record.key, record.document["requested"])
            wanted.update(found)
            qualifiers.update(dict.fromkeys(found, record.key))
        self._limits.share(id).provision(sum(record.document["requested"] for record in records))
        now: dict[str, FunctionVersion] = {}
        for version, count in wanted.items():
            function = view.version(id.name, version)
            if function is not None and function.state == "Active":
                now[version] = function
                self._tell(function, count, qualifiers[version])
        for version, function in (before or {}).items():
            if version not in now or now[version].generation != function.generation:
                self._tell(function, 0)
        if records:
            self._told[id] = now

    def _tell(self, function: FunctionVersion, count: int, qualifier: str = "") -> None:
        self._assignment.provision(function, count, qualifier)
        self._time.keep(function, count)


def parts(view: RecordView, id: FunctionId, qualifier: str, requested: int) -> Mapping[str, int]:
    """How many of what was requested for a version or alias are for which version."""
    if not is_alias(qualifier):
        return {qualifier: requested}
    document = view.get(ALIAS, id.name, qualifier)
    return {} if document is None else split(from_document(id, qualifier, document), requested)
