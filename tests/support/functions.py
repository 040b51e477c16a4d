"""What a test needs to deploy a function."""

import io
import sys
import zipfile
from collections.abc import Mapping
from typing import Any
from uuid import uuid4

PYTHON = f"python3.{sys.version_info.minor}"  # the interpreter of these tests is on the host, so it can be a runtime
ROLE = "arn:aws:iam::000000000000:role/tests"


def package(files: Mapping[str, str | bytes], executable: bool = False) -> bytes:
    """A deployment package with these contents."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in files.items():
            entry = zipfile.ZipInfo(name)
            entry.external_attr = (0o100755 if executable else 0o100644) << 16
            archive.writestr(entry, text)
    return packed.getvalue()


def deploy_with(client: Any, source: str, **members: Any) -> str:
    """The name of a new, Active function whose handler is `handler` in app.py; `members`: more of CreateFunction's."""
    standard = {
        "FunctionName": f"test-{uuid4().hex[:12]}",
        "Runtime": PYTHON,
        "Role": ROLE,
        "Handler": "app.handler",
        "Code": {"ZipFile": package({"app.py": source})},
    }
    name = client.create_function(**standard | members)["FunctionName"]
    client.get_waiter("function_active_v2").wait(FunctionName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 30})
    return name
