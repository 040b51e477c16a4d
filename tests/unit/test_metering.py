"""Metering: what ran is counted exactly, and on disk exactly once, whatever happens in between."""

import asyncio
import sqlite3
import sys
import threading
from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lamplighter.model.metering import HOUR, Key, Totals
from lamplighter.model.usage import (
    Cached,
    Initialized,
    Provisioned,
    Ran,
    Refused,
    Restore,
    Restored,
    Usage,
)
from lamplighter.store.contract import DataDirectoryUnusable
from lamplighter.store.looking import CannotLook
from lamplighter.store.usage import Owner, Row, Tags, UsageLedger, kept_tags, usage_between
from lamplighter.telemetry.metering.meter import Meter
from support.usage import NOON, ran, version

FUNCTIONS = (
    version("a", memory_size=1024),
    version("a", memory_size=512),  # the same version, changed meanwhile
    version("b", version="$LATEST", ephemeral_storage=1536, architectures=("arm64",)),
)
EVER = (0, 1 << 40)


def counted(path: Path) -> dict[Key, Totals]:
    return dict(usage_between(path, *EVER))


def metered(path: Path, *usages: Usage) -> dict[Key, Totals]:
    async def main() -> None:
        async with Meter(UsageLedger(path)) as meter:
            for usage in usages:
                meter.observe(usage)

    asyncio.run(main())
    return counted(path)


def test_each_figure_is_exact(tmp_path: Path) -> None:
    function, small = FUNCTIONS[2], version("small", memory_size=128)
    snapped = version("snapped", memory_size=2048)
    found = metered(
        tmp_path / "usage.db",
        ran(function, duration=1000.01, init=500.5),
        ran(function, duration=0.2, status="error", streamed=(6 << 20) + 7),
        ran(small, source="async", payload=(256 << 10) + 1),
        ran(small, source="async", payload=1 << 20, initialization="snap-start"),
        ran(small, source="sync", payload=1 << 20),
        ran(small, duration=3600_000.0),  # it ends in the next hour
        ran(small, initialization="provisioned-concurrency"),
        Initialized(small, "on-demand", NOON, 99.1, "unused", None),
        Provisioned(small, 3, NOON, 300.0),
        Refused(small.id, "1", small.arn, NOON, "throttled"),
        Restored(snapped, NOON),
        ran(snapped, duration=306.34, initialization="snap-start", restore=Restore(511.25, 302.1)),
        Restored(snapped, NOON),
        Initialized(snapped, "snap-start", NOON, 0.2, "unused", None),
        Cached(snapped, NOON, 10_800.0),
    )
    hour = int(NOON) // HOUR
    account, region = "000000000000", "us-east-1"
    b = Key(account, region, "b", "$LATEST", hour, "arm64", "on-demand")
    billed = 1501 + 1
    assert found.pop(b) == Totals(2, 0, billed, init=500, memory=billed * 128, storage=billed * 1024, streamed=7)
    key = Key(account, region, "small", "1", hour, "x86_64", "on-demand")
    assert found.pop(key) == Totals(3 + 1 + 12, 1 + 12, 3 * 2, unnamed=100, memory=(3 * 2 + 100) * 128)
    assert found.pop(key._replace(hour=hour + 1)) == Totals(1, 0, 3_600_000, memory=3_600_000 * 128)
    assert found.pop(key._replace(kind="provisioned")) == Totals(
        1, 0, 2, memory=256, provisioned=900_000, provisioned_memory=900_000 * 128
    )
    assert found.pop(key._replace(function="snapped")) == Totals(
        1,
        0,
        610,
        unnamed=1,
        memory=611 * 2048,
        restores=2,
        restored_memory=2 * 2048,
        cached=10_800_000,
        cached_memory=10_800_000 * 2048,
    )
    assert found == {}


def weight(step: Ran | Restored | Cached) -> int:
    """A number for what it adds, in which figures that are mixed up or lost would show."""
    size = step.function.memory_size
    if isinstance(step, Ran):
        return step.billed * size
    if isinstance(step, Restored):
        return (1 + size) << 50
    return round(step.seconds * 1000) * (1 + size) << 80


def weighed(totals: Totals) -> int:
    snapshots = (totals.restores + totals.restored_memory << 50) + (totals.cached + totals.cached_memory << 80)
    return totals.memory + snapshots


