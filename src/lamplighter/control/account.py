"""Account settings: what an account may use in a region, and what it does use (AWS: spec 1.9)."""

from dataclasses import dataclass

from lamplighter.control.concurrency import Pool
from lamplighter.control.packages import LARGEST_UNZIPPED, LARGEST_ZIP
from lamplighter.store.contract import Functions, PackageReferences, Records


@dataclass(frozen=True, slots=True)
class AccountSettings:
    """Sizes in bytes. The code that is used is that of all versions of functions and layers."""

    largest_code: int
    largest_unzipped: int
    largest_zip: int
    concurrency: int
    unreserved_concurrency: int
    code: int
    functions: int


class Account:
    """`concurrency`, `code_storage`: the limits, per region."""

    def __init__(
        self,
        functions: Functions,
        references: PackageReferences,
        records: Records,
        concurrency: int,
        code_storage: int,
    ) -> None:
        self._functions = functions
        self._references = references
        self._records = records
        self._concurrency = concurrency
        self._code_storage = code_storage

    async def settings(self, account: str, region: str) -> AccountSettings:
        pool = Pool(self._records.view(account, region), self._concurrency)
        return AccountSettings(
            largest_code=self._code_storage,
            largest_unzipped=LARGEST_UNZIPPED,
            largest_zip=LARGEST_ZIP,
            concurrency=pool.limit,
            unreserved_concurrency=pool.unreserved,
            code=await self._references.total_size(account, region),
            functions=await self._functions.count(account, region),
        )
