"""After a start of the service, versions with SnapStart are initialised again in the background."""

import asyncio
from collections.abc import Sequence
from typing import Any

from lamplighter.control.rebuilding import MOST, Rebuilding
from lamplighter.model.functions import FunctionVersion
from lamplighter.sandbox.contract import SandboxError
from lamplighter.worker.initializing import InitFailed
from support.environments import version


class Stored:
    """As many of the store's functions as this needs, in pages."""

    def __init__(self, versions: Sequence[FunctionVersion]) -> None:
        self._versions = list(versions)

    async def page_of_versions(self, account: str, region: str, after: Any, limit: int) -> Sequence[FunctionVersion]:
        keys = [(one.id.name, one.version) for one in self._versions]
        first = 0 if after is None else keys.index(after) + 1
        return self._versions[first : first + limit]


class Unpacked:
    def __init__(self) -> None:
        self.asked: set[str] = set()

    async def ensure(self, digest: str) -> None:
        self.asked.add(digest)


class Worker:
    """Notes what was initialised, and how much of it at once."""

    def __init__(self, failing: Sequence[str] = ()) -> None:
        self.made: list[str] = []
        self.failing = failing
        self.running = self.most = 0

    async def initialize(self, function: FunctionVersion) -> None:
        self.running += 1
        self.most = max(self.most, self.running)
        await asyncio.sleep(0)
        self.running -= 1
        self.made.append(function.id.name)
        if function.id.name in self.failing:
            raise InitFailed("FunctionError.RuntimeInitError", "x", "x") if len(self.made) % 2 else SandboxError("x")


def snapped(number: int, **members: Any) -> FunctionVersion:
    """Of a function with this number, published in the order of the numbers."""
    stamp = f"2026-01-02T03:{number // 60:02}:{number % 60:02}.000+0000"
    return version(f"f{number:03}", "1", snap_start_on=True, last_modified=stamp, **members)


def run(stored: Sequence[FunctionVersion], worker: Worker, short: Any = lambda: False) -> Unpacked:
    code: Any = Unpacked()
    functions: Any = Stored(stored)
    asyncio.run(Rebuilding(functions, code, "000000000000", "us-east-1", worker.initialize, short).run())
    return code


def test_the_newest_are_initialised_again_one_at_a_time_and_not_all_of_many() -> None:
    worker = Worker()
    run([snapped(number) for number in range(120)], worker)
    assert worker.made == [f"f{number:03}" for number in range(119, 119 - MOST, -1)]
    assert worker.most == 1


def test_only_versions_that_start_as_copies_are() -> None:
    worker = Worker()
    run([version("plain"), version("off", "1"), snapped(3), snapped(4, state="Failed")], worker)
    assert worker.made == ["f003"]


def test_what_fails_keeps_no_other_from_it_and_memory_does() -> None:
    worker = Worker(failing=("f002", "f001"))
    assert run([snapped(number) for number in range(3)], worker).asked
    assert worker.made == ["f002", "f001", "f000"]
    worker = Worker()
    run([snapped(number) for number in range(3)], worker, lambda: len(worker.made) == 2)
    assert worker.made == ["f002", "f001"]