class Restless(UsageLedger):
    """Refuses when it is told to, as a full disk does."""

    refusing = False

    def write(self, rows: Iterable[Row], tags: Mapping[Owner, Tags] | None = None) -> None:
        taken = list(rows)
        if self.refusing:
            self._connection.execute("PRAGMA query_only = ON")
        try:
            super().write(taken, tags)
        finally:
            self._connection.execute("PRAGMA query_only = OFF")


HOURS = st.integers(-1, 2)
STEPS = st.one_of(
    st.builds(
        lambda function, duration, hours: ran(FUNCTIONS[function], duration=duration, began=NOON + hours * HOUR),
        st.integers(0, 2),
        st.floats(0.001, 900_000.0),
        HOURS,
    ),
    st.builds(lambda function, hours: Restored(FUNCTIONS[function], NOON + hours * HOUR), st.integers(0, 2), HOURS),
    st.builds(
        lambda function, hours, seconds: Cached(FUNCTIONS[function], NOON + hours * HOUR, seconds),
        st.integers(0, 2),
        HOURS,
        st.floats(0.0, 100_000.0),
    ),
    st.sampled_from(["flush", "fail", "kill"]),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(STEPS, max_size=25), st.integers(0, 3))
def test_what_was_flushed_is_in_the_bill_exactly_once_whatever_happens(steps: list[Usage | str], kept: int) -> None:
    with TemporaryDirectory() as directory:
        path = Path(directory) / "usage.db"

        async def main() -> None:
            ledger = Restless(path)
            meter = Meter(ledger, kept=kept)
            safe, waiting = Counter[tuple[str, int]](), Counter[tuple[str, int]]()
            for step in steps:
                if isinstance(step, Ran | Restored | Cached):
                    meter.observe(step)
                    took = step.duration / 1000 if isinstance(step, Ran) else 0.0
                    waiting[step.function.id.name, int(step.began + took) // HOUR] += weight(step)
                elif step == "kill":  # what has not been written is gone
                    ledger.close()
                    ledger, waiting = Restless(path), Counter[tuple[str, int]]()
                    meter = Meter(ledger, kept=kept)
                else:
                    ledger.refusing = step == "fail"
                    if await meter.flush():
                        safe += waiting
                        waiting.clear()
                found = Counter[tuple[str, int]]()
                for key, totals in counted(path).items():
                    found[key.function, key.hour] += weighed(totals)
                assert found == safe
            ledger.refusing = False
            assert await meter.flush()
            found = sum(weighed(totals) for totals in counted(path).values())
            assert found == (safe + waiting).total()
            ledger.close()

        asyncio.run(main())


def test_what_runs_while_it_is_written_is_written_next(tmp_path: Path) -> None:
    path = tmp_path / "usage.db"

    async def main() -> None:
        meter = Meter(UsageLedger(path), kept=0)
        meter.observe(ran(FUNCTIONS[0]))
        flushing = asyncio.create_task(meter.flush())
        await asyncio.sleep(0)
        meter.observe(ran(FUNCTIONS[0]))
        assert await flushing
        meter.observe(ran(FUNCTIONS[0]))
        await meter.__aexit__(None, None, None)

    asyncio.run(main())
    assert [totals.requests for totals in counted(path).values()] == [3]


def test_memory_is_bounded_while_the_disk_takes_nothing_and_nothing_is_lost(tmp_path: Path) -> None:
    path = tmp_path / "usage.db"

    async def main() -> None:
        ledger = Restless(path)
        meter = Meter(ledger, bound=10)
        ledger.refusing = True
        for number in range(1000):
            meter.observe(ran(version(f"f{number}")))
            if number % 100 == 0:
                assert not await meter.flush()
        ledger.refusing = False
        assert await meter.flush()
        ledger.close()

    asyncio.run(main())
    found = counted(path)
    assert len(found) == 11
    assert sum(totals.requests for totals in found.values()) == 1000
    assert max(found.items(), key=lambda row: row[1].requests)[0].function == ""


def test_a_ledger_of_a_newer_release_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "usage.db"
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(DataDirectoryUnusable, match="newer release"):
        UsageLedger(path)
    with pytest.raises(CannotLook, match="newer release"):
        usage_between(path, *EVER)


@settings(max_examples=15, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from("xyz"), st.sampled_from("ab"), st.integers(0, 1000 * 24)), max_size=30),
    st.lists(st.integers(0, 30), max_size=3),
)
def test_what_is_old_is_gathered_by_days_and_months_and_adds_up_to_the_same(
    rows: list[tuple[str, str, int]], turns: list[int]
) -> None:
    """Whenever it is done, and with a run, x, that still replaces its rows."""
    with TemporaryDirectory() as directory:
        path = Path(directory) / "usage.db"
        ledger = UsageLedger(path)
        ledger.write([])
        written: dict[tuple[str, Key], Totals] = {}
        for number, (run, function, hour) in enumerate(rows):
            if number in turns:
                ledger.gather({"x"})
            run = run if run == "x" else f"{run}{number}"  # others never come back to a row
            key = Key("1", "r", function, "1", 450_000 + hour, "x86_64", "on-demand")
            written[run, key] = Totals(requests=number + 1, memory=7)
            ledger.write([(run, key, written[run, key])])
        before = Counter[str]()
        for (_, key), totals in written.items():
            before[key.function] += totals.requests
        for live in ({"x"}, {"x"}, set[str]()):
            ledger.gather(live)
            after = Counter[str]()
            for key, totals in usage_between(path, *EVER):
                after[key.function] += totals.requests
            assert after == before
        newest = max((hour for _, _, hour in rows), default=0) + 450_000
        assert all(key.hour % 24 == 0 for key, _ in usage_between(path, 0, newest - 96))
        old = [key for key, _ in usage_between(path, 0, newest - 432 * 24)]
        assert all(not key.version for key in old) and len(old) <= 2 * 21
        ledger.close()


