"""/tmp of functions as their owner meets it: no part of the memory, as large as asked for, and gone when they are."""

import base64
import json
import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from lamplighter.sandbox.probe import disk_for_tmp
from support.functions import deploy_with
from support.sandbox_server import needs
from support.service import Service, run
from support.tmps import started

SOURCE = """
import os
def handler(event, context):
    written = 0
    try:
        with open("/tmp/file", "ab", 0) as file:
            while written < event["mb"]: written += file.write(bytes(1 << 20)) >> 20
    except OSError as error:
        return [written, error.errno]
    return [written, os.path.getsize("/tmp/file") >> 20]
"""
pytestmark = pytest.mark.root


@pytest.fixture(scope="module")
def on_disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A client of a service that has it there where that can be had."""
    if os.geteuid() != 0:
        pytest.skip("file systems of our own need root")
    if reason := disk_for_tmp(Path(tempfile.gettempdir())):
        pytest.skip(f"no /tmp on the disk here: {reason}")
    with Service(tmp_path_factory.mktemp("disk") / "data", "--prometheus", "0") as service:
        client = service.client()
        yield client
        client.close()
        assert "/tmp is in memory" not in service.last_words()
        disk, memory = started(service)
        assert disk > 0 and not memory


def _write(client: Any, name: str, mb: int) -> tuple[list[int], int | None]:
    """What the function answers, and its Max Memory Used in MB."""
    response = client.invoke(FunctionName=name, Payload=json.dumps({"mb": mb}), LogType="Tail")
    told = re.search(r"Max Memory Used: (\d+) MB", base64.b64decode(response["LogResult"]).decode())
    return json.loads(response["Payload"].read()), int(told[1]) if told else None


def test_a_file_of_300_mb_is_none_of_the_memory_of_a_function_of_128(on_disk: Any) -> None:
    name = deploy_with(on_disk, SOURCE, MemorySize=128, Timeout=60)
    before = _write(on_disk, name, 0)
    assert before[0] == [0, 0]
    answer, used = _write(on_disk, name, 300)
    assert answer == [300, 300]
    assert _write(on_disk, name, 0)[0] == [0, 300], "it lives, and the next call finds what it left"
    if before[1] is not None and used is not None:
        assert used <= before[1] + 30
    on_disk.delete_function(FunctionName=name)


def test_beyond_its_size_there_is_no_space_and_another_function_has_its_own(on_disk: Any) -> None:
    one, other = (deploy_with(on_disk, SOURCE, MemorySize=128, Timeout=60) for _ in range(2))
    (written, number), _ = _write(on_disk, one, 600)
    assert [500 < written <= 512, number] == [True, 28]
    assert _write(on_disk, other, 1)[0] == [1, 1]
    for name in (one, other):
        on_disk.delete_function(FunctionName=name)


def test_without_root_a_file_in_tmp_counts_as_memory_and_ends_who_writes_more_than_that(data_dir: Path) -> None:
    needs("user")
    with Service(data_dir, "--isolation", "user", "--prometheus", "0") as service, closing(service.client()) as client:
        name = deploy_with(client, SOURCE, MemorySize=128, Timeout=60)
        (answer, before), (written, used) = _write(client, name, 0), _write(client, name, 60)
        assert (answer, written) == ([0, 0], [60, 60])
        assert started(service) == (0, 1)
        if before is None or used is None:
            pytest.skip("nothing limits memory here")
        assert 60 <= used - before <= 65
        assert isinstance(_write(client, name, 100)[0], dict), "it was killed"
        assert _write(client, name, 1)[0] == [1, 1], "it begins empty"


def test_who_asks_for_the_disk_by_name_starts_with_nothing_less(data_dir: Path) -> None:
    done = run("serve", "--port", "0", "--data-dir", str(data_dir), "--isolation", "none", "--tmp", "disk")
    assert done.returncode == 1
    assert "it takes isolation full, not none; or choose --tmp auto." in done.stderr


def test_where_no_disk_can_be_had_functions_run_and_the_log_says_where_tmp_is(data_dir: Path) -> None:
    if not Path("/dev/shm").is_dir() or os.geteuid() != 0:
        pytest.skip("no directory in memory here, or no root")
    with tempfile.TemporaryDirectory(dir="/dev/shm") as memory:
        os.chmod(memory, 0o755)
        with Service(Path(memory, "data"), "--prometheus", "0") as service:
            client = service.client()
            name = deploy_with(client, SOURCE)
            assert _write(client, name, 1)[0] == [1, 1]
            client.close()
            assert "/tmp of functions is in memory, and counts as theirs: the data directory is in memory" in (
                service.last_words()
            )
            assert started(service) == (0, 1)
        told = run("doctor", "--data-dir", memory).stdout
        assert re.search(r"no +/tmp of functions on the disk +It is in memory", told)
        assert "choose another" in " ".join(told.split())
