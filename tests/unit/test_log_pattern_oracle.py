"""Filter patterns against a second opinion: conditions are made as trees, written as a person may write them, and what
they mean is told from the tree, by other means than those of the parser under test.
"""

import json
import re
from dataclasses import dataclass
from typing import Any, Final, Literal

from hypothesis import given, settings
from hypothesis import strategies as st

from lamplighter.telemetry.logs.pattern import parse_pattern

MANY: Final = settings(max_examples=120, deadline=None, database=None)
OPERATORS: Final = ("=", "!=", "<", "<=", ">", ">=")
NAMES: Final = ("a", "b-c", "d_1", "with space", "dotted.name")
KEYWORDS: Final = ("IS NULL", "IS TRUE", "IS FALSE", "NOT EXISTS")
NUMBERS: Final = ("0", "1", "-2", "+3", "2.5", "1e3", "1.5E-3", "25e-1", "-2.0", "1000", ".5", "4.")
MISSING: Final = object()

Space = st.sampled_from(["", " ", "  ", "\t"])


@dataclass(frozen=True)
class Leaf:
    """`path`: of JSON; for a field, empty. `text`: as it is meant, with wildcards; `quoted`: as it is written."""

    path: tuple[str | int, ...]
    operator: str
    text: str = ""
    quoted: bool = False


@dataclass(frozen=True)
class Both:
    kind: Literal["&&", "||"]
    parts: tuple["Tree", ...]


Tree = Leaf | Both


def told(value: Any, leaf: Leaf) -> bool:
    """What a comparison says of a value that was found, or of a field."""
    if leaf.operator in KEYWORDS:
        return {
            "IS NULL": value is None, "IS TRUE": value is True, "IS FALSE": value is False,
            "NOT EXISTS": value is MISSING,
        }[leaf.operator]  # fmt: skip
    is_number = not leaf.quoted and leaf.text in NUMBERS
    if is_number and type(value) in (int, float):
        sign = (value > float(leaf.text)) - (value < float(leaf.text))
        return sign in {"=": (0,), "!=": (-1, 1), "<": (-1,), "<=": (-1, 0), ">": (1,), ">=": (0, 1)}[leaf.operator]
    if type(value) not in (str, bool, int, float) or leaf.operator not in ("=", "!="):
        return False
    written = str(value).lower() if isinstance(value, bool) else str(value)
    same = re.fullmatch(".*".join(map(re.escape, leaf.text.split("*"))), written, re.DOTALL) is not None
    return same is (leaf.operator == "=")


def found(document: Any, path: tuple[str | int, ...]) -> Any:
    for step in path:
        try:
            if isinstance(document, str):
                return MISSING
            document = document[step]
        except (KeyError, IndexError, TypeError):
            return MISSING
    return document


def holds(tree: Tree, document: Any) -> bool:
    if isinstance(tree, Leaf):
        return told(found(document, tree.path), tree)
    told_by = [holds(part, document) for part in tree.parts]
    return all(told_by) if tree.kind == "&&" else any(told_by)


def written_path(path: tuple[str | int, ...], dotted: bool) -> str:
    parts = [
        f"[{step}]" if isinstance(step, int) else
        f".{step}" if re.fullmatch(r"[\w-]+", step) and dotted else f".['{step}']"
        for step in path
    ]  # fmt: skip
    return "$" + "".join(parts)


def written(tree: Tree, draw: Any, subject: str | None = None, within: str = "||") -> str:
    """`subject`: the name of a field; None: the leaf's path. `within`: what the tree is a part of; && binds closer."""
    if isinstance(tree, Leaf):
        left = subject or written_path(tree.path, draw(st.booleans()))
        if tree.operator in KEYWORDS:
            text = f"{left} {tree.operator if draw(st.booleans()) else tree.operator.replace(' ', '  ')}"
        else:
            value = '"' + re.sub(r'(["\\])', r"\\\1", tree.text) + '"' if tree.quoted else tree.text
            text = f"{left}{draw(Space)}{tree.operator}{draw(Space)}{value}"
    else:
        pad = draw(st.sampled_from([" ", "  "]))
        text = f"{pad}{tree.kind}{pad}".join(written(part, draw, subject, tree.kind) for part in tree.parts)
        if tree.kind == "||" and within == "&&":
            return f"({draw(Space)}{text}{draw(Space)})"
    return f"({text})" if draw(st.integers(0, 4)) == 0 else text


TEXTS: Final = st.text('abT1.-* é"\\&|,]}=', max_size=5)
PLAIN: Final = st.text("abT1.*-", min_size=1, max_size=4).filter(lambda text: text not in NUMBERS)
PATHS: Final = st.lists(st.sampled_from((*NAMES, 0, 1)), min_size=1, max_size=3).map(tuple)


def leaves(paths: st.SearchStrategy[tuple[str | int, ...]], keywords: bool) -> st.SearchStrategy[Leaf]:
    by_text = st.sampled_from(("=", "!="))
    known = [
        st.builds(Leaf, paths, st.sampled_from(OPERATORS), st.sampled_from(NUMBERS)),
        st.builds(Leaf, paths, by_text, PLAIN),
        st.builds(Leaf, paths, by_text, TEXTS, st.just(True)),
        st.builds(Leaf, paths, by_text, st.sampled_from(NUMBERS), st.just(True)),
    ]
    return st.one_of(*known, *([st.builds(Leaf, paths, st.sampled_from(KEYWORDS))] if keywords else []))


