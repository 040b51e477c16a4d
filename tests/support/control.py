"""The control plane of functions as `app.py` puts it together, on a real database and real files, without a server."""

import asyncio
import io
import zipfile
from collections.abc import AsyncGenerator, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from lamplighter.api.account import AccountOperations
from lamplighter.api.aliases import AliasOperations
from lamplighter.api.code_signing import CodeSigningOperations
from lamplighter.api.concurrency import ConcurrencyOperations
from lamplighter.api.downloads import Downloads
from lamplighter.api.event_invoke import EventInvokeOperations
from lamplighter.api.functions import FunctionOperations
from lamplighter.api.http import Call, Caller, Operation
from lamplighter.api.layers import LayerOperations
from lamplighter.api.permissions import PermissionOperations
from lamplighter.api.provisioned import ProvisionedOperations
from lamplighter.api.recursion import RecursionOperations
from lamplighter.api.runtime_management import RuntimeManagementOperations
from lamplighter.api.scaling import ScalingOperations
from lamplighter.api.tags import TagOperations
from lamplighter.api.urls import UrlOperations
from lamplighter.api.versions import VersionOperations
from lamplighter.control.account import Account
from lamplighter.control.aliases import Aliases
from lamplighter.control.code import Code
from lamplighter.control.code_signing import CodeSigning
from lamplighter.control.concurrency import Concurrency
from lamplighter.control.event_invoke import EventInvokeConfigs
from lamplighter.control.functions import Functions, Runtimes
from lamplighter.control.layer_policies import LayerPolicies
from lamplighter.control.layers import Layers
from lamplighter.control.permissions import Permissions
from lamplighter.control.provisioned import Provisioned
from lamplighter.control.recursion import Recursion
from lamplighter.control.runtime_management import RuntimeManagement
from lamplighter.control.scaling import Scaling
from lamplighter.control.settling import Settling
from lamplighter.control.snapshots import Snapshot
from lamplighter.control.sources import Sources
from lamplighter.control.tags import Tags
from lamplighter.control.urls import Urls
from lamplighter.control.versions import Versions
from lamplighter.invoke.ahead import Standing
from lamplighter.model.clock import Clock, SystemClock
from lamplighter.model.errors import ServiceError
from lamplighter.model.functions import FunctionId, FunctionVersion
from lamplighter.neighbours.s3 import S3
from lamplighter.store.blobs import FileBlobs
from lamplighter.store.database import Database
from lamplighter.store.directory import DataDirectory
from lamplighter.store.records import SqliteRecords
from lamplighter.store.sqlite import SqliteFunctions, SqlitePackageReferences

ACCOUNT = "111111111111"
REGION = "us-east-1"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/lambda-role"
CALL = Call("r-1", Caller("AKIA", ACCOUNT, f"arn:aws:iam::{ACCOUNT}:root"), REGION, "http://127.0.0.1:4566")


def zipped(files: dict[str, bytes | str] | None = None) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as package:
        for name, content in (files or {"handler.py": "def handler(event, context): return event"}).items():
            package.writestr(name, content)
    return buffer.getvalue()


