"""The real service as its users run it: `lamplighter serve`, boto3 to deploy, requests signed by botocore."""

import io
import re
import shlex
import subprocess
import sys
import zipfile
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import contextmanager
from importlib.metadata import distribution
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import boto3
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials
from botocore.exceptions import BotoCoreError, ClientError

from bench.floor import GUEST
from bench.load import HOST
from bench.program import Program, Unavailable

READY = r"Lamplighter is ready at http://127\.0\.0\.1:(\d+)"
COMMAND = (sys.executable, "-m", "lamplighter")
ROOM = ("--account-concurrency", "10000")  # whose request rate, ten times that, no load here comes to
WHOLE_CPU = 1769  # MB: what AWS gives one CPU to, and so do we
PYTHON = f"python{sys.version_info.major}.{sys.version_info.minor}"  # the floor's runtimes are of the same
ROLE = "arn:aws:iam::000000000000:role/bench"


class Service:
    """A running service. Raises Unavailable for what it refuses: it may not be able to do it yet."""

    def __init__(self, program: Program, data: str) -> None:
        assert program.match
        self.port = int(program.match[1])
        self.seconds_to_ready = program.seconds_to_ready
        self.pid = program.pid
        self.data = Path(data)
        variables = _variables(data, self.port)
        self.region = variables["AWS_REGION"]
        self._keys = variables["AWS_ACCESS_KEY_ID"], variables["AWS_SECRET_ACCESS_KEY"]
        self._signer = SigV4Auth(Credentials(*self._keys), "lambda", self.region)
        self._client = self.client("lambda")

    def client(self, name: str) -> Any:
        """boto3's, of one of the service's APIs."""
        access, secret = self._keys
        return boto3.client(  # pyright: ignore[reportUnknownMemberType, reportCallIssue, reportUnknownVariableType]
            name,  # pyright: ignore[reportArgumentType]  # boto3 makes it at run time
            endpoint_url=f"http://{HOST}:{self.port}",
            region_name=self.region,
            aws_access_key_id=access,
            aws_secret_access_key=secret,
            config=Config(retries={"total_max_attempts": 1}, read_timeout=60),
        )

    def requests(self, names: Sequence[str], bodies: Iterable[bytes]) -> tuple[bytes, ...]:
        """One signed Invoke for each body, of the functions in turn. Valid for five minutes."""
        return tuple(
            self.signed("POST", f"/2015-03-31/functions/{names[index % len(names)]}/invocations", body)
            for index, body in enumerate(bodies)
        )

    @contextmanager
    def functions(
        self, names: Sequence[str], handler: str = "handlers.echo", client: str = "lean", memory_size: int = 128
    ) -> Generator[None]:
        """Deployed and Active, for as long as the block lasts. `memory_size`: MB; decides the share of a CPU too."""
        content, settings = package(client, handler)
        created: list[str] = []
        try:
            for name in names:
                self.create(name, content, **settings, MemorySize=memory_size)
                created.append(name)
            self.wait_until_active(names)
            yield
        finally:
            self.delete(created)

    def create(self, name: str, content: bytes, **settings: Any) -> None:
        with _refusals(f"CreateFunction {name}"):
            self._client.create_function(FunctionName=name, Role=ROLE, Code={"ZipFile": content}, **settings)

    def wait_until_active(self, names: Iterable[str]) -> None:
        waiter, patience = self._client.get_waiter("function_active_v2"), {"Delay": 1, "MaxAttempts": 30}
        for name in names:
            with _refusals(f"waiting for {name}"):
                waiter.wait(FunctionName=name, WaiterConfig=patience)

    def delete(self, names: Iterable[str]) -> None:
        for name in names:
            with _refusals(f"DeleteFunction {name}"):
                self._client.delete_function(FunctionName=name)

    def invoke(self, name: str, payload: bytes = b"{}") -> bytes:
        with _refusals(f"Invoke {name}"):
            answer = self._client.invoke(FunctionName=name, Payload=payload)
            body: bytes = answer["Payload"].read()
        if "FunctionError" in answer:
            raise Unavailable(f"Invoke {name}: {body.decode(errors='replace')[:300]}")
        return body

    def logged(self, name: str, since: int, term: str) -> list[str]:
        """What a function has logged with this term in it. `since`: ms since the epoch."""
        group = f"/aws/lambda/{name}"
        with _refusals(f"FilterLogEvents {group}"):
            pages = (
                self.client("logs")
                .get_paginator("filter_log_events")
                .paginate(logGroupName=group, startTime=since, filterPattern=term)
            )
            return [event["message"] for page in pages for event in page["events"]]

    def signed(self, method: str, target: str, body: bytes = b"", **headers: str) -> bytes:
        """A request, whole. `target`: path and query; `headers`: more of them. Valid for five minutes."""
        given = {"Content-Type": "application/json", **{name.replace("_", "-"): text for name, text in headers.items()}}
        request = AWSRequest(method, f"http://{HOST}:{self.port}{target}", given, body)
        self._signer.add_auth(request)  # pyright: ignore[reportUnknownMemberType]  # botocore has no types
        sent: dict[str, str] = dict(request.headers.items())
        sent |= {"Host": f"{HOST}:{self.port}", "Content-Length": str(len(body))}
        lines = "".join(f"{name}: {value}\r\n" for name, value in sent.items())
        return f"{method} {target} HTTP/1.1\r\n{lines}\r\n".encode() + body


