"""When nothing is on its way any more: what a service holds then."""

import asyncio
import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from time import monotonic

from bench.service import Service
from bench.soak.holdings import Holdings, holdings

REST = 45.0  # seconds for everything to end, idle environments included
STILL = 3.0  # seconds without a change
LOOK = 0.25  # seconds between two looks


@dataclass(frozen=True, slots=True)
class Place:
    """Where a service keeps what, and the name of its cgroups."""

    data: Path
    run: Path
    cgroups: str

    @classmethod
    def of(cls, data: str, isolation: str) -> "Place":
        path = Path(data)
        run = path / "run"
        if isolation == "full":
            run = Path("/run/lamplighter", hashlib.sha256(str(path).encode()).hexdigest()[:16])
        return cls(path, run, "lamplighter-" + hashlib.sha256(os.path.realpath(run).encode()).hexdigest()[:16])


async def rest(service: Service, place: Place, resting: Holdings | None = None) -> Holdings:
    """What is held once it is no more than `resting`, or not within the time for it; where that is not known, once it
    has been the same for so long that nothing is on its way any more."""

    def look() -> Holdings:
        return holdings(service.pid, place.data, place.run, place.cgroups)

    known, since = look(), monotonic()
    deadline = monotonic() + REST
    while monotonic() < deadline:
        if known.leftovers(resting) == [] if resting else monotonic() - since > STILL:
            break
        await asyncio.sleep(LOOK)
        now = look()
        if now.things != known.things:
            known, since = now, monotonic()
    return look()
