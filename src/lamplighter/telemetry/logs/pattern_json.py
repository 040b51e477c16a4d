"""Filter patterns for JSON messages: `{ ($.level = "error" || $.code >= 500) && $.user.name IS NULL }`.

What a selector names is compared if it is there; a message that is no JSON object or array matches nothing.
"""

import re
from collections.abc import Callable
from typing import Any, Final, NamedTuple, cast

import orjson

from lamplighter.telemetry.logs.pattern_expressions import Expression
from lamplighter.telemetry.logs.pattern_text import Compare, Scanner, like, number, numeric, refuse

_NAME: Final = re.compile(r"[\w\-]+")
_INDEX: Final = re.compile(r"\d{1,6}", re.ASCII)
_KEYWORDS: Final = re.compile(r"IS\s+NULL|IS\s+TRUE|IS\s+FALSE|NOT\s+EXISTS|EXISTS", re.IGNORECASE)
_MISSING: Final = object()

Steps = tuple[str | int, ...]
Test = Callable[[Any], bool]


class Node(NamedTuple):
    """A condition, and texts that the JSON of a message must have in it to fulfil it."""

    test: Test
    required: frozenset[bytes]


NOTHING: Final = frozenset[bytes]()


def parse_json(scanner: Scanner) -> tuple[Callable[[bytes], bool], frozenset[bytes]]:
    scanner.expect("{")
    root = _any(scanner)
    scanner.expect("}")
    if scanner.peek():
        refuse()

    def matches(message: bytes) -> bool:
        try:
            document = orjson.loads(message)
        except orjson.JSONDecodeError:
            return False
        return isinstance(document, dict | list) and root.test(document)

    return matches, root.required


def _any(scanner: Scanner) -> Node:
    nodes = [_all(scanner)]
    while scanner.take("||"):
        nodes.append(_all(scanner))
    if len(nodes) == 1:
        return nodes[0]
    required = nodes[0].required
    for node in nodes:
        required &= node.required
    tests = [node.test for node in nodes]

    def test(document: Any) -> bool:
        return any(test(document) for test in tests)

    return Node(test, required)


def _all(scanner: Scanner) -> Node:
    nodes = [_condition(scanner)]
    while scanner.take("&&"):
        nodes.append(_condition(scanner))
    if len(nodes) == 1:
        return nodes[0]
    required = NOTHING
    for node in nodes:
        required |= node.required
    tests = [node.test for node in nodes]

    def test(document: Any) -> bool:
        return all(test(document) for test in tests)

    return Node(test, required)


def _condition(scanner: Scanner) -> Node:
    if scanner.take("("):
        scanner.nested()
        node = _any(scanner)
        scanner.expect(")")
        scanner.depth -= 1
        return node
    steps = _selector(scanner)
    named = frozenset(step.encode() for step in steps if isinstance(step, str))
    scanner.peek()
    if (keyword := scanner.match(_KEYWORDS)) is not None:
        keyword = " ".join(keyword.upper().split())
        return _at(steps, _KEYWORD_TESTS[keyword], NOTHING if keyword == "NOT EXISTS" else named)
    operator = scanner.operator()
    if operator is None:
        refuse()
    if (expression := scanner.compared_expression()) is not None:
        return _at(steps, _searching(operator, expression), named)
    text, quoted = scanner.value()
    required = named | _literals(text) if operator == "=" else named
    return _at(steps, _comparison(operator, text, quoted), required)


def _literals(text: str) -> frozenset[bytes]:
    """What the JSON of an equal value must have in it. Not what may be a number, which can be written in many ways."""
    pieces = (piece for piece in text.split("*") if any(c.isalpha() and c not in "eE" for c in piece))
    return frozenset(piece.encode("utf-8", "surrogatepass") for piece in pieces)


def _at(steps: Steps, test: Test, required: frozenset[bytes]) -> Node:
    def find_and_test(document: Any) -> bool:
        return test(_find(document, steps))

    return Node(find_and_test, required)


_KEYWORD_TESTS: Final[dict[str, Test]] = {
    "IS NULL": lambda value: value is None,
    "IS TRUE": lambda value: value is True,
    "IS FALSE": lambda value: value is False,
    "NOT EXISTS": lambda value: value is _MISSING,
    "EXISTS": lambda value: value is not _MISSING,
}


def _selector(scanner: Scanner) -> Steps:
    """`$.a.b[0]`, also `$.['a.b']`."""
    scanner.expect("$")
    steps: list[str | int] = []
    while True:
        here = scanner.text[scanner.at : scanner.at + 1]
        dot = here == "."
        if dot:
            scanner.at += 1
            here = scanner.text[scanner.at : scanner.at + 1]
        if here == "[":
            scanner.at += 1
            steps.append(_bracketed(scanner))
        elif dot:
            steps.append(scanner.match(_NAME) or refuse())
        else:
            break
    return tuple(steps) if steps else refuse()


def _bracketed(scanner: Scanner) -> str | int:
    quote = scanner.peek()
    if quote in ("'", '"') and quote:
        end = scanner.text.find(quote, scanner.at + 1)
        if end < 0:
            refuse()
        name = scanner.text[scanner.at + 1 : end]
        scanner.at = end + 1
        scanner.expect("]")
        return name
    index = scanner.match(_INDEX) or refuse()
    scanner.expect("]")
    return int(index)


def _find(document: Any, steps: Steps) -> Any:
    for step in steps:
        if isinstance(step, str):
            if not isinstance(document, dict):
                return _MISSING
            document = cast(dict[str, Any], document).get(step, _MISSING)
        else:
            if not isinstance(document, list) or step >= len(cast(list[Any], document)):
                return _MISSING
            document = cast(list[Any], document)[step]
    return document


def _comparison(operator: str, text: str, quoted: bool) -> Test:
    limit = None if quoted else number(text)
    if operator not in ("=", "!=") and limit is None:
        refuse()
    by_text = _texts(operator, like(text)) if operator in ("=", "!=") else None
    by_number = numeric(operator, limit) if limit is not None else None

    def test(value: Any) -> bool:
        if by_number is not None and isinstance(value, int | float) and not isinstance(value, bool):
            return by_number(value)
        written = _written(value)
        return written is not None and by_text is not None and by_text(written)

    return test


def _searching(operator: str, expression: Expression) -> Test:
    if operator not in ("=", "!="):
        refuse()
    wanted = operator == "="

    def test(value: Any) -> bool:
        written = _written(value)
        return written is not None and expression.search(written.encode()) is wanted

    return test


def _texts(operator: str, same: Compare) -> Compare:
    return same if operator == "=" else lambda text: not same(text)


def _written(value: Any) -> str | None:
    """A value as a text to compare with; None for what is not there, null, and structures."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, int | float) else None
