"""What happens to the functions while they are called: deployed, changed, published, moved, deleted, made again.

Nobody's answer is waited for by anybody else, so changes meet changes; a refusal because of that is right.
"""

import asyncio
import base64
import json
import random
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from bench.service import Service
from bench.soak.caller import Answer, Caller, NoAnswer
from bench.soak.subjects import LAYER, VARIANTS, Subject, layer

FUNCTIONS = "/2015-03-31/functions"
CONFLICTS = ("ResourceConflictException", "ResourceNotFoundException", "PreconditionFailedException")
ALIASES = (*CONFLICTS, "InvalidParameterValueException")  # with weights, it can't have provisioned concurrency
NOT_PROVISIONED = (*CONFLICTS, "ProvisionedConcurrencyConfigNotFoundException")
ACTIVE = 60.0  # seconds to become so


class Refused(Exception):
    """A call of the control plane was not answered as it should have been."""


class Control:
    """Calls of the control plane, on a connection of their own. `fault` is told what is wrong."""

    def __init__(self, service: Service, fault: Callable[[str], None]) -> None:
        self._service = service
        self._caller = Caller(service.port)
        self._fault = fault
        self.counts: Counter[str] = Counter()

    async def call(self, what: str, method: str, target: str, body: Any = None, allowed: Sequence[str] = ()) -> Any:
        """The answer's members; None if it was refused in a way that is `allowed`. Raises Refused."""
        data = b"" if body is None else json.dumps(body).encode()
        try:
            answer: Answer = await self._caller.ask(self._service.signed(method, target, data))
        except NoAnswer as error:
            self._fault(f"{what}: {error}")
            raise Refused(str(error)) from None
        if answer.status < 300:
            self.counts[what] += 1
            return json.loads(answer.body) if answer.body else {}
        if answer.error_type in allowed:
            self.counts[f"{what}, refused"] += 1
            return None
        told = f"{what}: {answer.status} {answer.error_type} {answer.body[:300]!r}"
        self._fault(told)
        raise Refused(told)

    async def create(self, subject: Subject, layers: Sequence[str] = (), allowed: Sequence[str] = ()) -> None:
        code = {"ZipFile": base64.b64encode(subject.package()).decode()}
        creation = {**subject.creation(layers), "Code": code}
        await self.call("CreateFunction", "POST", FUNCTIONS, creation, allowed)

    async def update_code(self, subject: Subject, variant: int) -> None:
        code = {"ZipFile": base64.b64encode(subject.package(variant)).decode()}
        await self.call("UpdateFunctionCode", "PUT", f"{FUNCTIONS}/{subject.name}/code", code, CONFLICTS)

    async def until_active(self, subject: Subject) -> None:
        async with asyncio.timeout(ACTIVE):
            while True:
                found = await self.call("GetFunctionConfiguration", "GET", f"{FUNCTIONS}/{subject.name}/configuration")
                if found["State"] == "Active" and found["LastUpdateStatus"] == "Successful":
                    return
                await asyncio.sleep(0.05)

    async def delete(self, name: str, allowed: Sequence[str] = ()) -> None:
        await self.call("DeleteFunction", "DELETE", f"{FUNCTIONS}/{name}", allowed=allowed)

    async def publish_layer(self) -> str:
        content = {"Content": {"ZipFile": base64.b64encode(layer()).decode()}}
        made = await self.call("PublishLayerVersion", "POST", f"/2018-10-31/layers/{LAYER}/versions", content)
        return made["LayerVersionArn"]

    async def delete_layer(self, arn: str) -> None:
        await self.call("DeleteLayerVersion", "DELETE", f"/2018-10-31/layers/{LAYER}/versions/{arn.rpartition(':')[2]}")

    async def reserve(self, name: str, number: int) -> None:
        target = f"/2017-10-31/functions/{name}/concurrency"
        await self.call("PutFunctionConcurrency", "PUT", target, {"ReservedConcurrentExecutions": number}, CONFLICTS)

    async def provision(self, name: str, alias: str, number: int) -> None:
        """`number` 0: none any more."""
        target = f"/2019-09-30/functions/{name}/provisioned-concurrency?Qualifier={alias}"
        if number:
            what, body = "PutProvisionedConcurrencyConfig", {"ProvisionedConcurrentExecutions": number}
            await self.call(what, "PUT", target, body, ALIASES)
        else:
            await self.call("DeleteProvisionedConcurrencyConfig", "DELETE", target, None, NOT_PROVISIONED)

    async def bury(self, name: str, at: str) -> None:
        """Failed events of one function end at another one."""
        destination = f"arn:aws:lambda:{self._service.region}:000000000000:function:{at}"
        await self.call(
            "PutFunctionEventInvokeConfig",
            "PUT",
            f"/2019-09-25/functions/{name}/event-invoke-config",
            {"MaximumRetryAttempts": 0, "DestinationConfig": {"OnFailure": {"Destination": destination}}},
        )

    def close(self) -> None:
        self._caller.close()


async def keep_changing(control: Control, subject: Subject, chance: random.Random) -> None:
    """Until cancelled: one function, with an alias that wanders over its versions."""
    path = f"{FUNCTIONS}/{subject.name}"
    versions: list[str] = []
    while True:
        await asyncio.sleep(chance.uniform(0.05, 0.3))
        match chance.randrange(6):
            case 0:
                await control.update_code(subject, chance.randrange(VARIANTS))
            case 1:
                changed = {"Environment": {"Variables": {"NUMBER": str(chance.randrange(1000))}}}
                await control.call("UpdateFunctionConfiguration", "PUT", f"{path}/configuration", changed, CONFLICTS)
            case 2:
                made = await control.call("PublishVersion", "POST", f"{path}/versions", {}, CONFLICTS)
                if made and made["Version"] not in versions:
                    versions.append(made["Version"])
            case 3 if versions:
                body: dict[str, Any] = {"FunctionVersion": versions[-1], "RoutingConfig": {}}
                if len(versions) > 1 and chance.random() < 0.3:  # with weights, nothing can be provisioned
                    body["RoutingConfig"] = {"AdditionalVersionWeights": {versions[-2]: 0.5}}
                moved = await control.call("UpdateAlias", "PUT", f"{path}/aliases/live", body, ALIASES)
                if moved is None:
                    new = {"Name": "live", **body}
                    await control.call("CreateAlias", "POST", f"{path}/aliases", new, CONFLICTS)
            case 4 if len(versions) > 4:
                target = f"{path}?Qualifier={versions.pop(0)}"
                await control.call("DeleteFunction, a version", "DELETE", target, allowed=CONFLICTS)
            case 5:
                await control.provision(subject.name, "live", chance.choice((0, 1, 4)))
            case _:
                await control.call("ListFunctions", "GET", FUNCTIONS)


async def keep_deleting(control: Control, subject: Subject, chance: random.Random) -> None:
    """Until cancelled: one function is there, and then it is not."""
    while True:
        await asyncio.sleep(chance.uniform(0.1, 1))
        await control.delete(subject.name, CONFLICTS)
        await asyncio.sleep(chance.uniform(0, 0.2))
        await control.create(subject, allowed=CONFLICTS)


async def keep_reserving(control: Control, subject: Subject, chance: random.Random) -> None:
    """Until cancelled: one function's reserved concurrency is some number, none at all included."""
    while True:
        await asyncio.sleep(chance.uniform(0.2, 1))
        await control.reserve(subject.name, chance.choice((0, 1, 3, 50)))
