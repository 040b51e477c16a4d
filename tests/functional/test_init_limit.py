"""An init on demand has ten seconds; then it is begun anew within the first invocation, in its time, with what was in
/tmp (AWS: spec 3.1). It takes so long."""

import json
import re
from collections.abc import Callable
from typing import Any

from support.service import Service

SOURCE = """
import os, time
if not os.path.exists("/tmp/tried"):
    open("/tmp/tried", "w").close()
    print("the first try")
    time.sleep(60)
print("the second try")
def handler(event, context):
    return context.get_remaining_time_in_millis()
"""


def test_an_init_of_more_than_ten_seconds_is_repeated_in_the_first_invocation(
    service: Service, client: Any, deploy: Callable[..., str]
) -> None:
    name = deploy(SOURCE, Timeout=5)
    answer = client.invoke(FunctionName=name, LogType="Tail")
    assert "FunctionError" not in answer
    assert 0 < json.load(answer["Payload"]) < 5000, "the repeated init is in the function's own time"
    logs = service.client("logs")
    found = [event["message"] for event in logs.filter_log_events(logGroupName=f"/aws/lambda/{name}")["events"]]
    logs.close()
    tried, failed, again = (
        next(number for number, line in enumerate(found) if line.startswith(beginning))
        for beginning in ("the first try", "INIT_REPORT", "the second try")
    )
    assert tried < failed < again
    told = re.fullmatch(r"INIT_REPORT Init Duration: (\d+\.\d\d) ms\tPhase: init\tStatus: timeout\n?", found[failed])
    assert told and 10_000 <= float(told[1]) < 11_000
    (report,) = (line for line in found if line.startswith("REPORT"))
    assert "Init Duration" not in report
    assert float(re.findall(r"\tDuration: (\S+) ms", report)[0]) < 5000
