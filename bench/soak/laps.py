"""A lap of the soak: deploy, call while everything changes, wait for what was accepted, take all away, and look."""

import asyncio
import contextlib
import os
import random
import signal
from collections import Counter
from collections.abc import Callable, Coroutine
from contextlib import closing
from time import monotonic
from typing import Any

from bench.service import Service
from bench.soak import changes
from bench.soak.caller import Answer, Caller, NoAnswer
from bench.soak.changes import Control, Refused
from bench.soak.holdings import Holdings, processes
from bench.soak.kinds import KINDS, Kind
from bench.soak.ledger import Ledger
from bench.soak.rest import Place, rest
from bench.soak.subjects import VARIANTS, Subject

CALLERS = 16
KILLING = 4  # callers while fork servers are killed
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
            self._say("killing fork servers under calls …")
            await self._kill_fork_servers()
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

    async def _kill_fork_servers(self) -> None:
        """One after the other, by kill -9, in the middle of calls. Those are not in the ledger, as such a death may
        cost them; but each has an answer, and those that come after it succeed."""
        kind = next(kind for kind in KINDS if kind.name == "answered slowly")
        over = asyncio.Event()

        async def calls(number: int) -> None:
            caller = Caller(self._service.port)
            try:
                while not over.is_set():
                    await self._unlisted(caller, kind, number)
            finally:
                caller.close()

        callers = [asyncio.create_task(calls(number)) for number in range(KILLING)]
        try:
            for pid in [pid for pid, role in processes(self._service.pid) if role == "fork server"]:
                await asyncio.sleep(self._chance.random())
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        finally:
            over.set()
            await asyncio.gather(*callers)
        caller = Caller(self._service.port)
        try:
            for number in range(KILLING):
                if (answer := await self._unlisted(caller, kind, number)) is None or not kind.right(answer, "-"):
                    self.ledger.fault(f"after its fork server was killed a function answers {answer}")
        finally:
            caller.close()

    async def _unlisted(self, caller: Caller, kind: Kind, number: int) -> Answer | None:
        method, target, body, headers = kind.request("-", self._chance)
        try:
            return await caller.ask(self._service.signed(method, target, body, **headers))
        except NoAnswer as error:
            self.ledger.fault(f"a call beside kills of fork servers ({number}): {error}")
            return None

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
