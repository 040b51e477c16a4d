"""What all kinds of filter patterns are made of: words, quoted texts, wildcards and comparisons.

The scanner reads a pattern from left to right and never goes back; a wildcard is compared piece by piece, which takes
a time linear in the text.
"""

import operator
import re
from collections.abc import Callable
from typing import Final, Never

from lamplighter.telemetry.logs.errors import InvalidParameterException
from lamplighter.telemetry.logs.pattern_expressions import Expression

DEEPEST: Final = 32  # parentheses within each other
MOST_EXPRESSIONS: Final = 2  # regular expressions of a pattern of JSON or fields (AWS)

_SPACE: Final = re.compile(r"\s*")
_WORD: Final = re.compile(r"\w+")  # a term without quotes: letters, digits and underscores
_QUOTED: Final = re.compile(r'"((?:[^"\\]|\\.)*)"', re.DOTALL)
_EXPRESSION: Final = re.compile(r"%(?:[^%\\]|\\.)+%", re.DOTALL)
_ESCAPED: Final = re.compile(r"\\(.)", re.DOTALL)
_OPERATOR: Final = re.compile(r"!=|<=|>=|=|<|>")
_VALUE: Final = re.compile(r"[^\s,()\[\]{}&|<>=\"]+")  # of a comparison, without quotes
_NUMBER: Final = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d{1,3})?", re.ASCII)
LONGEST_NUMBER: Final = 64  # characters; longer ones are texts

_NUMERIC: Final[dict[str, Callable[[float, float], bool]]] = {
    "=": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    ">": operator.gt,
    "<=": operator.le,
    ">=": operator.ge,
}

Compare = Callable[[str], bool]


def number(text: str) -> float | None:
    return float(text) if len(text) <= LONGEST_NUMBER and _NUMBER.fullmatch(text) else None


def refuse(text: str = "Invalid filter pattern") -> Never:
    raise InvalidParameterException(text)


class Scanner:
    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.depth = 0
        self.expressions = 0

    def peek(self) -> str:
        """The next character that is not a space; empty at the end."""
        match = _SPACE.match(self.text, self.at)
        assert match is not None
        self.at = match.end()
        return self.text[self.at : self.at + 1]

    def take(self, text: str) -> bool:
        """Whether `text` comes next; then it is read."""
        self.peek()
        if not self.text.startswith(text, self.at):
            return False
        self.at += len(text)
        return True

    def expect(self, text: str) -> None:
        if not self.take(text):
            refuse()

    def match(self, pattern: re.Pattern[str]) -> str | None:
        """What of `pattern` comes next, exactly here."""
        match = pattern.match(self.text, self.at)
        if match is None:
            return None
        self.at = match.end()
        return match[0]

    def quoted(self) -> str | None:
        """A text in quotes; a backslash takes the next character as it is."""
        if self.peek() != '"':
            return None
        match = _QUOTED.match(self.text, self.at)
        if match is None:
            refuse()
        self.at = match.end()
        return _ESCAPED.sub(r"\1", match[1])

    def term(self) -> str:
        if (quoted := self.quoted()) is not None:
            return quoted if quoted else refuse()
        start = self.at
        self.match(_WORD)
        rest = self.text[start:].split(None, 1)
        word = rest[0] if rest else ""
        if not word or self.text[start : self.at] != word:
            refuse(f"Invalid character(s) in term '{word}'")
        return word

    def operator(self) -> str | None:
        self.peek()
        return self.match(_OPERATOR)

    def expression(self) -> Expression | None:
        """A regular expression between percent signs; None: something else comes next."""
        if self.peek() != "%":
            return None
        return Expression((self.match(_EXPRESSION) or refuse())[1:-1])

    def compared_expression(self) -> Expression | None:
        """One that a field or member is compared with, of which a pattern has two at most (AWS)."""
        expression = self.expression()
        if expression is not None:
            self.expressions += 1
            if self.expressions > MOST_EXPRESSIONS:
                refuse("Invalid filter pattern: it has more than two regular expressions")
        return expression

    def value(self) -> tuple[str, bool]:
        """The right side of a comparison, and whether it was in quotes."""
        if (quoted := self.quoted()) is not None:
            return quoted, True
        return self.match(_VALUE) or refuse(), False

    def nested(self) -> None:
        self.depth += 1
        if self.depth > DEEPEST:
            refuse()


def like(pattern: str) -> Compare:
    """Equal to, with `*` for any text."""
    if "*" not in pattern:
        return pattern.__eq__
    first, *middle, last = pattern.split("*")
    pieces = [piece for piece in middle if piece]

    def compare(text: str) -> bool:
        if len(text) < len(first) + len(last) or not text.startswith(first) or not text.endswith(last):
            return False
        at, end = len(first), len(text) - len(last)
        for piece in pieces:
            at = text.find(piece, at, end)
            if at < 0:
                return False
            at += len(piece)
        return True

    return compare


def numeric(sign: str, limit: float) -> Callable[[float], bool]:
    compare = _NUMERIC[sign]
    return lambda value: compare(value, limit)
