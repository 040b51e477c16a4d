"""The first validation layer against a small, slow reading of the model."""

import time
from typing import Any

import pytest

from lamplighter.api import service_model
from lamplighter.api.java_text import double, lower_first, show
from lamplighter.api.patterns import compile_pattern, translate
from lamplighter.api.validation import Checks, refuse
from lamplighter.api.validation_texts import ENUMS, FLAT_LISTS, PATTERNS, SECOND_LAYER
from support import botocore_wire

MODEL = service_model.load()
SHAPES: dict[str, Any] = MODEL["shapes"]
CHECKS = Checks(SHAPES)
INPUTS = {name: SHAPES[operation["input"]["shape"]] for name, operation in MODEL["operations"].items()}


def failures(shape: str, value: Any) -> list[str]:
    found: list[str] = []
    if check := CHECKS.of(shape):
        check(value, "", found)
    return found


def printed(value: Any, shape: dict[str, Any]) -> str:
    return f"{float(value)}" if shape["type"] == "double" else str(value)


def bad_scalars(shape: dict[str, Any]) -> list[tuple[Any, list[str]]]:
    """Values that break a constraint of a scalar, each with all the texts that it earns, from the model alone."""
    found: list[tuple[Any, list[str]]] = []
    number = shape["type"] in ("integer", "long", "double")
    most, least = shape.get("max"), shape.get("min")
    word = "value" if number else "length"
    too_much = None if most is None else f"Member must have {word} less than or equal to {printed(most, shape)}"
    too_little = None if least is None else f"Member must have {word} greater than or equal to {printed(least, shape)}"
    if number:
        if too_much:
            found.append((most + 1, [too_much]))
        if too_little:
            found.append((least - 1, [too_little]))
        return found
    if shape["type"] == "blob":
        return [(b"x" * (most + 1), [too_much])] if too_much and most < 10**7 else []
    if "enum" in shape:
        return [("no such value", ["enum"])]
    texts = [("a" * (most + 1), too_much)] if too_much and most < 10**7 else []
    if least:
        texts.append(("", too_little))
    for text, of_length in texts:
        of_pattern = "pattern" in shape and not compile_pattern(shape["pattern"])(text)
        found.append((text, [of_length, *(["pattern"] if of_pattern else [])]))
    if "pattern" in shape:
        for text in ("!", "\n", "*" * (least or 1), "é ü" * 10):
            fits = (least or 0) <= len(text) <= (most or 10**9)
            if fits and not compile_pattern(shape["pattern"])(text):
                found.append((text, ["pattern"]))
                break
    return found


def expected_texts(member: str, shape_name: str, value: Any, texts: list[str]) -> list[str]:
    shape = SHAPES[shape_name]
    long_texts = {
        "enum": f"Member must satisfy enum value set: [{ENUMS.get(shape_name, ', '.join(shape.get('enum', ())))}]",
        "pattern": "Member must satisfy regular expression pattern: "
        + PATTERNS.get(shape_name, shape.get("pattern", "")),
    }
    shown = "Value" if shape.get("sensitive") else f"Value '{show(value, shape_name, SHAPES)}'"
    path = lower_first(member)
    return [f"{shown} at '{path}' failed to satisfy constraint: {long_texts.get(text, text)}" for text in texts]


def nulls(structure: dict[str, Any], given: str) -> dict[str, list[str]]:
    return {
        member: [f"Value null at '{lower_first(member)}' failed to satisfy constraint: Member must not be null"]
        for member in structure.get("required", ())
        if member != given
    }


@pytest.mark.parametrize("operation", botocore_wire.OPERATIONS)
def test_each_broken_constraint_of_an_input_gives_its_text_and_no_other(operation: str) -> None:
    structure = INPUTS[operation]
    shape_name = MODEL["operations"][operation]["input"]["shape"]
    for member, definition in structure["members"].items():
        if (shape_name, member) in SECOND_LAYER or SHAPES[definition["shape"]]["type"] in ("structure", "list", "map"):
            continue
        for value, texts in bad_scalars(SHAPES[definition["shape"]]):
            by_member = nulls(structure, member)
            by_member[member] = expected_texts(member, definition["shape"], value, texts)
            expected = [text for name in reversed(structure["members"]) for text in by_member.get(name, ())]
            assert failures(shape_name, {member: value}) == expected, (member, value)


def test_lists_print_their_elements_constraints_once() -> None:
    both = failures("ArchitecturesList", ["X86_64", "arm64"])
    assert both == [
        "Value '[X86_64, arm64]' at '' failed to satisfy constraint: Member must have length less than or equal to 1",
        "Value '[X86_64, arm64]' at '' failed to satisfy constraint: Member must satisfy constraint: "
        "[Member must satisfy enum value set: [x86_64, arm64], Member must not be null]",
    ]


def test_a_null_element_fails_even_where_the_text_does_not_say_so() -> None:
    assert len(failures("SubnetIds", [None])) == 1
    assert failures("StringList", ["a", None]) == [
        "Value '[a, null]' at '' failed to satisfy constraint: "
        "Member must satisfy constraint: [Member must not be null]"
    ]
    assert len(failures("Tags", {"a": None})) == 1


def test_elements_that_are_structures_are_found_by_position() -> None:
    value = {"Filters": [{"Pattern": "ok"}, {"Pattern": "x" * 4097}, None]}
    assert failures("FilterCriteria", value) == [
        f"Value '{'x' * 4097}' at 'filters.2.member.pattern' failed to satisfy constraint: "
        "Member must have length less than or equal to 4096",
        "Value null at 'filters.3.member' failed to satisfy constraint: Member must not be null",
    ]


