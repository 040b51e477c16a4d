"""Assignment counts concurrency and hands out environments. A Protocol, because in a cluster the account shard's leader
does it on another node (design, decision 7)."""

from contextlib import AbstractAsyncContextManager
from typing import Protocol

from lamplighter.model.functions import FunctionVersion
from lamplighter.worker.contract import Environment


class Assignment(Protocol):
    def environment(self, function: FunctionVersion, paced: bool = False) -> AbstractAsyncContextManager[Environment]:
        """Hold one environment of this very version and generation for one invocation.

        Raises TooManyRequestsException when a limit says no; `paced`: the rate of requests is one (AWS: spec 4.1, of
        calls whose caller waits). A provisioned environment comes first, then the most recently used one; on the way
        out the environment is kept warm, or ended if it died or its generation is no longer current."""
        ...

    def retire(self, arn: str, keep_generation: int | None) -> None:
        """Environments of the version with this qualified ARN and of another generation take no new invocation and end
        after the one in flight; `None`: all of them (the version is gone)."""
        ...

    async def close(self) -> None: ...
