"""A template's copies, as process A of its sandbox knows them: it is their parent, and tells how each ended.

What it is told comes from the template's keeper, never from a guest. CPython 3.9 and later.
"""

from __future__ import annotations

import json
import os

from lamplighter.sandbox.channel import Channel, Malformed, close_all

_SIGNALLED = range(129, 193)  # a copy's own process 1 can't die of a signal: it exits as a shell would


class Copies:
    def __init__(self, keeper: Channel) -> None:
        self.keeper = keeper
        self._statuses: dict[int, int] = {}  # by pid: the socket on which its service is told of its end

    def obey(self) -> bool:
        """Answer the keeper. False once it is gone."""
        try:
            packet = self.keeper.receive()
        except Malformed:
            return True
        if packet is None:
            return False
        body, descriptors = packet
        if "copy" in body:
            self._statuses[body["copy"]] = descriptors.pop()
        else:
            self.keeper.send({"here": True})
        close_all(descriptors)
        return True

    def ended(self, pid: int, result: int) -> None:
        """A child that was reaped: a copy, or somebody's orphan."""
        status = self._statuses.pop(pid, -1)
        if status < 0:
            return
        code = 128 + os.WTERMSIG(result) if os.WIFSIGNALED(result) else os.WEXITSTATUS(result)
        how = {"code": None, "signal": code - 128} if code in _SIGNALLED else {"code": code, "signal": None}
        try:
            os.write(status, json.dumps({**how, "refusal": None}).encode())
        except OSError:
            pass  # the service is gone
        os.close(status)