def trees(leaf: st.SearchStrategy[Leaf]) -> st.SearchStrategy[Tree]:
    return st.recursive(
        leaf,
        lambda inner: st.builds(
            Both, st.sampled_from(("&&", "||")), st.lists(inner, min_size=2, max_size=3).map(tuple)
        ),
        max_leaves=6,
    )


VALUES: Final = st.one_of(
    st.none(), st.booleans(), st.sampled_from([0, 1, -2, 3, 2.5, 1000, 0.0015, 4, 0.5]), TEXTS, st.sampled_from(NUMBERS)
)
DOCUMENTS: Final = st.recursive(
    VALUES,
    lambda inner: st.dictionaries(st.sampled_from(NAMES), inner, max_size=4) | st.lists(inner, max_size=2),
    max_leaves=12,
)


@MANY
@given(st.data(), trees(leaves(PATHS, keywords=True)), st.lists(DOCUMENTS, min_size=1, max_size=4))
def test_selectors_mean_what_their_tree_means(data: st.DataObject, tree: Tree, documents: list[Any]) -> None:
    text = f"{{{data.draw(Space)}{written(tree, data.draw)}{data.draw(Space)}}}"
    pattern = parse_pattern(text)
    for document in documents:
        message = json.dumps(document, ensure_ascii=data.draw(st.booleans())).encode()
        expected = isinstance(document, dict | list) and holds(tree, document)
        assert pattern.matches(message) is expected, (text, message)
        assert pattern.may_match(b"before\n" + message) or not expected, (text, message)


@MANY
@given(st.data(), leaves(PATHS, keywords=True), VALUES)
def test_a_selector_that_leads_somewhere_is_compared_there(data: st.DataObject, leaf: Leaf, value: Any) -> None:
    """Paths of chance seldom lead to a value of chance, so the document is built round this one; and half of the time
    it is just what the condition names."""
    if data.draw(st.booleans()) and leaf.operator not in KEYWORDS:
        number = leaf.text in NUMBERS and data.draw(st.booleans())
        value = float(leaf.text) if number else leaf.text.replace("*", data.draw(st.text("aT*", max_size=3)))
    document: Any = value
    for step in reversed(leaf.path):
        document = {step: document, "other": 1} if isinstance(step, str) else [None] * step + [document]
    text = f"{{ {written(leaf, data.draw)} }}"
    assert parse_pattern(text).matches(json.dumps(document).encode()) is told(value, leaf), (text, document)


FIELD: Final = st.one_of(
    st.sampled_from(NUMBERS),
    st.text("abT1.-=:,", min_size=1, max_size=6),
    st.text("abT1. ,-", max_size=6).map(lambda text: f'"{text}"'),
    st.text("abT1. ,-", max_size=6).map(lambda text: f"[{text}]"),
)


def field_value(field: str) -> str | float:
    """Numbers are compared as such where a number is asked for."""
    return field[1:-1] if field[0] in '"[' else field


def field_told(field: str, tree: Tree | None) -> bool:
    if tree is None:
        return True
    if isinstance(tree, Both):
        told_by = [field_told(field, part) for part in tree.parts]
        return all(told_by) if tree.kind == "&&" else any(told_by)
    value: Any = field_value(field)
    if not tree.quoted and tree.text in NUMBERS:
        if value not in NUMBERS and not re.fullmatch(r"-?(\d+\.?\d*|\.\d+)", value):
            return tree.operator == "!="
        value = float(value)
    return told(value, tree)


def near(tree: Tree | None, draw: Any) -> str:
    """A field that may well be just what a condition names."""
    while isinstance(tree, Both):
        tree = tree.parts[0]
    if tree is None or draw(st.integers(0, 3)) == 0:
        return draw(FIELD)
    text = tree.text.replace("*", draw(st.text("aT", max_size=2)))
    opening, closing = draw(st.sampled_from(["[]", '""']))
    return opening + re.sub(r'["\]]', "", text) + closing


@MANY
@given(
    st.data(),
    st.lists(st.none() | trees(leaves(st.just(()), keywords=False)), min_size=1, max_size=3),
    st.integers(-1, 3),
    st.sampled_from([0, 0, 0, 0, 1, 2, -1]),
)
def test_fields_mean_what_their_trees_mean(
    data: st.DataObject, conditions: list[Tree | None], gap: int, many: int
) -> None:
    """`gap`: where an ellipsis stands; -1: nowhere. `many`: how many fields there are beyond what is asked for."""
    parts = [
        f"w{number}" if tree is None else written(tree, data.draw, f"w{number}")
        for number, tree in enumerate(conditions)
    ]
    at = len(parts) if gap < 0 else min(gap, len(parts))
    aligned = [*conditions[:at], *([None] * many), *conditions[at:]]
    fields = [near(tree, data.draw) for tree in aligned[: len(conditions) + many]]
    expected = (many == 0 or (many > 0 and gap >= 0)) and all(map(field_told, fields, aligned))
    if gap >= 0:
        parts.insert(at, "...")
    text = f"[{f'{data.draw(Space)},{data.draw(Space)}'.join(parts)}]"
    message = data.draw(st.sampled_from([" ", "  ", "\t"])).join(fields)
    assert parse_pattern(text).matches(message.encode()) is expected, (text, message)
