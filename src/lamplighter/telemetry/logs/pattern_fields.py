"""Filter patterns for messages of fields between spaces: `[ip, user, ..., status = 4*, bytes > 1000]`.

A part of the message in quotes or square brackets is one field. There must be as many fields as in the pattern, unless
it has an ellipsis, which stands for any number of them.
"""

import re
from collections.abc import Callable, Sequence
from typing import Final

from lamplighter.telemetry.logs.pattern_text import Compare, Scanner, like, number, numeric, refuse

_START: Final = re.compile(r"\S")
_SPACE: Final = re.compile(r"\s")
_NAME: Final = re.compile(r"[\w\-$]+")

Test = Callable[[str], bool]


def split(message: str) -> list[str]:
    """Linear also for what opens many brackets and closes none."""
    found: list[str] = []
    unclosed: set[str] = set()
    at = 0
    while (match := _START.search(message, at)) is not None:
        at = match.start()
        closing = {'"': '"', "[": "]"}.get(message[at])
        end = message.find(closing, at + 1) if closing is not None and closing not in unclosed else -1
        if end >= 0:
            found.append(message[at + 1 : end])
            at = end + 1
        else:
            if closing is not None:
                unclosed.add(closing)
            rest = _SPACE.search(message, at)
            end = len(message) if rest is None else rest.start()
            found.append(message[at:end])
            at = end
    return found


def parse_fields(scanner: Scanner) -> Callable[[bytes], bool]:
    scanner.expect("[")
    tests: list[Test | None] = []  # None: any text
    gap: int | None = None
    while True:
        if scanner.take("..."):
            if gap is not None:
                refuse()
            gap = len(tests)
        else:
            tests.append(_any(scanner))
        if not scanner.take(","):
            break
    scanner.expect("]")
    if scanner.peek():
        refuse()
    if gap is None:
        return lambda message: _matches(_fields(message), tests, len(tests))
    head, tail = tests[:gap], tests[gap:]

    def matches(message: bytes) -> bool:
        fields = _fields(message)
        if len(fields) < len(head) + len(tail):
            return False
        return _matches(fields[: len(head)], head, len(head)) and _matches(
            fields[len(fields) - len(tail) :], tail, len(tail)
        )

    return matches


def _fields(message: bytes) -> list[str]:
    return split(message.decode("utf-8", "replace"))


def _matches(fields: Sequence[str], tests: Sequence[Test | None], count: int) -> bool:
    if len(fields) != count:
        return False
    return all(test is None or test(value) for value, test in zip(fields, tests, strict=True))


def _any(scanner: Scanner) -> Test | None:
    tests = [_all(scanner)]
    while scanner.take("||"):
        tests.append(_all(scanner))
    if len(tests) == 1:
        return tests[0]
    known = [test for test in tests if test is not None]
    return (lambda value: any(test(value) for test in known)) if len(known) == len(tests) else None


def _all(scanner: Scanner) -> Test | None:
    tests = [_condition(scanner)]
    while scanner.take("&&"):
        tests.append(_condition(scanner))
    known = [test for test in tests if test is not None]
    if len(known) <= 1:
        return known[0] if known else None
    return lambda value: all(test(value) for test in known)


def _condition(scanner: Scanner) -> Test | None:
    """`name`, or `name operator value`, or several of these in parentheses."""
    if scanner.take("("):
        scanner.nested()
        test = _any(scanner)
        scanner.expect(")")
        scanner.depth -= 1
        return test
    scanner.peek()
    if scanner.match(_NAME) is None:
        refuse()
    operator = scanner.operator()
    if operator is None:
        return None
    if (expression := scanner.compared_expression()) is not None:
        if operator not in ("=", "!="):
            refuse()
        wanted = operator == "="
        return lambda value: expression.search(value.encode()) is wanted
    text, quoted = scanner.value()
    limit = None if quoted else number(text)
    if limit is not None:
        return _numbers(operator, limit, like(text))
    if operator not in ("=", "!="):
        refuse()
    same = like(text)
    return same if operator == "=" else lambda value: not same(value)


def _numbers(operator: str, limit: float, same: Compare) -> Test:
    compare = numeric(operator, limit)

    def test(value: str) -> bool:
        found = number(value)
        if found is not None:
            return compare(found)
        return operator == "!=" and not same(value)

    return test
