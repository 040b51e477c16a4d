"""What the replays share: the recordings, and how the service under test is asked and waited for.

A replay makes the calls that a recording must have come from and checks every answer of it; `replays` sees to it that
none was forgotten.
"""

import functools
import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest
from botocore.exceptions import ClientError

from functional.recorded.matching import Matching, Place, is_list, is_object

Client = Any  # boto3's clients have no types
Answer = dict[str, Any]
CreateFunction = Callable[..., Answer]
PublishLayer = Callable[..., Answer]
RefusedCreation = Callable[..., Answer]

ANSWERS: Final = Path(__file__).parent / "answers"
# What most recordings were made with.
USUAL: Final[dict[str, Any]] = {
    "Runtime": "python3.12",
    "Handler": "handler.handler",
    "Timeout": 30,
    "Environment": {"Variables": {}},
}
PLAIN: Final[dict[str, Any]] = {"Runtime": "python3.12", "Handler": "index.handler"}
# Polling is quicker than the SDK's; together with MaxAttempts it is a deadline of 30 seconds.
POLLING: Final[dict[str, Any]] = {"Delay": 0.05, "MaxAttempts": 600}


class Recording:
    """The answers of one recording, each checked against the service's."""

    def __init__(self, key: str, day: str, answers: dict[str, Any], place: Place) -> None:
        self.key = key
        self._answers = answers
        self._left = set(answers)
        self._matching = Matching(place, day)
        self.known = self._matching.known

    def __getitem__(self, name: str) -> Any:
        return self._answers[name]

    def __contains__(self, name: str) -> bool:
        return name in self._answers

    def check(self, name: str, answer: object) -> None:
        """The answer is the recorded one."""
        __tracebackhide__ = True
        self._compare(name, self._answers[name], answer)

    def check_without(self, members: set[str], name: str, answer: Answer) -> None:
        """As `check`, but for members that newer recordings show to have changed."""
        self._compare(name, _without(members, self._answers[name]), _without(members, answer))

    def check_updating(self, name: str, answer: Answer) -> None:
        """As `check`, for an answer that shows an update while it goes on; a service that was done by then is right,
        too, but has to look like it."""
        recorded = self._answers[name]
        if answer.get("Configuration", answer).get("LastUpdateStatus") == "Successful":
            recorded = _settled(recorded)
            answer = _without({"RevisionId"}, answer)
        self._compare(name, recorded, answer)

    def leave_out(self, *names: str) -> None:
        """Answers that are not for this replay; the caller says why in a comment."""
        for name in names:
            del self._answers[name]
        self._left.difference_update(names)

    def finish(self) -> None:
        assert not self._left, f"{self.key}: never checked: {sorted(self._left)}"

    def _compare(self, name: str, recorded: object, answer: object) -> None:
        __tracebackhide__ = True
        self._left.discard(name)
        differences = self._matching.differences(recorded, answer)
        assert not differences, "\n".join([f"{self.key}: {name}", *differences])


def _without(members: set[str], value: Any) -> Any:
    if is_object(value):
        return {name: _without(members, inner) for name, inner in value.items() if name not in members}
    if is_list(value):
        return [_without(members, inner) for inner in value]
    return value


def _settled(recorded: Any) -> Any:
    gone = {"LastUpdateStatusReason", "LastUpdateStatusReasonCode", "RevisionId"}
    if "Configuration" in recorded:
        return recorded | {"Configuration": _settled(recorded["Configuration"])}
    return _without(gone, recorded) | {"LastUpdateStatus": "Successful"}


@functools.cache
def _recordings() -> dict[str, Any]:
    return {key: one for path in ANSWERS.glob("*.json") for key, one in json.loads(path.read_text()).items()}


def read(key: str, place: Place) -> Recording:
    recording = _recordings()[key]
    return Recording(key, recording["recorded"], dict(recording["answers"]), place)


def keys(start: str) -> list[str]:
    """Of all recordings that begin so."""
    return sorted(key for key in _recordings() if key.startswith(start))


def replays(*which: str) -> Callable[[Callable[..., None]], Any]:
    """The test replays these recordings, one at a time; it gets each as `aws`."""

    def decorate(test: Callable[..., None]) -> Any:
        @functools.wraps(test)
        def whole(aws: Recording, **fixtures: Any) -> None:
            test(aws=aws, **fixtures)
            aws.finish()

        return pytest.mark.parametrize("aws", which, ids=which, indirect=True)(whole)

    return decorate


def package(content: str = "", name: str = "handler.py") -> bytes:
    """A zip with one file; the same content gives the same CodeSha256."""
    buffer = io.BytesIO()
    entry = zipfile.ZipInfo(name)  # its date is fixed
    entry.external_attr = 0o644 << 16
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(entry, content or "def handler(event, context):\n    return event\n")
    return buffer.getvalue()


def refusal(call: Callable[..., Any], **inputs: Any) -> Answer:
    """What the service says when it refuses."""
    with pytest.raises(ClientError) as caught:
        call(**inputs)
    error: Any = caught.value  # botocore has no types
    return error.response


def active(client: Client, name: str) -> None:
    client.get_waiter("function_active_v2").wait(FunctionName=name, WaiterConfig=POLLING)


def updated(client: Client, name: str) -> None:
    client.get_waiter("function_updated_v2").wait(FunctionName=name, WaiterConfig=POLLING)
