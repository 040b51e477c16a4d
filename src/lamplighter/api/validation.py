"""AWS's first validation layer, from the service model: all failures of one request in one ValidationException.

Texts, field paths and order are AWS's, as recorded (spec 1.2, appendix F). Members of a structure are reported from the
last one of the model to the first; every recording with several failures shows it so.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

from lamplighter.api import validation_texts
from lamplighter.api.java_text import double, lower_first, show
from lamplighter.api.patterns import Matches, compile_pattern
from lamplighter.model.errors import ValidationException

NOT_NULL = "Member must not be null"

# Looks at a value that is not None, at a path; adds to the failures.
Check = Callable[[Any, str, list[str]], None]


def refuse(failures: Sequence[str]) -> ValidationException:
    count = len(failures)
    return ValidationException(f"{count} validation error{'s'[: count > 1]} detected: {'; '.join(failures)}")


def java_length(text: str) -> int:
    """UTF-16 code units."""
    return len(text) if text.isascii() else len(text.encode("utf-16-le", "surrogatepass")) // 2


class Checks:
    """The checks of one model's shapes, each compiled when first asked for."""

    def __init__(self, definitions: Mapping[str, Any]) -> None:
        self.definitions = definitions
        self._checks: dict[str, Check | None] = {}

    def of(self, shape: str) -> Check | None:
        """None where nothing can fail."""
        if shape in self._checks:
            return self._checks[shape]
        compilers = {"structure": self._structure, "list": self._list, "map": self._map}
        check = compilers.get(self.definitions[shape]["type"], self._scalar)(shape)
        self._checks[shape] = check
        return check

    def constraints(self, shape: str) -> list[str]:
        """What AWS says of a shape, one text per constraint, in its order."""
        definition: Mapping[str, Any] = self.definitions[shape]
        kind: str = definition["type"]
        number = kind in ("integer", "long", "double", "float")
        word = "value" if number else "length"
        texts: list[str] = []
        for bound, relation in (("max", "less"), ("min", "greater")):
            if bound in definition:
                limit = double(definition[bound]) if kind in ("double", "float") else str(definition[bound])
                texts.append(f"Member must have {word} {relation} than or equal to {limit}")
        if "pattern" in definition:
            pattern = validation_texts.PATTERNS.get(shape, definition["pattern"])
            texts.append(f"Member must satisfy regular expression pattern: {pattern}")
        if "enum" in definition:
            texts.append(f"Member must satisfy enum value set: [{', '.join(self._printed_enum(shape))}]")
        if kind == "list":
            texts.append(self._of_elements(shape))
        elif kind == "map":
            texts.extend(self._of_entries(shape))
        return texts

    def _printed_enum(self, shape: str) -> Sequence[str]:
        values: list[str] = self.definitions[shape]["enum"]
        if shape not in validation_texts.ENUMS:
            return values
        recorded = validation_texts.ENUMS[shape].split(", ")
        if not set(recorded) <= set(values):
            return recorded  # AWS prints more than the model tells: nothing to add
        return [*recorded, *(value for value in values if value not in recorded)]

    def _of_elements(self, shape: str) -> str:
        if shape in validation_texts.FLAT_LISTS:
            return f"Member must satisfy enum value set: [{', '.join(validation_texts.FLAT_LISTS[shape])}]"
        texts = self.constraints(self.definitions[shape]["member"]["shape"])
        if shape not in validation_texts.NULL_UNSAID:
            texts.append(NOT_NULL)
        return f"Member must satisfy constraint: [{', '.join(texts)}]"

    def _of_entries(self, shape: str) -> tuple[str, str]:
        keys = self.constraints(self.definitions[shape]["key"]["shape"])
        values = [*self.constraints(self.definitions[shape]["value"]["shape"]), NOT_NULL]
        return (
            f"Map keys must satisfy constraint: [{', '.join(keys)}]",
            f"Map value must satisfy constraint: [{', '.join(values)}]",
        )

    def _failure(self, shape: str, value: Any, path: str, constraint: str) -> str:
        """Sensitive values are not repeated, not even in quotes: `Value at 'environment.variables' failed …`."""
        sensitive = self.definitions[shape].get("sensitive", False)
        shown = "Value" if sensitive else f"Value '{show(value, shape, self.definitions)}'"
        return f"{shown} at '{path}' failed to satisfy constraint: {constraint}"

    def _scalar(self, shape: str) -> Check | None:
        definition: Mapping[str, Any] = self.definitions[shape]
        texts = self.constraints(shape)
        if not texts:
            return None
        kind: str = definition["type"]
        measure: Callable[[Any], float] = {"string": java_length, "blob": len}.get(kind, lambda value: value)
        tests: list[Callable[[Any], object]] = []  # one for each text, in the same order
        if (most := definition.get("max")) is not None:
            tests.append(lambda value: measure(value) <= most)
        if (least := definition.get("min")) is not None:
            tests.append(lambda value: measure(value) >= least)
        if "pattern" in definition:
            tests.append(either(definition["pattern"], validation_texts.PATTERNS.get(shape)))
        if "enum" in definition:
            tests.append(frozenset[str](definition["enum"]).__contains__)
        rules = tuple(zip(tests, texts, strict=True))

        def check(value: Any, path: str, failures: list[str]) -> None:
            for passes, text in rules:
                if not passes(value):
                    failures.append(self._failure(shape, value, path, text))

        return check

    def _structure(self, shape: str) -> Check | None:
        definition: Mapping[str, Any] = self.definitions[shape]
        required = frozenset[str](definition.get("required", ()))
        rules: list[tuple[str, str, bool, Check | None]] = []

        def check(value: Any, path: str, failures: list[str]) -> None:
            for name, field, must, check_member in rules:
                member = value.get(name)
                if member is None:
                    if must:
                        where = f"{path}.{field}" if path else field
                        failures.append(f"Value null at '{where}' failed to satisfy constraint: {NOT_NULL}")
                elif check_member is not None:
                    check_member(member, f"{path}.{field}" if path else field, failures)

        self._checks[shape] = check  # before its members: shapes may recurse
        for name, member in reversed(definition.get("members", {}).items()):
            checked = (shape, name) not in validation_texts.SECOND_LAYER
            check_member = self.of(member["shape"]) if checked else None
            if name in required or check_member is not None:
                rules.append((name, lower_first(name), name in required, check_member))
        return check if rules else None

    def _list(self, shape: str) -> Check:
        definition: Mapping[str, Any] = self.definitions[shape]
        *bounds, of_elements = self.constraints(shape)
        least, most = definition.get("min", 0), definition.get("max")
        item: str = definition["member"]["shape"]
        structures = self.definitions[item]["type"] == "structure"
        check_item = self.of(item)

        def check(value: Any, path: str, failures: list[str]) -> None:
            elements = cast(list[Any], value)
            if most is not None and len(elements) > most:
                failures.append(self._failure(shape, value, path, bounds[0]))
            if len(elements) < least:
                failures.append(self._failure(shape, value, path, bounds[-1]))
            if structures:
                for position, element in enumerate(elements, 1):
                    where = f"{path}.{position}.member"
                    if element is None:
                        failures.append(f"Value null at '{where}' failed to satisfy constraint: {NOT_NULL}")
                    elif check_item is not None:
                        check_item(element, where, failures)
            elif any(fails(check_item, element) for element in elements):
                failures.append(self._failure(shape, value, path, of_elements))

        return check

    def _map(self, shape: str) -> Check:
        definition: Mapping[str, Any] = self.definitions[shape]
        *bounds, of_keys, of_values = self.constraints(shape)
        least, most = definition.get("min", 0), definition.get("max")
        check_key, check_value = self.of(definition["key"]["shape"]), self.of(definition["value"]["shape"])

        def check(value: Any, path: str, failures: list[str]) -> None:
            entries = cast(dict[str, Any], value)
            if most is not None and len(entries) > most:
                failures.append(self._failure(shape, value, path, bounds[0]))
            if len(entries) < least:
                failures.append(self._failure(shape, value, path, bounds[-1]))
            if any(fails(check_key, key) for key in entries):
                failures.append(self._failure(shape, value, path, of_keys))
            if any(fails(check_value, each) for each in entries.values()):
                failures.append(self._failure(shape, value, path, of_values))

        return check


def fails(check: Check | None, value: Any) -> bool:
    """Of an element, which AWS refuses together with its list or map, not by itself."""
    if value is None:
        return True
    if check is None:
        return False
    failures: list[str] = []
    check(value, "", failures)
    return bool(failures)


def either(modelled: str, recorded: str | None) -> Matches:
    matches = compile_pattern(modelled)
    if recorded is None:
        return matches
    matches_recorded = compile_pattern(recorded)
    return lambda text: matches(text) or matches_recorded(text)