def test_lists_within_maps_say_all_their_constraints() -> None:
    (text,) = failures("Endpoints", {"KAFKA_BOOTSTRAP_SERVERS": []})
    assert text.startswith(
        "Value '{KAFKA_BOOTSTRAP_SERVERS=[]}' at '' failed to satisfy constraint: Map value must satisfy constraint: "
        "[Member must have length less than or equal to 10, Member must have length greater than or equal to 1, "
        "Member must satisfy constraint: [Member must have length less than or equal to 300, "
    )
    assert text.endswith(", Member must not be null], Member must not be null]")


def test_sensitive_values_are_not_repeated() -> None:
    (text,) = failures("Environment", {"Variables": {"1BAD-KEY": "the password"}})
    assert text == (
        "Value at 'variables' failed to satisfy constraint: Map keys must satisfy constraint: "
        "[Member must satisfy regular expression pattern: [a-zA-Z]([a-zA-Z0-9_])+]"
    )


def test_lengths_are_counted_as_java_does() -> None:
    assert failures("Description", "\N{PILE OF POO}" * 128) == []
    assert len(failures("Description", "\N{PILE OF POO}" * 129)) == 1


def test_the_runtime_is_left_to_the_second_layer() -> None:
    request = {"FunctionName": "f", "Role": "arn:aws:iam::123456789012:role/r", "Code": {}, "Runtime": "nonsense"}
    assert failures("CreateFunctionRequest", request) == []
    assert failures("UpdateFunctionConfigurationRequest", {"FunctionName": "f", "Runtime": "nonsense"}) == []


def test_the_count_agrees_with_its_noun() -> None:
    assert refuse(["a"]).message == "1 validation error detected: a"
    assert refuse(["a", "b"]).message == "2 validation errors detected: a; b"


def test_new_enum_values_of_a_model_are_printed_behind_the_recorded_ones() -> None:
    newer = Checks(SHAPES | {"InvokeMode": {"type": "string", "enum": ["BUFFERED", "RESPONSE_STREAM", "DUPLEX"]}})
    assert newer.constraints("InvokeMode") == [
        "Member must satisfy enum value set: [RESPONSE_STREAM, BUFFERED, DUPLEX]"
    ]


def test_the_tables_of_texts_name_shapes_of_the_model() -> None:
    assert {*ENUMS, *FLAT_LISTS, *PATTERNS} <= set(SHAPES)
    for structure, member in SECOND_LAYER:
        assert member in SHAPES[structure]["members"]


@pytest.mark.parametrize("name", [name for name, shape in SHAPES.items() if "pattern" in shape])
def test_every_pattern_of_the_model_has_a_translation_that_never_takes_long(name: str) -> None:
    matches = compile_pattern(SHAPES[name]["pattern"])
    translate(SHAPES[name]["pattern"])
    started = time.perf_counter()
    for unit in ("a", "a-", "a.", "1", "/", " ", "A/", "arn:aws:lambda:", "arn:aws:iam::123456789012:role/"):
        for end in ("", "!", " ", "\n", "\x00"):
            matches(unit * (10_000 // len(unit)) + end)
    assert time.perf_counter() - started < 2.0  # 45 texts of 10,000 characters; a blow-up takes minutes


@pytest.mark.parametrize(
    ("pattern", "text", "matches"),
    [
        (r"\d+", "12", True),
        (r"\d+", "\N{ARABIC-INDIC DIGIT THREE}", False),
        (r"[^\s]+", "a\u00a0b", True),
        (r"[^\s]+", "a b", False),
        (r".*", "a\u2028b", False),
        (r"[.]*", "..", True),
        (r"\.", "a", False),
        (r"([\p{L}\p{Z}\p{N}_.:/=+\-@]*)", "Größe 1: a/b=c+d-e@f\u3000\N{ROMAN NUMERAL FOUR}", True),
        (r"([\p{L}\p{Z}\p{N}_.:/=+\-@]*)", "a*b", False),
        (r"\p{L}", "é", True),
        (r"\$(LATEST(\.PUBLISHED)?)|[a-zA-Z0-9-_$]+", "$LATEST.PUBLISHED", True),
        (r"$|kafka://([^.]([a-zA-Z0-9\-_.]{0,248}))", "", True),
        (r"$|kafka://([^.]([a-zA-Z0-9\-_.]{0,248}))", "\n", False),
        (r"((?!^\d+$)^[0-9a-zA-Z-_]+$)", "1a", True),
        (r"((?!^\d+$)^[0-9a-zA-Z-_]+$)", "11", False),
    ],
)
def test_patterns_match_what_java_matches(pattern: str, text: str, matches: bool) -> None:
    assert bool(compile_pattern(pattern)(text)) is matches


def test_a_pattern_without_a_translation_refuses_nothing() -> None:
    assert compile_pattern(r"\p{Lu}+")("anything")
    assert compile_pattern(r"(unclosed")("anything")


def test_values_print_as_java_prints_them() -> None:
    texts = [double(value) for value in (0.0, 1.0, -1.5, 0.001, 1e7, 12345678.9, 1e-4)]
    assert texts == ["0.0", "1.0", "-1.5", "0.001", "1.0E7", "1.23456789E7", "1.0E-4"]
    config = {"OnSuccess": {"Destination": "arn:x"}}
    assert show(config, "DestinationConfig", SHAPES) == (
        "DestinationConfig(onSuccess=OnSuccess(destination=arn:x), onFailure=null)"
    )
    assert show({"1": 0.5}, "AdditionalVersionWeights", SHAPES) == "{1=0.5}"
