"""Regular expressions in filter patterns: `%ERR[A-Z]*\\d{3}$%`, as far as CloudWatch Logs has them.

They have neither groups nor looking around, so an expression is a few rows of characters, each of which may be left out
or repeated. All rows are followed at once, as bits of one number (extended shift-and), and what that gives is kept as
a table of states: a message is read once, byte by byte, whatever the expression. What cannot match is known from the
texts that an expression needs (`required`, `one_of`), as with other terms.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Never

from lamplighter.telemetry.logs.errors import InvalidParameterException

LARGEST: Final = 2048  # characters, once repetitions are written out
STATES: Final = 256  # rows of the table that are kept
OTHER: Final = 0x80  # stands for any character beyond ASCII: no expression tells them apart
_BEYOND: Final = re.compile(r"[^\x00-\x7f]")
_LITERAL: Final = re.compile(r"[A-Za-z0-9:_#=@/;,\- ]")
_REPEATED: Final = re.compile(r"\{(\d{1,4})(,(\d{0,4}))?\}", re.ASCII)
_HEX: Final = re.compile(r"[0-9a-fA-F]{2}")

_ALL: Final = frozenset(range(OTHER + 1))
_DIGIT: Final = frozenset(b"0123456789")
_SPACE: Final = frozenset(b" \t\n\r\f\v")
_WORD: Final = frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_")
_CLASSES: Final = {
    "d": _DIGIT,
    "D": _ALL - _DIGIT,
    "s": _SPACE,
    "S": _ALL - _SPACE,
    "w": _WORD,
    "W": _ALL - _WORD,
    "t": frozenset(b"\t"),
    "n": frozenset(b"\n"),
    "r": frozenset(b"\r"),
}
_DOT: Final = _ALL - frozenset(b"\n")


@dataclass(frozen=True, slots=True)
class Place:
    """One character of a row: which ones fit, and whether it may be missing or come again."""

    fits: frozenset[int]
    optional: bool = False
    repeats: bool = False


@dataclass(frozen=True, slots=True)
class Row:
    """One alternative of an expression. `begins`, `ends`: it must lie at the message's begin, or end."""

    places: Sequence[Place]
    begins: bool
    ends: bool

    def text(self) -> bytes:
        """The longest text that is in whatever matches."""
        longest = here = b""
        for place in self.places:
            one = next(iter(place.fits)) if len(place.fits) == 1 else OTHER
            here = b"" if place.optional or one == OTHER else here + bytes((one,))
            longest = max(longest, here, key=len)
            here = b"" if place.repeats else here
        return longest


class Expression:
    """Not for several threads at once: the table grows as it is used."""

    def __init__(self, text: str) -> None:
        """`text`: what is between the percent signs. Raises InvalidParameterException."""
        rows = _Reading(text).rows()
        texts = tuple(row.text() for row in rows)
        self.required: Sequence[bytes] = texts if len(rows) == 1 and texts[0] else ()
        self.one_of: Sequence[bytes] = texts if len(rows) > 1 and all(texts) else ()
        self._ends = any(row.ends for row in rows)
        self._lay_out(rows)
        self._states: dict[int, _State] = {}
        self._found = _State(self._final)  # in which it is known that the message matches

    def search(self, message: bytes) -> bool:
        """Whether it is anywhere in the message, whose last line end does not count for `$`."""
        if self._ends and message.endswith(b"\n"):
            message = message[:-1]
        if not message.isascii():
            message = _BEYOND.sub(chr(OTHER), message.decode("utf-8", "replace")).encode("latin-1")
        found = self._found
        state = self._state(self._first)
        for byte in message:
            if state is found:
                break
            state = state.following[byte] or self._follow(state, byte)
        return state is found or bool(state.active & self._final_at_end)

    def _lay_out(self, rows: Sequence[Row]) -> None:
        """Bit 0 of a row is its begin, bit n says that its nth place has been matched."""
        self._fits = [0] * (OTHER + 1)
        self._always = first = self._final = self._final_at_end = 0
        self._repeats = self._optional = self._before = self._last = 0
        at = 0
        for row in rows:
            first |= 1 << at
            if not row.begins:
                self._always |= 1 << at
            was_optional = False
            for place in row.places:
                bit = 1 << at + 1
                for byte in place.fits:
                    self._fits[byte] |= bit
                if place.repeats:
                    self._repeats |= bit
                if place.optional:
                    self._optional |= bit
                    if not was_optional:
                        self._before |= bit >> 1
                elif was_optional:
                    self._last |= bit >> 1
                was_optional = place.optional
                at += 1
            if was_optional:
                self._last |= 1 << at
            if row.ends:
                self._final_at_end |= 1 << at
            else:
                self._final |= 1 << at
            at += 1
        self._first = self._skip(first)

    def _skip(self, active: int) -> int:
        """With what is reached by leaving places out: in each run of optional ones, all behind the first active."""
        marked = active | self._last
        return active | (self._optional & (~(marked - self._before) ^ marked))

    def _state(self, active: int) -> "_State":
        if active & self._final:
            return self._found
        state = self._states.get(active)
        if state is None:
            if len(self._states) >= STATES:
                self._forget()
            state = self._states[active] = _State(active)
        return state

    def _follow(self, state: "_State", byte: int) -> "_State":
        active = state.active
        reached = ((active << 1) | (active & self._repeats)) & self._fits[byte]
        following = self._state(self._skip(reached | self._always))
        state.following[byte] = following
        return following

    def _forget(self) -> None:
        for state in self._states.values():  # which know each other in circles
            state.following = [None] * (OTHER + 1)
        self._states.clear()