@contextmanager
def service(*options: str) -> Generator[Service]:
    """Started on a free port and a data directory of its own; both are gone afterwards."""
    with TemporaryDirectory(prefix="lamplighter-bench-") as data, service_on(data, *options) as started:
        yield started


@contextmanager
def service_on(data: str, *options: str, heard: Callable[[str], None] = lambda line: None) -> Generator[Service]:
    """Started on a free port and this data directory, which stays. `heard`: is given every line of its log."""
    command = [*COMMAND, "serve", "--port", "0", "--data-dir", data, *ROOM, *options]
    with Program(command, READY, heard=heard) as program:
        yield Service(program, data)


def _variables(data: str, port: int) -> dict[str, str]:
    """What `lamplighter env` would have a shell set."""
    command = [*COMMAND, "env", "--data-dir", data, "--port", str(port)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30)
    if done.returncode:
        raise Unavailable(f"lamplighter env: {(done.stderr or done.stdout).strip()[-300:]}")
    words = shlex.split(done.stdout, comments=True)
    return dict(word.split("=", 1) for word in words if re.match(r"[A-Z_]+=", word))


@contextmanager
def _refusals(what: str) -> Generator[None]:
    try:
        yield
    except (ClientError, BotoCoreError) as error:
        raise Unavailable(f"{what}: {error}") from None


def package(client: str = "lean", handler: str = "handlers.echo") -> tuple[bytes, dict[str, Any]]:
    """The deployment package, and the settings that make its environments run under this runtime client."""
    module = handler.partition(".")[0] + ".py"
    files = {module: (GUEST / module).read_bytes()}
    settings: dict[str, Any] = {"Runtime": PYTHON, "Handler": handler, "Timeout": 60}
    if client == "awslambdaric":
        for name in ("awslambdaric", "simplejson", "snapshot-restore-py"):
            files |= _installed(name)
        files["switch.py"] = (GUEST / "switch.py").read_bytes()
        settings |= {"Handler": "switch.handler", "Environment": {"Variables": {"REAL_HANDLER": handler}}}
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            entry = zipfile.ZipInfo(name)
            entry.external_attr = 0o100755 << 16
            archive.writestr(entry, content)
    return packed.getvalue(), settings


def _installed(name: str) -> dict[str, bytes]:
    """The modules of an installed distribution, without its metadata."""
    found = distribution(name)
    files = {str(file): Path(str(found.locate_file(file))) for file in found.files or ()}
    return {
        name: path.read_bytes()
        for name, path in files.items()
        if path.suffix in (".py", ".so") and not name.startswith("..") and "/tests/" not in name
    }
