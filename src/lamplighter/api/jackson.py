"""Why a text is not JSON, in the words of the parser that AWS uses (Jackson), since Invoke quotes it (AWS: spec 2.1).

Only called for what has been refused already, so it may take its time; where Jackson would say something that is not
known here, the nearest of its texts is given.
"""

import json
import re

_SOURCE = "[Source: REDACTED (`StreamReadFeature.INCLUDE_SOURCE_IN_LOCATION` disabled); line: {}, column: {}]"
_VALUES = "JSON String, Number, Array, Object or token 'null', 'true' or 'false'"
_WORD = re.compile(r"[\w$]+")
_LONGEST_WORD = 256


def parse_failure(payload: bytes) -> str:
    try:
        text = payload.decode("utf-8")
    except UnicodeDecodeError as error:
        before = payload[: error.start].decode("utf-8", "replace")
        return _at(f"Invalid UTF-8 start byte 0x{payload[error.start]:x}", before, len(before))
    try:
        json.loads(text)
    except json.JSONDecodeError as error:
        return _described(text, error)
    except RecursionError:
        return _at("Document nesting depth (1001) exceeds the maximum allowed (1000)", text, len(text))
    # Python takes NaN and the like.
    found = re.search(r"NaN|-?Infinity", text)
    position = found.start() if found else 0
    token = found[0] if found else text[:_LONGEST_WORD]
    return _at(
        f"Non-standard token '{token}': enable `JsonReadFeature.ALLOW_NON_NUMERIC_NUMBERS` to allow", text, position
    )


def _described(text: str, error: json.JSONDecodeError) -> str:
    position = error.pos
    if "control character" in error.msg:  # it may be a space of its own, such as a tab
        return _at(
            f"Illegal unquoted character ((CTRL-CHAR, code {ord(text[position])})): "
            "has to be escaped using backslash to be included in string value",
            text,
            position,
        )
    while position < len(text) and text[position] in " \t\r\n":
        position += 1
    if "Unterminated string" in error.msg:
        return _at("Unexpected end-of-input: was expecting closing quote for a string value", text, len(text))
    if position >= len(text):
        return _cut_off(text)
    character = text[position]
    named = f"Unexpected character ('{character}' (code {ord(character)})): "
    if "property name" in error.msg:
        return _at(named + "was expecting double-quote to start field name", text, position)
    if "':' delimiter" in error.msg:
        return _at(named + "was expecting a colon to separate field name and value", text, position)
    if "',' delimiter" in error.msg:
        kind = "Object" if _opened(text[:position])[-1:] == ["{"] else "Array"
        return _at(named + f"was expecting comma to separate {kind} entries", text, position)
    word = _WORD.match(text, position)
    if word and not character.isdigit():
        token = word[0][:_LONGEST_WORD]
        return _at(f"Unrecognized token '{token}': was expecting ({_VALUES})", text, word.end())
    return _at(named + f"expected a valid value ({_VALUES})", text, position)


def _cut_off(text: str) -> str:
    opened = _opened(text)
    if not opened:
        return _at("No content to map due to end-of-input", text, len(text))
    kind = "Object" if opened[-1] == "{" else "Array"
    start = _SOURCE.format(*_place(text, text.rfind(opened[-1])))
    return _at(f"Unexpected end-of-input: expected close marker for {kind} (start marker at {start})", text, len(text))


def _opened(text: str) -> list[str]:
    """Brackets that are open at the end of the text, strings apart."""
    opened: list[str] = []
    for token in re.findall(r'"(?:[^"\\]|\\.)*"?|[\[\]{}]', text, re.DOTALL):
        if token in "[{":
            opened.append(token)
        elif token in "]}" and opened:
            opened.pop()
    return opened


def _place(text: str, position: int) -> tuple[int, int]:
    line_start = text.rfind("\n", 0, position) + 1
    return text.count("\n", 0, position) + 1, position - line_start + 1


def _at(message: str, text: str, position: int) -> str:
    return f"{message}\n at {_SOURCE.format(*_place(text, position))}"
