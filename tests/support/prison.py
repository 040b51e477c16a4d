"""A bench and two guests of it, driven from synchronous tests of attacks; one event loop for a whole file of them."""

import asyncio
from collections.abc import Coroutine, Iterator
from contextlib import AsyncExitStack, contextmanager
from typing import Any

from lamplighter.sandbox.contract import Isolation
from support.sandbox_server import Bench, Guest, serving


class Prison:
    def __init__(self, runner: asyncio.Runner, bench: Bench, guest: Guest, sibling: Guest) -> None:
        self._runner = runner
        self.bench = bench
        self.guest = guest
        self.sibling = sibling

    def run(self, source: str) -> Any:
        return self._runner.run(self.guest.run(source))

    def wait(self, what: Coroutine[Any, Any, Any]) -> Any:
        return self._runner.run(what)

    def sibling_runs(self, source: str) -> Any:
        return self._runner.run(self.sibling.run(source))


@contextmanager
def imprison(mode: Isolation) -> Iterator[Prison]:
    with asyncio.Runner() as runner:
        stack = AsyncExitStack()
        bench = runner.run(stack.enter_async_context(serving(mode)))
        try:
            guest = runner.run(bench.guest({"mine.txt": "mine"}, variables={"SECRET": "of-the-guest"}, log_frames=True))
            sibling = runner.run(bench.guest({"theirs.txt": "theirs"}, variables={"SECRET": "of-the-sibling"}))
            yield Prison(runner, bench, guest, sibling)
        finally:
            runner.run(stack.aclose())
