"""A lap of the soak: deploy, call while everything changes, wait for what was accepted, take all away, and look."""

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Coroutine
from contextlib import closing
from time import monotonic
from typing import Any

from bench.service import Service
from bench.soak import changes
from bench.soak.caller import Caller, NoAnswer
from bench.soak.changes import Control, Refused
from bench.soak.holdings import Holdings
from bench.soak.kinds import KINDS, Kind
from bench.soak.ledger import Ledger
from bench.soak.rest import Place, rest
from bench.soak.subjects import VARIANTS, Subject

CALLERS = 16
DRAIN = 60.0  # seconds for what was accepted to run

Say = Callable[[str], None]


class Lap:
    def __init__(self, number: int, service: Service, place: Place, subjects: list[Subject], say: Say) -> None:
        self._service = service
        self._place = place
        self._subjects = {subject.name: subject for subject in subjects}
        self._kinds = [kind for kind in KINDS if kind.function in self._subjects]
        self._first = iter(self._kinds)
        self._chance = random.Random(number)
        self._say = say
        self.ledger = Ledger(number)
        self.counts: Counter[str] = Counter()  # of the control plane's calls

    async def run(self, seconds: float, resting: Holdings | None) -> Holdings:
        """What the service holds when it is over. `resting`: what it should be."""
        control = Control(self._service, self.ledger.fault)
        try:
            layers = await self._deploy(control)
            self._say(f"calling {len(self._subjects)} functions in {len(self._kinds)} ways for {seconds:.0f} s …")
            await self._call(seconds)
            self._say("waiting for what was accepted …")
            await self._read_logs()
            for name in self._subjects:
                await control.delete(name, changes.CONFLICTS)
            for arn in layers:
                await control.delete_layer(arn)
            self._delete_logs()
        finally:
            control.close()
            self.counts += control.counts
        self.ledger.close()
        self._say("waiting for rest …")
        return await rest(self._service, self._place, resting)

    async def _deploy(self, control: Control) -> list[str]:
        """The layers made."""
        layered = any(subject.layered for subject in self._subjects.values())
        layers = [await control.publish_layer()] if layered else []
        for subject in self._subjects.values():
            await control.create(subject, layers)
        for subject in self._subjects.values():
            await control.until_active(subject)
        changing = self._subjects["soak-changing"]
        for variant in range(VARIANTS):  # in the first lap as in any other
            await control.update_code(changing, variant)
            await control.until_active(changing)
        await control.bury("soak-broken", "soak-steady")
        return layers

    async def _call(self, seconds: float) -> None:
        until = monotonic() + seconds
        with_changes = [
            self._changing(changes.keep_changing, "soak-changing"),
            self._changing(changes.keep_deleting, "soak-phoenix"),
            self._changing(changes.keep_reserving, "soak-reserved"),
        ]
        if "soak-snapped" in self._subjects:
            with_changes.append(self._changing(changes.keep_changing, "soak-snapped"))
        background = [asyncio.create_task(work) for work in with_changes]
        try:
            await asyncio.gather(*(self._caller(until) for _ in range(CALLERS)))
        finally:
            for task in background:
                task.cancel()
            await asyncio.gather(*background, return_exceptions=True)

    async def _changing(
        self, change: Callable[[Control, Subject, random.Random], Coroutine[Any, Any, None]], name: str
    ) -> None:
        control = Control(self._service, self.ledger.fault)
        try:
            while True:
                try:
                    await change(control, self._subjects[name], self._chance)
                except Refused:  # told already
                    await asyncio.sleep(1)
        finally:
            control.close()
            self.counts += control.counts

    async def _caller(self, until: float) -> None:
        caller = Caller(self._service.port)
        shares = [kind.share for kind in self._kinds]
        try:
            for kind in self._first:  # each once, in whatever time that takes: no lap does less than the first
                await self._one(caller, kind)
            while monotonic() < until:
                (kind,) = self._chance.choices(self._kinds, shares)
                await self._one(caller, kind)
        finally:
            caller.close()
            self.ledger.faults += caller.faults

    async def _one(self, caller: Caller, kind: Kind) -> None:
        id = self.ledger.begin(kind)
        method, target, body, headers = kind.request(id, self._chance)
        request = self._service.signed(method, target, body, **headers)
        try:
            if kind.hangs_up:
                await caller.leave(request, self._chance.uniform(0.01, 0.2))
                self.ledger.hung_up(id)
            else:
                self.ledger.answered(id, await caller.ask(request))
        except NoAnswer as error:
            self.ledger.wrong(id, str(error))

    async def _read_logs(self) -> None:
        """Until all that must have run has told so, or there is no hope."""
        seen: set[str] = set()
        deadline = monotonic() + DRAIN
        with closing(self._service.client("logs")) as client:
            while True:
                for group in self._groups(client):
                    pages = client.get_paginator("filter_log_events").paginate(
                        logGroupName=group, filterPattern="?ran ?buried"
                    )
                    for page in pages:
                        new = [event for event in page["events"] if event["eventId"] not in seen]
                        seen |= {event["eventId"] for event in new}
                        self.ledger.read(event["message"] for event in new)
                if not self.ledger.awaited or monotonic() > deadline:
                    return
                await asyncio.sleep(1)

    def _groups(self, client: Any) -> list[str]:
        pages = client.get_paginator("describe_log_groups").paginate(logGroupNamePrefix="/aws/lambda/soak-")
        return [group["logGroupName"] for page in pages for group in page["logGroups"]]

    def _delete_logs(self) -> None:
        with closing(self._service.client("logs")) as client:
            for group in self._groups(client):
                client.delete_log_group(logGroupName=group)
