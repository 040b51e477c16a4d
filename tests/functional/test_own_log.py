"""What a real service writes into its own log, and what probes see of it."""

import http.client
import json
from pathlib import Path

from support.functions import deploy_with
from support.service import Service

SECRET = "xyzzy-plugh-0815"
SOURCE = """
import os
def handler(event, context):
    print(os.environ["SECRET"], event)
    raise ValueError(os.environ["SECRET"])
"""


def get(port: int, path: str) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request("GET", path)
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


def test_probes_need_no_signature_and_learn_nothing_but_the_status(service: Service) -> None:
    assert get(service.port, "/_lamplighter/health") == (200, b'{"status":"alive"}')
    assert get(service.port, "/_lamplighter/ready") == (200, b'{"status":"ready"}')
    assert get(service.port, "/_lamplighter/other")[0] == 403
