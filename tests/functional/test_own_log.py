"""What a real service writes into its own log, and what probes see of it."""

import base64
import http.client
import json
import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from support.functions import deploy_with, package
from support.service import Service

SECRET = "xyzzy-plugh-0815"
SOURCE = """
import os
def handler(event, context):
    print(os.environ["SECRET"], event)
    raise ValueError(os.environ["SECRET"])
"""


def get(port: int, path: str, headers: Mapping[str, str] | None = None) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request("GET", path, headers=headers or {})
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def test_the_log_has_changes_with_request_ids_and_never_a_secret(data_dir: Path) -> None:
    with Service(data_dir, "--log-format", "json", "--log-level", "debug") as service:
        client = service.client()
        name = deploy_with(client, SOURCE, Environment={"Variables": {"SECRET": SECRET}})
        client.invoke(FunctionName=name, Payload=json.dumps({"password": SECRET}))
        client.get_function(FunctionName=name)
        get(service.port, f"/2015-03-31/functions/{name}?X-Amz-Signature={SECRET}")
        deleted = client.delete_function(FunctionName=name)["ResponseMetadata"]["RequestId"]
        secret_key = service.environment()["AWS_SECRET_ACCESS_KEY"]
        client.close()
        assert service.stop() == 0
    text = service.log.read_text()
    assert SECRET not in text
    assert secret_key not in text
    lines = [json.loads(line) for line in text.splitlines()]
    (line,) = (line for line in lines if line.get("request_id") == deleted)
    assert line["level"] == "INFO"
    assert f"DELETE /2015-03-31/functions/{name} 204" in line["message"]
    assert any(f"GET /2015-03-31/functions/{name} 200" in line["message"] for line in lines)
    assert not any("/invocations" in line["message"] for line in lines)


def test_whatever_fails_names_its_request_and_tells_no_secret(data_dir: Path) -> None:
    """Endpoints that nobody listens at, signatures that don't match, events that can't be delivered."""
    token, foreign = "session-" + "t" * 60, "foreign-" + "k" * 40
    gone = "http://127.0.0.1:1"
    options = ("--log-format", "json", "--log-level", "debug", "--s3-endpoint", gone, "--sqs-endpoint", gone)
    own = {"AWS_ACCESS_KEY_ID": "AKIAXXXXXXXXXXXXXXXX", "AWS_SECRET_ACCESS_KEY": foreign, "AWS_SESSION_TOKEN": token}
    sent: list[str] = []
    with Service(data_dir, *options, **own) as service:
        client = service.client()
        client.meta.events.register(
            "before-send", lambda request, **_: sent.append(request.headers["Authorization"].decode())
        )
        queue = "arn:aws:sqs:us-east-1:000000000000:told"
        variables = {"Variables": {"SECRET": SECRET}}
        name = deploy_with(client, SOURCE, Environment=variables, DeadLetterConfig={"TargetArn": queue})
        client.put_function_event_invoke_config(FunctionName=name, MaximumRetryAttempts=0)
        queued = client.invoke(FunctionName=name, InvocationType="Event", Payload=json.dumps(SECRET))
        queued["Payload"].close()
        with pytest.raises(ClientError) as failed:
            client.update_function_code(FunctionName=name, S3Bucket="bucket", S3Key="key")
        headers = {"Authorization": sent[-1], "X-Amz-Security-Token": token}
        get(service.port, f"/2015-03-31/functions/{name}", headers)
        until_logged(service, queued["ResponseMetadata"]["RequestId"])
        secrets = [SECRET, foreign, token, service.environment()["AWS_SECRET_ACCESS_KEY"]]
        secrets += [line.rpartition("=")[2] for line in sent]  # signatures
        client.close()
        assert service.stop() == 0
    text = service.log.read_text()
    assert [secret for secret in secrets if secret in text] == []
    lines = [json.loads(line) for line in text.splitlines()]
    request = failed.value.response["ResponseMetadata"]["RequestId"]
    told = {line.get("request_id") for line in lines if "cannot be reached" in line["message"]}
    assert told == {request, queued["ResponseMetadata"]["RequestId"]}


DRIVEN = """
import os, sys
if os.environ.get("BREAKS"):
    raise RuntimeError(os.environ["SECRET"])
def handler(event, context):
    kind = event.get("kind")
    print(os.environ["SECRET"], event, file=sys.stderr)
    if kind == "crash":
        os._exit(1)
    if kind == "credentials":
        return [os.environ["AWS_SECRET_ACCESS_KEY"], os.environ["AWS_SESSION_TOKEN"]]
    raise ValueError(os.environ["SECRET"])
"""


