"""`lamplighter bill`: what was metered at AWS's prices, whether or not somebody serves the data directory."""

import asyncio
import csv
import json
import time
from pathlib import Path
from typing import Any

import pytest

from lamplighter.store.directory import DataDirectory
from lamplighter.store.usage import UsageLedger
from lamplighter.telemetry.metering.meter import Meter
from support.functions import deploy_with
from support.service import Service, run
from support.usage import NOON, ran, version

DAY = 86_400.0
MONTH = ("--month", "2023-11")


@pytest.fixture
def used(tmp_path: Path) -> Path:
    """A data directory whose service has run two functions on two days of November 2023, and one in December."""

    async def main() -> None:
        with DataDirectory(tmp_path / "data") as directory:
            async with Meter(UsageLedger(directory.usage)) as meter:
                for name, began, calls in (("a", NOON, 1000), ("a", NOON + DAY, 500), ("b", NOON, 7)):
                    for _ in range(calls):
                        meter.observe(ran(version(name, memory_size=1024), duration=100.0, began=began))
                meter.observe(ran(version("late"), began=NOON + 30 * DAY))

    asyncio.run(main())
    return tmp_path / "data"


def bill(data: Path, *options: str) -> dict[str, Any]:
    done = run("bill", "--data-dir", str(data), "--format", "json", *options)
    assert (done.returncode, done.stderr) == (0, "")
    return json.loads(done.stdout)


def test_a_month_is_shown_by_function_and_by_day(used: Path) -> None:
    found = bill(used, *MONTH)
    assert [(row["function"], row["requests"], row["billed_ms"]) for row in found["rows"]] == [
        ("a", 1500, 150_000),
        ("b", 7, 700),
    ]
    # 1507 requests at 0.0000002, and 150.7 GB-s at 0.0000166667
    assert (found["total"], found["currency"]) == ("0.002813", "USD")
    assert sum(int(row["amount"].replace(".", "")) for row in found["rows"]) == 2813
    by_day = bill(used, *MONTH, "--by", "day")
    assert [(row["day"], row["requests"]) for row in by_day["rows"]] == [("2023-11-15", 1007), ("2023-11-16", 500)]
    assert by_day["total"] == found["total"]
    assert bill(used, *MONTH, "--free-tier")["total"] == "0.000000"
    assert bill(used, "--month", "2023-10")["rows"] == []


def test_people_and_spreadsheets_can_read_it(used: Path, tmp_path: Path) -> None:
    shown = run("bill", "--data-dir", str(used), *MONTH)
    assert shown.returncode == 0
    lines = [line.split() for line in shown.stdout.splitlines()]
    assert ["a", "1,500", "150,000", "150.000", "0.002800"] in lines
    assert ["Total", "USD", "0.002813"] in lines
    prices = tmp_path / "prices.toml"
    prices.write_text('currency = "EUR"\n[requests]\ntiers = [{ price = 1 }]\n')
    text = run("bill", "--data-dir", str(used), *MONTH, "--format", "csv", "--prices", str(prices)).stdout
    rows = list(csv.DictReader(text.splitlines()))
    told = [(row["function"], row["requests"], row["amount_requests"], row["currency"]) for row in rows]
    assert told == [("a", "1500", "1500.000000", "EUR"), ("b", "7", "7.000000", "EUR")]
    assert rows[1]["amount"] == "7.000012"


def test_what_cannot_be_billed_is_said_in_a_sentence(used: Path, tmp_path: Path) -> None:
    for options, code, said in (
        (("--month", "2023-13"), 2, "is not a month"),
        (("--tag", "team"), 2, "goes with --by tag"),
        (("--prices", str(tmp_path / "none.toml")), 1, "cannot be read"),
        (("--data-dir", str(tmp_path / "none")), 1, "no data directory"),
    ):
        done = run("bill", "--data-dir", str(used), *options)
        assert (done.returncode, done.stdout) == (code, "")
        assert said in done.stderr
        assert "Traceback" not in done.stderr


def test_tags_group_functions_and_deleted_functions_stay_in_the_bill(data_dir: Path) -> None:
    with Service(data_dir) as service:
        client = service.client()
        source = "def handler(event, context): return 1"
        tagged = deploy_with(client, source, Tags={"team": "blue", "env": "test"})
        gone = deploy_with(client, source)
        client.invoke(LogType="Tail", FunctionName=tagged)
        client.invoke(LogType="Tail", FunctionName=gone)
        client.delete_function(FunctionName=gone)
        client.close()
        assert service.stop() == 0
    by_function = bill(data_dir)
    assert {row["function"]: row["requests"] for row in by_function["rows"]} == {tagged: 1, gone: 1}
    by_tags = {row["tag"]: row["requests"] for row in bill(data_dir, "--by", "tag")["rows"]}
    assert by_tags == {"env=test, team=blue": 1, "(no tag)": 1}
    by_team = {row["tag"]: row["requests"] for row in bill(data_dir, "--by", "tag", "--tag", "team")["rows"]}
    assert by_team == {"blue": 1, "(no tag)": 1}


def test_a_deleted_function_keeps_its_tags(service: Service, client: Any) -> None:
    name = deploy_with(client, "def handler(event, context): pass", Tags={"crew": "gone"})
    client.invoke(LogType="Tail", FunctionName=name)
    client.delete_function(FunctionName=name)
    deadline = time.monotonic() + 30
    rows: dict[str, int] = {}
    while "gone" not in rows and time.monotonic() < deadline:
        done = run("bill", "--by", "tag", "--tag", "crew", "--format", "json", "--data-dir", str(service.data_dir))
        rows = {row["tag"]: row["requests"] for row in json.loads(done.stdout)["rows"]}
    assert rows["gone"] == 1
    # From another machine, at once: what was counted until now is written before it is told.
    again = deploy_with(client, "def handler(event, context): pass")
    client.invoke(LogType="Tail", FunctionName=again)
    there = run("bill", "--format", "json", HOME="/nonexistent", **service.environment())
    assert (there.returncode, there.stderr) == (0, "")
    told = json.loads(there.stdout)
    (row,) = (row for row in told["rows"] if row["function"] == again)
    assert row["requests"] == 1
    assert row in bill(service.data_dir)["rows"]
    tags = run("bill", "--by", "tag", "--tag", "crew", "--format", "json", **service.environment())
    assert [row["requests"] for row in json.loads(tags.stdout)["rows"] if row["tag"] == "gone"] == [1]
    client.delete_function(FunctionName=again)


def test_functions_and_strangers_are_not_told_what_was_used(service: Service, client: Any) -> None:
    source = """
import os, urllib.error, urllib.request
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.session import Session

def handler(event, context):
    request = AWSRequest("GET", os.environ["AWS_ENDPOINT_URL"] + event["path"])
    SigV4Auth(Session().get_credentials(), "lambda", os.environ["AWS_REGION"]).add_auth(request)
    try:
        return urllib.request.urlopen(urllib.request.Request(request.url, headers=dict(request.headers))).status
    except urllib.error.HTTPError as error:
        return error.status
"""
    name = deploy_with(client, source, Timeout=60, MemorySize=512)
    for path in ("/_lamplighter/usage?month=2026-11", "/_lamplighter/state"):
        answer = client.invoke(LogType="Tail", FunctionName=name, Payload=json.dumps({"path": path}))
        assert json.load(answer["Payload"]) == 403
    client.delete_function(FunctionName=name)
