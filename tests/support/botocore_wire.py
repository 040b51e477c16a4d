"""The other end of the wire: botocore's own serialiser and parser, and values generated from its model."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from io import BytesIO
from typing import Any

from botocore.awsrequest import HeadersDict
from botocore.loaders import Loader
from botocore.model import ListShape, MapShape, ServiceModel, Shape, StructureShape
from botocore.parsers import create_parser
from botocore.serialize import create_serializer
from botocore.utils import percent_encode_sequence
from hypothesis import strategies as st

from lamplighter.api.http import Request, Response
from lamplighter.api.patterns import translate

MODEL = ServiceModel(Loader().load_service_model("lambda", "service-2"), "lambda")
OPERATIONS: list[str] = sorted(MODEL.operation_names)
HEADER_SAFE = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=40)

Strategy = st.SearchStrategy[Any]


def request(operation: str, parameters: dict[str, Any]) -> Request:
    """What an SDK sends, apart from its signature, and whether or not it would let that pass."""
    serializer = create_serializer("rest-json", include_validation=False)
    sent = serializer.serialize_to_request(parameters, MODEL.operation_model(operation))
    path, _, fixed = sent["url_path"].partition("?")
    query = sent["query_string"]
    encoded = percent_encode_sequence(query) if query else ""
    body = sent["body"]
    return Request(
        sent["method"],
        path,
        "&".join(part for part in (fixed, encoded) if part),
        {name.lower(): str(value) for name, value in sent["headers"].items()},
        body if isinstance(body, bytes) else body.encode(),
    )


def understood(operation: str, response: Response) -> dict[str, Any]:
    """What an SDK makes of a response; errors under "Error"."""
    model = MODEL.operation_model(operation)
    body = BytesIO(response.body) if model.has_streaming_output else response.body
    received = {"status_code": response.status, "headers": HeadersDict(response.headers), "body": body}
    output = model.output_shape
    parsed: dict[str, Any] = create_parser("rest-json").parse(received, output)
    parsed.pop("ResponseMetadata")
    return parsed


def inputs(operation: str) -> st.SearchStrategy[dict[str, Any]]:
    return PLAIN.inputs(operation)


def outputs(operation: str) -> st.SearchStrategy[dict[str, Any]]:
    shape = MODEL.operation_model(operation).output_shape
    return st.just({}) if shape is None else PLAIN.structure(shape)


class Values:
    """Valid values of the model's shapes. `known`: what to draw from where that is valid, too, by the name of a member
    or of a shape; a member's own name goes first."""

    def __init__(self, known: Mapping[str, Strategy] | None = None) -> None:
        self._known = known or {}
        self._structures: dict[str, Strategy] = {}

    def inputs(self, operation: str) -> st.SearchStrategy[dict[str, Any]]:
        shape = MODEL.operation_model(operation).input_shape
        return st.just({}) if shape is None else self.structure(shape)

    def structure(self, shape: StructureShape) -> st.SearchStrategy[dict[str, Any]]:
        """What is required, and any of the rest."""
        if shape.name not in self._structures:
            members = self.members(shape)
            required = {member: members.pop(member) for member in shape.required_members}
            self._structures[shape.name] = st.fixed_dictionaries(required, optional=members)
        return self._structures[shape.name]

    def members(self, shape: StructureShape) -> dict[str, Strategy]:
        return {name: self.value(each, name) for name, each in shape.members.items()}

    def value(self, shape: Shape, member: str = "") -> Strategy:
        known = self._known.get(member, self._known.get(shape.name))
        if known is None:
            return self._generated(shape)
        return known.filter(lambda value: fits(shape, value))

    def _generated(self, shape: Shape) -> Strategy:
        limits = shape.metadata
        least, most = limits.get("min", 0), limits.get("max")
        if isinstance(shape, StructureShape):
            return self.structure(shape)
        if isinstance(shape, ListShape):
            in_query = shape.serialization.get("location") == "querystring"
            return st.lists(
                self.value(shape.member), min_size=max(least, int(in_query)), max_size=min(most or 3, max(least, 3))
            )
        if isinstance(shape, MapShape):
            entries = self.value(shape.key), self.value(shape.value)
            return st.dictionaries(*entries, min_size=least, max_size=min(most or 3, 3))
        match shape.type_name:
            case "string":
                return _strings(shape)
            case "integer" | "long":
                return st.integers(least, most if most is not None else 2**31 - 1)
            case "double":
                return st.floats(least, most, allow_nan=False)
            case "boolean":
                return st.booleans()
            case "blob":
                return st.binary(max_size=40)
            case "timestamp":
                moments = st.datetimes(datetime(1971, 1, 1), datetime(2100, 1, 1))
                return moments.map(lambda moment: moment.replace(microsecond=0, tzinfo=UTC))
        raise AssertionError(shape.type_name)


PLAIN = Values()


def fits(shape: Shape, value: Any) -> bool:
    """Whether a text is valid for the shape; other values are taken to be."""
    limits = shape.metadata
    if not isinstance(value, str) or shape.type_name != "string":
        return True
    # botocore counts characters, Java UTF-16 units: a good value is within the limits of both.
    least = max(limits.get("min", 0), int(shape.serialization.get("location") == "uri"))
    if not (least <= len(value) and len(value.encode("utf-16-le")) // 2 <= limits.get("max", 10_000)):
        return False
    if "enum" in limits and value not in limits["enum"]:
        return False
    return "pattern" not in limits or re.fullmatch(translate(limits["pattern"]), value) is not None


def _strings(shape: Shape) -> st.SearchStrategy[str]:
    limits = shape.metadata
    if "enum" in limits:
        return st.sampled_from(limits["enum"])
    location = shape.serialization.get("location")
    least, most = limits.get("min", 0), limits.get("max", 10_000)
    if "pattern" in limits:
        found = st.from_regex(re.compile(translate(limits["pattern"])), fullmatch=True)
    elif location in ("header", "headers"):
        found = HEADER_SAFE
    else:
        least = max(least, int(location == "uri"))
        found = st.text(st.characters(exclude_categories=("Cs",)), min_size=least, max_size=min(most, max(least, 20)))
    found = found.filter(lambda text: fits(shape, text))
    return found.filter(lambda text: text == text.strip()) if location == "header" else found
