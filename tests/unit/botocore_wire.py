"""The other end of the wire: botocore's own serialiser and parser, and values generated from its model."""

import re
from datetime import UTC, datetime
from functools import cache
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


def request(operation: str, parameters: dict[str, Any]) -> Request:
    """What an SDK sends, apart from its signature."""
    sent = create_serializer("rest-json").serialize_to_request(parameters, MODEL.operation_model(operation))
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
    shape = MODEL.operation_model(operation).input_shape
    return st.just({}) if shape is None else structures(shape.name)


def outputs(operation: str) -> st.SearchStrategy[dict[str, Any]]:
    shape = MODEL.operation_model(operation).output_shape
    return st.just({}) if shape is None else structures(shape.name)


@cache
def structures(name: str) -> st.SearchStrategy[dict[str, Any]]:
    """Valid values of a structure: what is required, and any of the rest."""
    shape = MODEL.shape_for(name)
    assert isinstance(shape, StructureShape)
    members = {member: values(each) for member, each in shape.members.items()}
    required = {member: members.pop(member) for member in shape.required_members}
    return st.fixed_dictionaries(required, optional=members)


def values(shape: Shape) -> st.SearchStrategy[Any]:
    limits = shape.metadata
    least, most = limits.get("min", 0), limits.get("max")
    if isinstance(shape, StructureShape):
        return structures(shape.name)
    if isinstance(shape, ListShape):
        in_query = shape.serialization.get("location") == "querystring"
        return st.lists(
            values(shape.member), min_size=max(least, int(in_query)), max_size=min(most or 3, max(least, 3))
        )
    if isinstance(shape, MapShape):
        return st.dictionaries(values(shape.key), values(shape.value), min_size=least, max_size=min(most or 3, 3))
    match shape.type_name:
        case "string":
            return strings(shape)
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


def strings(shape: Shape) -> st.SearchStrategy[str]:
    limits = shape.metadata
    if "enum" in limits:
        return st.sampled_from(limits["enum"])
    location = shape.serialization.get("location")
    least, most = limits.get("min", 0), limits.get("max", 10_000)
    if location == "uri":
        least = max(least, 1)
    if "pattern" in limits:
        pattern = re.compile(translate(limits["pattern"]))
        found = st.from_regex(pattern, fullmatch=True)
    elif location in ("header", "headers"):
        found = HEADER_SAFE
    else:
        found = st.text(st.characters(exclude_categories=("Cs",)), min_size=least, max_size=min(most, max(least, 20)))
    # botocore counts characters, Java UTF-16 units: a good value is within the limits of both.
    fits = found.filter(lambda text: least <= len(text) and len(text.encode("utf-16-le")) // 2 <= most)
    return fits.filter(lambda text: text == text.strip()) if location == "header" else fits
