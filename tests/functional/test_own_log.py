"""What a real service writes into its own log, and what probes see of it."""

import http.client
import json
import time
from collections.abc import Mapping
from pathlib import Path

import pytest
from botocore.exceptions import ClientError

from support.functions import deploy_with
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


def until_logged(service: Service, request_id: str) -> None:
    deadline = time.monotonic() + 30
    while request_id not in service.log.read_text():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_probes_need_no_signature_and_learn_nothing_but_the_status(service: Service) -> None:
    assert get(service.port, "/_lamplighter/health") == (200, b'{"status":"alive"}')
    assert get(service.port, "/_lamplighter/ready") == (200, b'{"status":"ready"}')
    assert get(service.port, "/_lamplighter/other")[0] == 403