@pytest.mark.parametrize("form", ["console", "json"])
def test_no_secret_of_anybody_is_in_what_a_service_says_however_it_is_driven(data_dir: Path, form: str) -> None:
    """Variables, payloads, credentials of callers and of functions, signatures of URLs and of headers: in calls that
    are well, that fail, crash, are refused or malformed, to the end of the service, at the level that says most."""
    sent: list[Any] = []
    with Service(data_dir, "--log-format", form, "--log-level", "debug") as service:
        client, logs = service.client(), service.client("logs")
        for each in (client, logs):
            each.meta.events.register("before-send", lambda request, **_: sent.append(request.headers["Authorization"]))
        layer = client.publish_layer_version(LayerName="l", Content={"ZipFile": package({"x.txt": SECRET})})
        locations = [layer["Content"]["Location"]]
        name = deploy_with(client, DRIVEN, Environment={"Variables": {"SECRET": SECRET}}, Timeout=5)
        broken = deploy_with(client, DRIVEN, Environment={"Variables": {"SECRET": SECRET, "BREAKS": "1"}})
        locations.append(client.get_function(FunctionName=name)["Code"]["Location"])
        answer = client.invoke(FunctionName=name, Payload=b'{"kind": "credentials"}')
        secrets: list[str] = json.load(answer["Payload"])
        context = base64.b64encode(json.dumps({"custom": {"token": SECRET}}).encode()).decode()
        for kind in ("error", "crash"):
            client.invoke(FunctionName=name, Payload=json.dumps({"kind": kind, "s": SECRET}), ClientContext=context)
        client.invoke(FunctionName=broken, Payload=json.dumps(SECRET))
        client.invoke(FunctionName=name, InvocationType="Event", Payload=json.dumps(SECRET))
        client.invoke_with_response_stream(FunctionName=name, Payload=json.dumps({"s": SECRET}))["EventStream"].close()
        for wrong in (
            lambda: client.invoke(FunctionName=name, Payload=b'{"' + SECRET.encode()),
            lambda: client.update_function_configuration(FunctionName=name, Role=SECRET),
            lambda: client.update_function_configuration(
                FunctionName=name, Environment={"Variables": {SECRET: SECRET}}
            ),
            lambda: client.update_function_code(FunctionName=name, ZipFile=SECRET.encode()),
            lambda: logs.filter_log_events(logGroupName=f"/aws/lambda/{name}", nextToken=SECRET),
            lambda: logs.filter_log_events(logGroupName=f"/aws/lambda/{name}", filterPattern=f'"{SECRET}'),
        ):
            with pytest.raises(ClientError):
                wrong()
        for location in locations:
            path = location.removeprefix(service.url)
            assert get(service.port, path)[0] == 200
            assert get(service.port, path[:-1] + ("0" if path[-1] != "0" else "1"))[0] >= 400
        for line in (sent[0].decode(), f"Bearer {SECRET}", f"AWS4-HMAC-SHA256 Credential={SECRET}"):
            assert get(service.port, f"/2015-03-31/functions/{name}", {"Authorization": line})[0] >= 400
        secrets += [SECRET, context, service.environment()["AWS_SECRET_ACCESS_KEY"]]
        secrets += [line.decode().rpartition("=")[2] for line in sent]
        secrets += [part for location in locations for part in re.findall(r"[Ss]ignature=([^&]+)", location)]
        client.close()
        logs.close()
        assert service.stop() == 0
        said = service.process.stdout.read().decode() if service.process.stdout else ""
    text = service.log.read_text() + said
    assert len(locations) == 2 and all(re.search(r"[Ss]ignature=[^&]+", location) for location in locations)
    assert f"/2015-03-31/functions/{name}" in text, "it says what was asked for"
    assert [secret for secret in secrets if secret in text] == []


def until_logged(service: Service, request_id: str) -> None:
    deadline = time.monotonic() + 30
    while request_id not in service.log.read_text():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_probes_need_no_signature_and_learn_nothing_but_the_status(service: Service) -> None:
    assert get(service.port, "/_lamplighter/health") == (200, b'{"status":"alive"}')
    assert get(service.port, "/_lamplighter/ready") == (200, b'{"status":"ready"}')
    assert get(service.port, "/_lamplighter/other")[0] == 403
