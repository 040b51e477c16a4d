"""Whether an answer is the one that AWS gave, when the two differ in everything that is made up per call.

In recorded answers such values are placeholders: `<uuid:1>`, `<function-name:1>`, `date`. Within one recording the same
placeholder always stands for the same value, and two numbers of a kind for two different values: that is what says that
a RevisionId changed, or did not. Everything else has to be equal: members that are missing, members that are too many,
types, texts with their regular expressions.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeGuard

RECORDED_ACCOUNT = "111111111111"

# Members that AWS's answers have had since the day of the first recording that shows them: an older recording without
# them is no reason to leave them out.
MEMBERS_SINCE = {
    "LoggingConfig": "2024-04-08",  # advanced logging controls
    "RuntimeVersionConfig": "2024-04-08",  # runtime management
    "SnapStart": "2024-04-08",
}

PLACEHOLDER = re.compile(r"<(?P<name>(?P<kind>[a-z][a-z0-9_-]*)(?::(?P<number>\d+))?)>")
REPETITION = re.compile(r"<a:len\((\d+)\)>")
FORMS = {
    "uuid": r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}",
    "code-sha256": r"[A-Za-z0-9+/]{43}=",
    "function-name": r"[a-zA-Z0-9-_]+",
    "resource": r"[^:\s\"]+",
}
ANY_FORM = r".+"
URL = r"https?://[^/\s]+/\S*"

# Values that are placeholders as a whole, by the text that stands for them.
WHOLE: dict[str, Callable[[object], bool]] = {
    "<code-size>": lambda value: type(value) is int and value > 0,
    "<location>": lambda value: _is_text(value, URL),
    "<layer-location>": lambda value: _is_text(value, URL),
    "<function-url>": lambda value: _is_text(value, URL),
    "lambda-url": lambda value: _is_text(value, URL),
    "code-sha256": lambda value: _is_text(value, FORMS["code-sha256"]),
}
# "date", by the member: AWS writes its times in several ways (AWS: spec 1.1).
MILLISECONDS = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+0000"
SECONDS = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+0000"
MICROSECONDS = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{1,9}Z"
DATES = {
    "CreatedDate": MILLISECONDS,
    "CreationTime": MICROSECONDS,
    "LastModifiedTime": MICROSECONDS,
    "LastModified": f"{MILLISECONDS}|{SECONDS}",
    "timestamp": r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z",
}


@dataclass(frozen=True)
class Place:
    """Where the answers come from."""

    account: str
    region: str
    partition: str = "aws"

    def arn(self, resource: str) -> str:
        return f"arn:{self.partition}:lambda:{self.region}:{self.account}:{resource}"


@dataclass
class Matching:
    """Compares the answers of one recording. `day`: when it was recorded, YYYY-MM-DD. `known`: what placeholders stand
    for, by their names; comparing adds to it."""

    place: Place
    day: str = "9999-12-31"
    known: dict[str, str] = field(default_factory=dict[str, str])

    def __post_init__(self) -> None:
        self.known |= {"region": self.place.region, "partition": self.place.partition}

    def differences(self, recorded: object, answer: object) -> list[str]:
        """A line for each; none: the answer matches."""
        return list(self._compare("", recorded, answer))

    def _compare(self, path: str, recorded: object, answer: object) -> Iterator[str]:
        if isinstance(answer, str) and (is_object(recorded) or is_list(recorded)):
            answer = _read_json(answer)  # policies and statements are texts on the wire
        if is_object(recorded) and is_object(answer):
            yield from self._compare_members(path, recorded, answer)
        elif is_list(recorded) and is_list(answer):
            yield from self._compare_items(path, recorded, answer)
        elif not self._same_value(path, recorded, answer):
            yield f"{path}: recorded {_short(recorded)}, answered {_short(answer)}{self._hint(recorded)}"

    def _compare_members(self, path: str, recorded: Mapping[str, Any], answer: Mapping[str, Any]) -> Iterator[str]:
        for name, value in recorded.items():
            member = f"{path}.{name}" if path else self._filled(name)
            if name == "ResponseMetadata":
                yield from self._compare(member, value, {"HTTPStatusCode": answer.get(name, {}).get("HTTPStatusCode")})
            elif name not in answer:
                yield f"{member}: recorded {_short(value)}, missing in the answer"
            else:
                yield from self._compare(member, value, answer[name])
        for name in answer.keys() - recorded.keys() - {"ResponseMetadata"}:
            if self.day >= MEMBERS_SINCE.get(name, ""):
                yield f"{path}.{name}: not recorded, answered {_short(answer[name])}"

    def _compare_items(self, path: str, recorded: Sequence[Any], answer: Sequence[Any]) -> Iterator[str]:
        if len(recorded) != len(answer):
            yield f"{path}: recorded {len(recorded)} items, answered {len(answer)}: {_short(answer)}"
        for index, (one, other) in enumerate(zip(recorded, answer, strict=False)):
            yield from self._compare(f"{path}[{index}]", one, other)

    def _same_value(self, path: str, recorded: object, answer: object) -> bool:
        if not isinstance(recorded, str):
            return type(recorded) is type(answer) and recorded == answer
        if recorded in WHOLE:
            return WHOLE[recorded](answer)
        if recorded == "date":
            return _is_text(answer, DATES[path.rpartition(".")[2]])
        return isinstance(answer, str) and self._same_text(recorded, answer)

    def _same_text(self, recorded: str, answer: str) -> bool:
        """Binds what is met for the first time."""
        names: dict[str, str] = {}  # of the groups of the expression
        pattern: list[str] = []
        at = 0
        text = REPETITION.sub(lambda match: "a" * int(match[1]), recorded)
        for found in PLACEHOLDER.finditer(text):
            pattern.append(re.escape(self._moved(text[at : found.start()])))
            at = found.end()
            name, kind = found["name"], found["kind"]
            if name in self.known:
                pattern.append(re.escape(self.known[name]))
            elif name in names:
                pattern.append(f"(?P={names[name]})")
            else:
                names[name] = f"p{len(names)}"
                pattern.append(f"(?P<{names[name]}>{FORMS.get(kind, ANY_FORM)})")
        pattern.append(re.escape(self._moved(text[at:])))
        match = re.fullmatch("".join(pattern), answer, re.DOTALL)
        return match is not None and all(self._bind(name, match[group]) for name, group in names.items())

    def _bind(self, name: str, value: str) -> bool:
        kind, _, number = name.partition(":")
        others = [known for other, known in self.known.items() if number and other.startswith(f"{kind}:")]
        if value in others:
            return False
        self.known[name] = value
        return True

    def _moved(self, text: str) -> str:
        return text.replace(RECORDED_ACCOUNT, self.place.account)

    def _filled(self, text: str) -> str:
        return PLACEHOLDER.sub(lambda found: self.known.get(found["name"], found[0]), self._moved(text))

    def _hint(self, recorded: object) -> str:
        met = {found["name"] for found in PLACEHOLDER.finditer(recorded if isinstance(recorded, str) else "")}
        shown = sorted(met & self.known.keys() - {"region", "partition"})
        return "".join(f"; <{name}> is {self.known[name]}" for name in shown)


def is_object(value: object) -> TypeGuard[dict[str, Any]]:
    return isinstance(value, dict)


def is_list(value: object) -> TypeGuard[list[Any]]:
    return isinstance(value, list)


def parsed_refusal(refusal: Mapping[str, Any]) -> dict[str, Any]:
    """A refusal as the recordings about names show it: code and text, or for the first validation layer the errors one
    by one, sorted, with the count that the text begins with."""
    code, message = refusal["Error"]["Code"], refusal["Error"]["Message"]
    if code != "ValidationException":
        return {"Code": code, "Message": message}
    match = re.fullmatch(r"(\d+) validation (errors?) detected: (.+)", message, re.DOTALL)
    assert match, f"no text of the first validation layer: {message}"
    count = int(match[1])
    assert match[2] == ("error" if count == 1 else "errors"), message
    return {"Code": code, "Count": count, "Errors": sorted(re.split(r"; (?=Value )", match[3]))}


def _is_text(value: object, form: str) -> bool:
    return isinstance(value, str) and re.fullmatch(form, value) is not None


def _read_json(text: str) -> object:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _short(value: object, most: int = 400) -> str:
    text = repr(value)
    return text if len(text) <= most else f"{text[: most - 1]}…"
