"""What became of each call of a lap: how it was answered, and how often it ran, which the function's log tells."""

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import count

from bench.soak.caller import Answer
from bench.soak.kinds import Kind

RAN = re.compile(r"\b(ran|buried) (s\d+n\d+)\b")
BURIED = "event that fails"  # the kind whose events end at a destination, which logs them
TOLD = 8  # faults of one sort that are told in full


@dataclass(slots=True)
class _Call:
    kind: Kind
    outcome: str = "under way"  # then: right, refused, hung up


class Ledger:
    """`lap`: part of each call's id."""

    def __init__(self, lap: int) -> None:
        self._lap = lap
        self._numbers = count(1)
        self._calls: dict[str, _Call] = {}
        self._ran: Counter[str] = Counter()
        self._buried: Counter[str] = Counter()
        self._request_ids: set[str] = set()
        self._wrong: Counter[str] = Counter()  # by kind
        self.faults: list[str] = []

    def begin(self, kind: Kind) -> str:
        """The id of a new call."""
        id = f"s{self._lap}n{next(self._numbers)}"
        self._calls[id] = _Call(kind)
        return id

    def answered(self, id: str, answer: Answer) -> None:
        call = self._calls[id]
        request_id = answer.headers.get("x-amzn-requestid", "")
        if not request_id or request_id in self._request_ids:
            self.wrong(id, f"its request id {request_id!r} is another's")
        self._request_ids.add(request_id)
        if call.kind.right(answer, id):
            call.outcome = "right"
        elif answer.error_type in call.kind.refusals and answer.status >= 400:
            call.outcome = "refused"
        else:
            told = f"{answer.status} {answer.error_type} {answer.body[:300]!r}"
            self.wrong(id, f"{told} {answer.complete}" if answer.complete else told)

    def hung_up(self, id: str) -> None:
        self._calls[id].outcome = "hung up"

    def wrong(self, id: str, what: str) -> None:
        self._calls[id].outcome = "wrong"
        self._wrong[self._calls[id].kind.name] += 1
        self.fault(f"{self._calls[id].kind.name}: {what}")

    def fault(self, what: str) -> None:
        self.faults.append(what)

    def read(self, lines: Iterable[str]) -> None:
        """Lines of functions' logs, each once."""
        for line in lines:
            for what, id in RAN.findall(line):
                (self._ran if what == "ran" else self._buried)[id] += 1

    @property
    def awaited(self) -> list[str]:
        """Calls whose run, or burial, no log has told yet."""
        return [
            id
            for id, call in self._calls.items()
            if call.outcome == "right"
            and call.kind.runs
            and (not self._ran[id] or (call.kind.name == BURIED and not self._buried[id]))
        ]

    def close(self) -> None:
        """The logs have been read: compare."""
        for id, call in self._calls.items():
            ran = self._ran[id]
            if call.outcome == "under way":
                self.wrong(id, "it has no answer")
            elif call.outcome == "right" and call.kind.runs and ran == 0:
                self.wrong(id, f"{id} was answered, but has not run")
            elif ran > 1 and not call.kind.asynchronous:
                self.wrong(id, f"{id} has run {ran} times")
            elif ran and call.outcome == "refused":
                self.wrong(id, f"{id} was refused, and has run")
            elif call.kind.name == BURIED and call.outcome == "right" and not self._buried[id]:
                self.wrong(id, f"{id} has not reached its destination")
        if unknown := self._ran.keys() - self._calls.keys():
            self.fault(f"{len(unknown)} runs of calls that were never made, such as {min(unknown)}")

    def rows(self) -> list[tuple[str, Counter[str]]]:
        """By kind: the outcomes, and `runs`."""
        found: dict[str, Counter[str]] = {}
        for id, call in self._calls.items():
            row = found.setdefault(call.kind.name, Counter())
            row[call.outcome] += 1
            row["runs"] += self._ran[id]
        return sorted(found.items())
