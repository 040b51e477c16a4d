"""Environments in great number: started and ended in batches, and nothing is left of any."""

import asyncio
import json

from bench.service import Service
from bench.soak.caller import Answer, Caller, NoAnswer
from bench.soak.changes import Control
from bench.soak.laps import Say
from bench.soak.ledger import Ledger
from bench.soak.rest import Place, rest
from bench.soak.subjects import Subject

BATCH = 50  # environments at once
HOLD = 1.5  # seconds that each call lasts, so that none finds another's environment free


async def crowds(service: Service, place: Place, number: int, say: Say) -> Ledger:
    """Make and end so many environments; the faults are in the ledger."""
    ledger = Ledger(0)
    control = Control(service, ledger.fault)
    subject = Subject("soak-crowd", memory_size=128, timeout=300)
    try:
        await _batch(service, control, subject, 4, ledger)
        before = await rest(service, place)
        for begun in range(0, number, BATCH):
            say(f"{begun} of {number} environments …")
            await _batch(service, control, subject, min(BATCH, number - begun), ledger)
        after = await rest(service, place, before)
        for what in after.leftovers(before):
            ledger.fault(f"{number} environments left: {what}")
        memory = after.memory["service"] - before.memory["service"]
        say(f"{number} environments came and went; the service has grown by {memory:.1f} MB")
    finally:
        control.close()
    return ledger


async def _batch(service: Service, control: Control, subject: Subject, number: int, ledger: Ledger) -> None:
    """So many environments at once; they end with their function."""
    callers = [Caller(service.port) for _ in range(number)]
    await control.create(subject)
    await control.until_active(subject)

    async def call(caller: Caller) -> None:
        event = {"id": "s0n0", "do": "sleep", "seconds": HOLD}
        target = f"/2015-03-31/functions/{subject.name}/invocations"
        try:
            answer: Answer = await caller.ask(service.signed("POST", target, json.dumps(event).encode()))
        except NoAnswer as error:
            ledger.fault(f"in a batch of {number}: {error}")
            return
        if answer.status != 200 or answer.error_type:
            ledger.fault(f"in a batch of {number}: {answer.status} {answer.body[:300]!r}")

    await asyncio.gather(*map(call, callers))
    await control.delete(subject.name)
    for caller in callers:
        caller.close()
        ledger.faults += caller.faults
