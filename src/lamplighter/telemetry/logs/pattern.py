"""CloudWatch's filter patterns: `ERROR "not found" -debug`, `?ERROR ?WARN`, `{ $.level = "error" }`, `[ip, code = 4*]`.

A pattern comes from whoever may read logs, a message from whoever may write them; neither may cost more than a time
linear in its size. So nothing here backtracks, and regular expressions (`%…%`) are not Python's. Patterns look at
bytes: a message is decoded only by those that have to.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from lamplighter.telemetry.logs.pattern_fields import parse_fields
from lamplighter.telemetry.logs.pattern_json import parse_json
from lamplighter.telemetry.logs.pattern_text import Scanner

Matches = Callable[[bytes], bool]


@dataclass(frozen=True, slots=True)
class Pattern:
    """`matches`: of one message. `required`: texts that any message which matches has in it, and `one_of`: texts of
    which it has one; `escapes`: except where a backslash may write them otherwise (in JSON)."""

    matches: Matches
    required: Sequence[bytes] = ()
    one_of: Sequence[bytes] = ()
    escapes: bool = False

    def may_match(self, block: bytes) -> bool:
        """False: none of the messages in `block` matches. A small part of the cost of asking each."""
        for text in self.required:
            if text not in block:
                return self.escapes and b"\\" in block
        return not self.one_of or any(text in block for text in self.one_of)


EVERYTHING: Final = Pattern(lambda message: True)


def parse_pattern(text: str) -> Pattern:
    """Raises InvalidParameterException."""
    scanner = Scanner(text)
    first = scanner.peek()
    if not first:
        return EVERYTHING
    if first == "{":
        matches, required = parse_json(scanner)
        return Pattern(matches, tuple(sorted(required)), escapes=True)
    if first == "[":
        return Pattern(parse_fields(scanner))
    return _parse_terms(scanner)


def _parse_terms(scanner: Scanner) -> Pattern:
    wanted: list[Pattern] = []
    optional: list[Pattern] = []
    unwanted: list[Pattern] = []
    while sign := scanner.peek():
        kind = {"?": optional, "-": unwanted}.get(sign, wanted)
        if kind is not wanted:
            scanner.take(sign)
        kind.append(_parse_term(scanner))
    if len(wanted) == 1 and not unwanted:
        return wanted[0]
    if optional and not wanted and not unwanted:
        return Pattern(lambda message: any(term.matches(message) for term in optional), one_of=_one_of(optional))
    # AWS ignores optional terms beside others.

    def matches(message: bytes) -> bool:
        return all(term.matches(message) for term in wanted) and not any(term.matches(message) for term in unwanted)

    return Pattern(matches, tuple(text for term in wanted for text in term.required))


def _parse_term(scanner: Scanner) -> Pattern:
    if (expression := scanner.expression()) is not None:
        return Pattern(expression.search, expression.required, expression.one_of)
    text = scanner.term().encode("utf-8", "surrogatepass")
    return Pattern(lambda message: text in message, (text,))


def _one_of(terms: Sequence[Pattern]) -> Sequence[bytes]:
    """Texts of which a message that one of the terms matches has one; none if a term may do without."""
    texts = [term.one_of or term.required[:1] for term in terms]
    return tuple(text for each in texts for text in each) if all(texts) else ()