def run(main: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """The body of an async test, with a deadline."""

    async def bounded() -> None:
        async with asyncio.timeout(60):
            await main()

    asyncio.run(bounded())


@dataclass
class ControlPlane:
    directory: DataDirectory
    database: Database
    stored: SqliteFunctions
    references: SqlitePackageReferences
    records: SqliteRecords
    blobs: FileBlobs
    code: Code
    functions: Functions
    downloads: Downloads
    operations: Mapping[str, Operation]

    async def call(self, operation: str, **members: Any) -> dict[str, Any]:
        return await self.operations[operation](CALL, members)

    async def create(self, name: str, **members: Any) -> dict[str, Any]:
        defaults: dict[str, Any] = {
            "Runtime": "python3.12",
            "Role": ROLE,
            "Handler": "handler.handler",
            "Code": {"ZipFile": zipped()},
        }
        return await self.call("CreateFunction", FunctionName=name, **(defaults | members))

    async def settled(self, name: str, version: str = "$LATEST") -> dict[str, Any]:
        """The configuration once nothing is in progress."""
        answer: dict[str, Any] = {}

        async def is_settled() -> bool:
            answer.update(await self.call("GetFunctionConfiguration", FunctionName=name, Qualifier=version))
            return answer["State"] != "Pending" and answer.get("LastUpdateStatus") != "InProgress"

        await until(is_settled)
        return await self.call("GetFunctionConfiguration", FunctionName=name, Qualifier=version)

    async def packages_left(self, count: int) -> None:
        """Wait until so many packages are kept: they go a moment after what needed them."""

        async def are_left() -> bool:
            return len(await self.blobs.digests()) == count

        await until(are_left)


async def until(condition: Callable[[], Coroutine[Any, Any, bool]]) -> None:
    """Wait for a condition; a time-out when it does not come true."""
    async with asyncio.timeout(20):
        while True:
            if await condition():
                return
            await asyncio.sleep(0.002)


async def refused(call: Coroutine[Any, Any, Any]) -> ServiceError:
    """What is said to a call that has to be refused."""
    with pytest.raises(ServiceError) as caught:
        await call
    return caught.value


def function_id(name: str) -> FunctionId:
    return FunctionId(ACCOUNT, REGION, name)


@asynccontextmanager
async def control_plane(
    path: Path,
    clock: Clock | None = None,
    creation: float = 0.0,
    update: float = 0.0,
    available: Callable[[str], str | None] = lambda _: None,
    code_storage: int = 80_530_636_800,
    s3: S3 | None = None,
    concurrency: int = 1000,
    standing: Callable[[FunctionVersion], Standing] = lambda function: Standing(1_000_000),
    snapshot: Snapshot | None = None,
) -> AsyncGenerator[ControlPlane]:
    clock = clock or SystemClock()
    with DataDirectory(path) as directory:
        database = Database(directory.database)
        try:
            stored = SqliteFunctions(database)
            references, records = SqlitePackageReferences(database), SqliteRecords(database)
            blobs = FileBlobs(directory.blobs)
            code = Code(blobs, references, directory.code, clock)
            async with Settling(stored, database, code, clock, creation, update, snapshot):
                runtimes = Runtimes(
                    available, lambda name, region, machine: f"arn:aws:lambda:{region}::runtime:{machine}-{name}"
                )
                sources = Sources(s3, references, code_storage)
                functions = Functions(stored, records, code, sources, runtimes, clock)
                downloads = Downloads(b"s" * 32, blobs, clock)
                operations = {
                    **FunctionOperations(functions, downloads).operations(),
                    **VersionOperations(Versions(stored, references, clock, code_storage)).operations(),
                    **AliasOperations(Aliases(records)).operations(),
                    **LayerOperations(
                        Layers(records, code, sources, clock), LayerPolicies(records), downloads
                    ).operations(),
                    **CodeSigningOperations(CodeSigning(records, clock)).operations(),
                    **EventInvokeOperations(EventInvokeConfigs(records, clock)).operations(),
                    **PermissionOperations(Permissions(records)).operations(),
                    **TagOperations(Tags(records)).operations(),
                    **UrlOperations(Urls(records, clock)).operations(),
                    **ConcurrencyOperations(Concurrency(records, concurrency)).operations(),
                    **ProvisionedOperations(Provisioned(records, clock, concurrency, standing)).operations(),
                    **ScalingOperations(Scaling(records)).operations(),
                    **RuntimeManagementOperations(RuntimeManagement(records)).operations(),
                    **RecursionOperations(Recursion(records)).operations(),
                    **AccountOperations(Account(stored, references, records, concurrency, code_storage)).operations(),
                }
                yield ControlPlane(
                    directory, database, stored, references, records, blobs, code, functions, downloads, operations
                )
        finally:
            await database.close()


class ManualClock:
    """Stands still until it is moved."""

    def __init__(self, now: float = 1_750_000_000.125) -> None:
        self.time = now

    def now(self) -> float:
        return self.time

    def monotonic(self) -> float:
        return self.time
