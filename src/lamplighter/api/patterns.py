"""Java regular expressions of the service model as Python ones that match the same texts.

Where the languages differ: Java's \\d, \\s and \\w are ASCII, its dot stops at five line ends instead of one, and it
knows \\p{…}. Matching is always of the whole text, as java.util.regex's matches().
"""

import re
from collections.abc import Callable

DOT = "[^\\n\\r\\u0085\\u2028\\u2029]"
ASCII_CLASSES = {"d": "0-9", "w": "a-zA-Z0-9_", "s": " \\t\\n\\x0b\\f\\r"}
# Inside a class. Letters and numbers are Python's Unicode \w, which adds only the underscore; separators are few.
UNICODE_CLASSES = {
    "L": "\\w",
    "N": "\\w",
    "Z": " \\u00a0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000",
}
TOKEN = re.compile(r"\\p\{(?P<category>\w+)\}|\\(?P<escaped>.)|(?P<plain>.)", re.DOTALL)

Matches = Callable[[str], object]


def translate(java: str) -> str:
    """Raises ValueError for a \\p category it does not know."""
    python: list[str] = []
    inside = False  # a character class
    for token in TOKEN.finditer(java):
        category, escaped, plain = token["category"], token["escaped"], token["plain"]
        if category:
            if category not in UNICODE_CLASSES:
                raise ValueError(f"no translation of \\p{{{category}}} in {java}")
            text = UNICODE_CLASSES[category]
            python.append(text if inside else f"[{text}]")
        elif escaped:
            ascii_class = ASCII_CLASSES.get(escaped)
            if ascii_class is None:
                python.append(f"\\{escaped}")
            else:
                python.append(ascii_class if inside else f"[{ascii_class}]")
        elif plain == "." and not inside:
            python.append(DOT)
        elif plain == "[" and inside:
            python.append("\\[")  # Java would open a union; the service model has none, and Python warns of it
        else:
            if plain in "[]":
                inside = plain == "["
            python.append(plain)
    return "".join(python)


def compile_pattern(java: str) -> Matches:
    """A function that is truthy for texts that match as a whole.

    A pattern that has no translation refuses nothing: a new release of the service model must not stop the service."""
    try:
        return re.compile(translate(java)).fullmatch
    except (ValueError, re.error):
        return anything


def anything(_: str) -> bool:
    return True