class _State:
    """Which places have been matched, as bits, and the state that follows on each character, if that is known."""

    __slots__ = ("active", "following")

    def __init__(self, active: int) -> None:
        self.active = active
        self.following: list[_State | None] = [None] * (OTHER + 1)


class _Reading:
    """An expression's text from left to right."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0

    def rows(self) -> Sequence[Row]:
        rows = [self._row()]
        while self._take("|"):
            rows.append(self._row())
        if self._at < len(self._text) or sum(len(row.places) + 1 for row in rows) > LARGEST:
            self._refuse()
        return rows

    def _row(self) -> Row:
        begins = self._take("^")
        places: list[Place] = []
        while self._at < len(self._text) and self._text[self._at] not in "|$":
            places += self._repeated(self._one())
            if len(places) > LARGEST:
                self._refuse()
        ends = self._take("$")
        if not places and not (begins and ends):
            self._refuse()
        return Row(places, begins, ends)

    def _repeated(self, fits: frozenset[int]) -> Sequence[Place]:
        if self._take("?"):
            return (Place(fits, optional=True),)
        if self._take("*"):
            return (Place(fits, optional=True, repeats=True),)
        if self._take("+"):
            return (Place(fits, repeats=True),)
        match = _REPEATED.match(self._text, self._at)
        if match is None:
            return (Place(fits),)
        self._at = match.end()
        least, most = int(match[1]), match[3]
        once = Place(fits)
        if match[2] is None:
            return (once,) * least
        if not most:
            endless = Place(fits, optional=not least, repeats=True)
            return ((once,) * (least - 1)) + (endless,)
        if int(most) < least:
            self._refuse()
        return (once,) * least + (Place(fits, optional=True),) * (int(most) - least)

    def _one(self) -> frozenset[int]:
        """A character, or several of which one is meant."""
        if self._take("."):
            return _DOT
        if self._take("["):
            return self._several()
        if self._take("\\"):
            return self._escaped()
        return frozenset(self._match(_LITERAL).encode())

    def _several(self) -> frozenset[int]:
        negated = self._take("^")
        found: set[int] = set()
        while not self._take("]"):
            begin = self._member()
            if (
                len(begin) == 1
                and self._text.startswith("-", self._at)
                and self._text[self._at + 1 : self._at + 2] != "]"
            ):
                self._at += 1
                end = self._member()
                if len(end) != 1 or min(end) < min(begin):
                    self._refuse()
                found.update(range(min(begin), min(end) + 1))
            else:
                found |= begin
        if not found:
            self._refuse()
        return _ALL - found if negated else frozenset(found)

    def _member(self) -> frozenset[int]:
        if self._take("\\"):
            return self._escaped()
        one = self._text[self._at : self._at + 1]
        if not one or not one.isascii() or not one.isprintable():
            self._refuse()
        self._at += 1
        return frozenset(one.encode())

    def _escaped(self) -> frozenset[int]:
        one = self._text[self._at : self._at + 1]
        self._at += 1
        if one == "x":
            code = int(self._match(_HEX), 16)
            return frozenset((code,)) if code < OTHER else self._refuse()
        if one in _CLASSES:
            return _CLASSES[one]
        if not one or one.isalnum() or not one.isascii() or not one.isprintable():
            self._refuse()
        return frozenset(one.encode())

    def _take(self, text: str) -> bool:
        taken = self._text.startswith(text, self._at)
        self._at += len(text) if taken else 0
        return taken

    def _match(self, pattern: re.Pattern[str]) -> str:
        match = pattern.match(self._text, self._at)
        if match is None:
            self._refuse()
        self._at = match.end()
        return match[0]

    def _refuse(self) -> Never:
        raise InvalidParameterException(f"Invalid character(s) in term '%{self._text}%'")
