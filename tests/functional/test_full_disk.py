"""A host whose disk is full: who needs it is refused, and tells so; what needs none goes on; nothing is half there."""

import errno
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from lamplighter.sandbox.stock import READY
from support.callers import until
from support.disks import MB, disk_for_functions, filled
from support.functions import deploy_with
from support.service import Service, run
from support.tmps import started

SOURCE = """
import os, time
def handler(event, context):
    kind = [line.split()[2] for line in open("/proc/mounts") if line.split()[1] == "/tmp"][-1]
    time.sleep(event.get("seconds", 0))
    try:
        with open("/tmp/file", "ab", 0) as file:
            file.write(os.urandom(1 << 20))
            os.fsync(file.fileno())
    except OSError as error:
        return [kind, error.errno]
    return [kind, 0]
"""
pytestmark = pytest.mark.root


@pytest.fixture
def disk() -> Iterator[Path]:
    with disk_for_functions(4000) as place:
        yield place


@pytest.mark.parametrize("tmp", ["disk", "auto"])
def test_when_the_disk_fills_up_functions_run_and_what_is_refused_is_not_half_there(disk: Path, tmp: str) -> None:
    with (
        Service(disk / "data", "--tmp", tmp, "--prometheus", "0") as service,
        closing(service.client(max_pool_connections=2 * READY)) as client,
    ):
        one, other = (deploy_with(client, SOURCE) for _ in range(2))
        assert _call(client, one) == ["ext4", 0]
        packages = _packages(service)
        with filled(disk):
            assert _call(client, one) == ["ext4", errno.ENOSPC]
            with ThreadPoolExecutor(2 * READY) as threads:
                answers = list(threads.map(lambda _: _call(client, other, seconds=1), range(2 * READY)))
            assert ["tmpfs", 0] in answers, "who finds none on the disk has memory"
            assert all(answer in (["ext4", errno.ENOSPC], ["tmpfs", 0]) for answer in answers)
            assert started(service) == (
                1 + answers.count(["ext4", errno.ENOSPC]),
                answers.count(["tmpfs", 0]),
            )
            for refused in (
                lambda: deploy_with(client, SOURCE),
                lambda: client.invoke(FunctionName=one, InvocationType="Event"),
                lambda: client.update_function_configuration(FunctionName=one, MemorySize=256),
                lambda: client.delete_function(FunctionName=one),
            ):
                with pytest.raises(ClientError, match="nothing was changed") as error:
                    refused()
                assert error.value.response["ResponseMetadata"]["HTTPStatusCode"] == 500
        assert {each["FunctionName"] for each in client.list_functions()["Functions"]} == {one, other}
        assert client.get_function_configuration(FunctionName=one)["MemorySize"] == 128
        assert _packages(service) == packages
        until(lambda: _call(client, one) == ["ext4", 0], "with room on the disk it can write again")
        until(lambda: _call(client, deploy_with(client, SOURCE)) == ["ext4", 0], "and so can a new one")
        said = service.log.read_text()
        assert "database or disk is full" in said or "No space left" in said
        assert "Traceback" not in said


def test_with_a_disk_that_is_full_disk_refuses_to_start_and_auto_runs_functions_in_memory(disk: Path) -> None:
    with Service(disk / "data", "--tmp", "disk") as service, closing(service.client()) as client:
        name = deploy_with(client, SOURCE)
    start = ("serve", "--port", "0", "--data-dir", str(disk / "data"), "--tmp")
    with filled(disk):
        done = run(*start, "disk")
        assert (done.returncode, done.stdout) == (1, "")
        assert (
            "the disk is nearly full; make room there, or choose another --data-dir; or choose --tmp auto."
            in done.stderr
        )
        done = run(*start, "auto")
        assert (done.returncode, done.stdout) == (1, "")
        assert "is the disk full" in done.stderr
    with (
        filled(disk, but=32 * MB),
        Service(disk / "data", "--tmp", "auto", "--prometheus", "0") as service,
        closing(service.client()) as client,
    ):
        assert _call(client, name) == ["tmpfs", 0]
        assert started(service) == (0, 1)
        assert (
            "/tmp of functions is in memory, and counts as theirs: the disk is nearly full" in service.log.read_text()
        )


def _call(client: Any, name: str, seconds: float = 0) -> Any:
    response = client.invoke(FunctionName=name, Payload=json.dumps({"seconds": seconds}))
    assert "FunctionError" not in response
    return json.loads(response["Payload"].read())


def _packages(service: Service) -> set[Path]:
    """What there is of functions' code, packed and unpacked."""
    return {path for name in ("blobs", "code") for path in (service.data_dir / name).rglob("*")}
