"""An extension in a layer, through the whole service: registers, subscribes to telemetry, shows what it was sent."""

import json
import uuid
from collections.abc import Callable
from contextlib import closing
from typing import Any

from support.extensions import BEGINNING
from support.functions import PYTHON, package
from support.service import Service

EXTENSION = (
    f"#!/var/lang/bin/{PYTHON} -u\n{BEGINNING}"
    + """
import http.server, threading
seen, kinds = [], threading.Event()
class Take(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        told = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.send_response(200)
        self.end_headers()
        seen.extend(told)
        for event in told:
            with open("/tmp/seen", "a") as file:
                file.write(json.dumps(event) + "\\n")
    def log_message(self, *_):
        pass
server = http.server.ThreadingHTTPServer(("sandbox.localdomain", 4243), Take)
threading.Thread(target=server.serve_forever, daemon=True).start()
register("INVOKE", "SHUTDOWN")
asked = {"schemaVersion": "2022-12-13", "types": ["platform", "function", "extension"], "buffering": {"timeoutMs": 25},
         "destination": {"protocol": "HTTP", "URI": "http://sandbox.localdomain:4243"}}
url = "http://" + os.environ["AWS_LAMBDA_RUNTIME_API"] + "/2022-07-01/telemetry"
head = {name.replace("_", "-"): value for name, value in ME.items()}
urllib.request.urlopen(urllib.request.Request(url, json.dumps(asked).encode(), head, method="PUT")).read()
while True:
    event = follow()
    if event["eventType"] == "SHUTDOWN":
        break
    while not any(told["type"] == "platform.runtimeDone" and told["record"]["requestId"] == event["requestId"]
                  for told in seen):
        time.sleep(0.01)
"""
)
FUNCTION = """
import json, time
def handler(event, context):
    print("from the function")
    while event:
        try:
            seen = [json.loads(line) for line in open("/tmp/seen")]
        except (OSError, ValueError):
            seen = []
        if any(told["type"] == "platform.report" for told in seen):
            return seen
        time.sleep(0.01)
"""


def test_an_extension_in_a_layer_gets_telemetry_of_every_kind_and_its_lines_are_kept(
    client: Any, deploy: Callable[..., str], service: Service
) -> None:
    archive = package({"extensions/watcher": EXTENSION}, executable=True)
    layer = client.publish_layer_version(LayerName=f"test-{uuid.uuid4().hex[:12]}", Content={"ZipFile": archive})
    name = deploy(FUNCTION, Layers=[layer["LayerVersionArn"]], Timeout=20)
    first = client.invoke(FunctionName=name, Payload=b"0", LogType="Tail")  # so it returns when the phase is over
    assert "FunctionError" not in first
    seen = json.loads(client.invoke(FunctionName=name, Payload=b"1")["Payload"].read())
    client.delete_layer_version(LayerName=layer["LayerArn"], VersionNumber=layer["Version"])
    assert isinstance(seen, list), seen
    records = {told["type"]: told["record"] for told in reversed(seen)}
    wanted = ("initStart", "telemetrySubscription", "extension", "initRuntimeDone", "start", "runtimeDone", "report")
    assert {f"platform.{kind}" for kind in wanted} <= records.keys()
    assert records["platform.extension"] == {"name": "watcher", "state": "Ready", "events": ["INVOKE", "SHUTDOWN"]}
    assert records["function"] == "from the function"
    assert records["extension"].startswith("watcher {")
    request_id = first["ResponseMetadata"]["RequestId"]
    assert records["platform.runtimeDone"]["requestId"] == records["platform.report"]["requestId"] == request_id
    with closing(service.client("logs")) as logs:
        found = logs.filter_log_events(logGroupName=f"/aws/lambda/{name}", filterPattern="watcher")["events"]
        written = logs.filter_log_events(logGroupName=f"/aws/lambda/{name}", filterPattern='"from the function"')
    lines = [event["message"] for event in found]
    assert any(line.startswith("EXTENSION\tName: watcher\tState: Ready") for line in lines), "the platform tells of it"
    told = "TELEMETRY\tName: watcher\tState: Subscribed\tTypes: [Platform, Function, Extension]"
    assert [line.rstrip("\n") for line in lines if line.startswith("TELEMETRY")] == [told]
    own = [line for line in lines if line.startswith("watcher {")]
    assert any(request_id in line for line in own), "what it wrote itself"
    assert {event["logStreamName"] for event in [*found, *written["events"]]} == {found[0]["logStreamName"]}
