"""A real scrape of a running service, on the listener for it."""

import gzip
import json
import re
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import closing

import pytest
from botocore.exceptions import ClientError

from lamplighter.startup import StartupError, bind
from support.exposition import Family, read
from support.functions import deploy_with
from support.service import Service

SOURCE = """
import time
def handler(event, context):
    time.sleep(event.get("seconds", 0))
    if event.get("fail"):
        raise ValueError("asked for")
"""


@pytest.fixture(scope="module")
def scraped(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Service, str]]:
    with Service(tmp_path_factory.mktemp("prometheus") / "data", "--prometheus", "0") as service:
        found = re.search(r"Prometheus finds metrics at (http://127\.0\.0\.1:\d+/metrics)", service.log.read_text())
        assert found
        yield service, found[1]


def scrape(url: str) -> Mapping[str, Family]:
    with urllib.request.urlopen(url, timeout=30) as answer:
        assert answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
        return read(answer.read().decode())


def value(found: Mapping[str, Family], name: str, suffix: str = "", **labels: str) -> float | None:
    family = found.get(f"lamplighter_{name}")
    return None if family is None else family.samples.get((suffix, tuple(sorted(labels.items()))))


def test_what_functions_did_and_do_is_scraped(scraped: tuple[Service, str]) -> None:
    service, url = scraped
    with closing(service.client()) as client:
        name = deploy_with(client, SOURCE)
        for event in ({}, {"seconds": 0.3}, {"fail": True}):
            client.invoke(FunctionName=name, Payload=json.dumps(event))
        client.invoke(FunctionName=name, InvocationType="Event", Payload=b"{}")
        deadline = time.monotonic() + 20
        while value(found := scrape(url), "invocations_total", function=name) != 4:
            assert time.monotonic() < deadline
        assert value(found, "errors_total", function=name) == 1
        assert value(found, "cold_starts_total", function=name) == 1
        assert value(found, "throttles_total", function=name) == 0
        assert value(found, "async_events_received_total", function=name) == 1
        assert value(found, "async_event_age_seconds", "_count", function=name) == 1
        assert value(found, "duration_seconds", "_count", function=name) == 4
        assert 0.3 < (value(found, "duration_seconds", "_sum", function=name) or 0) < 30
        while value(scrape(url), "environments", function=name, state="ready") != 1:
            assert time.monotonic() < deadline  # a call is counted before its environment asks for the next
        running = threading.Thread(target=client.invoke, kwargs={"FunctionName": name, "Payload": b'{"seconds": 2}'})
        running.start()
        while value(found := scrape(url), "concurrent_executions", function=name) != 1:
            assert time.monotonic() < deadline
        running.join()
        assert (value(found, "event_loop_lag_seconds", "_count") or 0) > 0
        assert found["process_resident_memory_bytes"].samples["", ()] > 1 << 20
        client.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=0)
        with pytest.raises(ClientError):
            client.invoke(FunctionName=name)
        client.invoke(FunctionName=name, InvocationType="Event")
        while value(found := scrape(url), "async_events_dropped_total", function=name) != 1:
            assert time.monotonic() < deadline  # with a reservation of nothing an event ends at once
        assert value(found, "throttles_total", function=name) == 1
        client.delete_function(FunctionName=name)
        assert value(scrape(url), "invocations_total", function=name) is None


def test_the_listener_knows_nothing_but_metrics(scraped: tuple[Service, str]) -> None:
    service, url = scraped
    for path, method, status in (("/", "GET", 404), ("/2015-03-31/functions/", "GET", 404), ("/metrics", "PUT", 405)):
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(urllib.request.Request(url.replace("/metrics", path), method=method), timeout=30)
        assert refused.value.code == status
        refused.value.close()
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(f"{service.url}/metrics", timeout=30)
    assert refused.value.code >= 400
    refused.value.close()
    asked = urllib.request.Request(url, headers={"Accept-Encoding": "gzip"})
    with urllib.request.urlopen(asked, timeout=30) as answer:
        assert "process_cpu_seconds_total" in read(gzip.decompress(answer.read()).decode())


def test_a_port_that_is_taken_is_said_in_a_sentence(scraped: tuple[Service, str]) -> None:
    port = int(scraped[1].rpartition(":")[2].partition("/")[0])
    with pytest.raises(StartupError, match=r"choose another --prometheus\.$"):
        bind("127.0.0.1", port, "--prometheus")
