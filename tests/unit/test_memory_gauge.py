"""What a sandbox has used at most: what is only kept of files on a disk is none of it."""

import tempfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lamplighter.sandbox.gauge import MemoryGauge, Pages

MB = 1 << 20
ONE = b"cache %d\nrss %d\nrss_huge 0\nshmem %d\nmapped_file 0\ntotal_cache 1\ntotal_rss 1\ntotal_shmem 1\n"
TWO = b"anon %d\nfile %d\nkernel 1\nshmem %d\nanon_thp 7\nfile_mapped 7\n"


@pytest.mark.parametrize("statistics", [ONE % (90, 20, 15), TWO % (20, 90, 15)])
def test_files_are_told_from_tmpfs_in_both_versions(statistics: bytes) -> None:
    assert Pages.of(statistics) == Pages(files=75, others=35)


def test_what_tells_nothing_has_no_files() -> None:
    assert Pages.of(b"") == Pages(0, 0)


def test_a_file_of_300_mb_is_no_memory_also_once_it_is_gone_and_what_is_allocated_then_is() -> None:
    gauge = MemoryGauge(-1)
    gauge.note(30 * MB, Pages(2 * MB, 27 * MB))
    gauge.note(128 * MB, Pages(98 * MB, 30 * MB))
    assert gauge.peak == 30 * MB
    gauge.note(128 * MB, Pages(0, 28 * MB))
    assert gauge.peak == 30 * MB
    gauge.note(128 * MB, Pages(0, 90 * MB))
    assert gauge.peak == 90 * MB
    gauge.note(128 * MB, Pages(0, 20 * MB))
    assert gauge.peak == 90 * MB


def test_what_was_allocated_and_freed_between_two_looks_counts() -> None:
    gauge = MemoryGauge(-1)
    gauge.note(100 * MB, Pages(MB, 20 * MB))
    assert gauge.peak == 100 * MB


@given(st.lists(st.tuples(st.integers(0, 1000), st.integers(0, 1000)), min_size=1))
def test_it_is_never_less_than_what_was_seen_nor_more_than_the_kernels_record(seen: list[tuple[int, int]]) -> None:
    gauge, record, others = MemoryGauge(-1), 0, 0
    for files, other in seen:
        record, others = max(record, files + other), max(others, other)
        gauge.note(record, Pages(files, other))
        assert gauge.peak is not None and others <= gauge.peak <= record


def test_without_a_disk_all_counts_and_after_the_end_the_last_look_stays() -> None:
    with tempfile.TemporaryFile() as record:
        record.write(b"4096\n")
        record.flush()
        gauge = MemoryGauge(record.fileno())
        gauge.look()
    with pytest.raises(OSError):
        gauge.look()
    assert gauge.peak == 4096