def test_tags_of_deleted_functions_are_kept_for_as_long_as_their_usage(tmp_path: Path) -> None:
    path = tmp_path / "usage.db"

    async def main() -> None:
        async with Meter(UsageLedger(path)) as meter:
            meter.observe(ran(version("a")))
            meter.tagged(version("a").id, {"team": "one"})
            meter.tagged(version("b").id, {"team": "two"})

    asyncio.run(main())
    assert list(kept_tags(path).values()) == [{"team": "one"}, {"team": "two"}]
    ledger = UsageLedger(path)
    ledger.gather(())
    ledger.close()
    assert kept_tags(path) == {("000000000000", "us-east-1", "a"): {"team": "one"}}


def test_a_file_of_the_version_before_is_read_and_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "usage.db"
    metered(path, ran(version("a")))
    with closing(sqlite3.connect(path)) as connection:
        for name in ("restores", "restored_memory", "cached", "cached_memory"):
            connection.execute(f"ALTER TABLE usage DROP COLUMN {name}")
        connection.executescript("DROP TABLE tags; PRAGMA user_version = 1")
    assert kept_tags(path) == {}
    assert sum(totals.requests for totals in counted(path).values()) == 1
    assert sum(totals.requests for totals in metered(path, ran(version("a"))).values()) == 2


class Exclusive(UsageLedger):
    """Notices two writers at a time."""

    inside = threading.Lock()

    def write(self, rows: Iterable[Row], tags: Mapping[Owner, Tags] | None = None) -> None:
        assert self.inside.acquire(blocking=False)
        super().write(rows, tags)
        self.inside.release()


def test_whoever_asks_meanwhile_waits_until_what_was_counted_before_is_on_disk(tmp_path: Path) -> None:
    path = tmp_path / "usage.db"

    async def ask(meter: Meter, number: int) -> int:
        meter.observe(ran(version(f"f{number}")))
        assert await meter.flush()
        return len(counted(path))

    async def main() -> None:
        async with Meter(Exclusive(path)) as meter:
            seen = await asyncio.gather(*(ask(meter, number) for number in range(10)))
            assert set(seen[1:]) == {10}  # counted while the first was written, and on disk with the next

    asyncio.run(main())


def test_versions_are_not_kept_beyond_the_next_write(tmp_path: Path) -> None:
    async def main() -> None:
        async with Meter(UsageLedger(tmp_path / "usage.db")) as meter:
            function = version("a")
            before = sys.getrefcount(function)
            meter.observe(ran(function))
            assert sys.getrefcount(function) > before
            assert await meter.flush()
            assert sys.getrefcount(function) == before

    asyncio.run(main())
