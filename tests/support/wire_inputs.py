"""Inputs to send to a running service: such as name what exists there, and such as break exactly one constraint.

What breaks a constraint is composed as values are, from the model's shapes: a broken member in an otherwise valid
structure, a broken element in an otherwise valid list, and so on outwards to the whole input.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

from botocore.model import ListShape, MapShape, Shape, StructureShape
from hypothesis import strategies as st

from lamplighter.api.validation_texts import SECOND_LAYER
from lamplighter.control import markers
from support.botocore_wire import MODEL, Strategy, Values, fits
from support.functions import PYTHON, ROLE, package

ACCOUNT, OTHER, REGION = "000000000000", "111111111111", "us-east-1"
ARN = f"arn:aws:lambda:{REGION}:{ACCOUNT}"
FULL, BARE = "wire-full", "wire-bare"  # functions that exist, each with a version and an alias; one has all that a
ALIAS = "live"  # function can have, the other nothing
NEW = [f"wire-new-{number}" for number in range(30)]  # names that most likely are free
STATEMENT = "s1"
CODE = package({"app.py": "def handler(event, context): return event"})
NEWER_CODE = package({"app.py": "def handler(event, context): return [event]"})
UUID = "01234567-89ab-cdef-0123-456789abcdef"
LARGEST_TEXT = 5000  # characters; what is longer is refused by other limits, or takes long
KEYS = st.lists(st.sampled_from([FULL, "1", "9" * 40, "9" * 5000, "", "é"]), min_size=1, max_size=3)
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
BAD_TEXTS = ("!", " ", "\n", "é*", "-", "*", "a b", "\u2028")

Place = tuple[str | int, ...]  # of a value in a JSON document


@dataclass(frozen=True)
class World:
    """What exists beside the functions."""

    layer: str  # with versions 1 and 2
    signing_config: str  # an ARN


def known(world: World) -> Values:
    """Values that often name what exists."""
    qualifiers = often(st.sampled_from([ALIAS, "1", "$LATEST"]), st.sampled_from(["$LATEST.PUBLISHED", "no", "99"]))
    names = often(st.sampled_from([FULL, BARE]), st.sampled_from(["nobody", NEW[0]]))
    forms = st.sampled_from(["{}", "{}", "{}", f"{ACCOUNT}:{{}}", f"{ACCOUNT}:function:{{}}", f"{ARN}:function:{{}}"])
    plain = st.builds(str.format, forms, names)
    foreign = st.sampled_from(
        [f"arn:aws:lambda:eu-west-1:{ACCOUNT}:function:{FULL}", f"arn:aws:lambda:{REGION}:{OTHER}:function:{FULL}:1"]
    )
    functions = often(plain, st.builds("{}:{}".format, plain, qualifiers) | foreign)
    layers = often(
        st.sampled_from([world.layer, f"{ARN}:layer:{world.layer}"]),
        st.sampled_from(["nothing", f"arn:aws:lambda:{REGION}:{OTHER}:layer:l"]),
    )
    layer_numbers = often(st.integers(1, 2), st.sampled_from([3, 99]))
    configs = often(st.just(world.signing_config), st.just(f"{ARN}:code-signing-config:csc-{'0' * 17}"))
    arns = st.builds(f"{ARN}:function:{{}}".format, names)
    others = st.sampled_from([f"{ARN}:layer:{world.layer}", f"{ARN}:event-source-mapping:{UUID}"])
    statements = st.sampled_from([STATEMENT, "s2", "s3"])
    code = st.just({"ZipFile": CODE})
    odd_code = st.sampled_from([{}, {"ZipFile": b""}, {"ZipFile": b"no zip"}, {"S3Bucket": "bucket", "S3Key": "key"}])
    return Values(
        {
            "FunctionName": functions,
            "NamespacedFunctionName": functions,
            "FunctionUrlFunctionName": functions,
            "UnqualifiedFunctionName": often(plain, foreign),
            "Alias": often(st.just(ALIAS), st.sampled_from(["other", "nothing"])),
            "Qualifier": qualifiers,
            "VersionWithLatestPublished": qualifiers,
            "AdditionalVersion": qualifiers,
            "LayerNameOrArn": layers,
            "LayerName": layers,
            "LayerVersionArn": st.builds(f"{ARN}:layer:{world.layer}:{{}}".format, layer_numbers),
            "LayerVersionNumber": layer_numbers,
            "CodeSigningConfigArn": configs,
            "TaggableResource": often(arns, configs | others),
            "PolicyResourceArn": often(arns, st.builds("{}:{}".format, arns, qualifiers)),
            "ResourcePolicy": often(
                st.builds(_policy, arns), st.sampled_from(["{}", "[]", "{", '{"Statement": [{}]}'])
            ),
            "StatementId": statements,
            "NamespacedStatementId": statements,
            "Principal": st.sampled_from(["*", "s3.amazonaws.com", OTHER, "nobody"]),
            "Action": st.sampled_from(["lambda:InvokeFunction", "lambda:InvokeFunctionUrl", "lambda:GetLayerVersion"]),
            "RoleArn": st.just(ROLE),
            "Runtime": often(st.just(PYTHON), st.sampled_from(["python3.12", "nodejs22.x", "provided.al2023"])),
            "Handler": st.just("app.handler"),
            "Code": often(code, odd_code | st.just({"ImageUri": "image"})),
            "Content": often(code, odd_code),
            "ZipFile": often(st.sampled_from([CODE, NEWER_CODE]), st.sampled_from([b"no zip", b""])),
            "Marker": st.sampled_from(["", "nonsense", "W10=", "e30=", markers.make("ListFunctions", FULL, "$LATEST")]),
            "RevisionId": st.uuids().map(str),
            "UUIDString": st.just(UUID) | st.uuids().map(str),
            "ReservedConcurrentExecutions": st.sampled_from([0, 1, 10, 900, 1000, 2**31 - 1]),
            "ProvisionedConcurrentExecutions": st.sampled_from([1, 5, 1000, 2**31 - 1]),
        }
    )


def often(usual: Strategy, other: Strategy) -> Strategy:
    """Four times in five the first."""
    return st.sampled_from([usual] * 4 + [other]).flatmap(lambda chosen: chosen)


def _policy(arn: str) -> str:
    statement = {"Effect": "Allow", "Principal": {"AWS": ACCOUNT}, "Action": "lambda:InvokeFunction", "Resource": arn}
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


def plausible(values: Values, operation: str) -> st.SearchStrategy[dict[str, Any]]:
    """Valid inputs, most with few of the members that need not be there: each of those may be what is refused."""
    shape = MODEL.operation_model(operation).input_shape
    if shape is None:
        return st.just({})
    members = values.members(shape)
    usual = {"CreateFunction": ("Runtime", "Handler"), "UpdateFunctionCode": ("ZipFile",)}.get(operation, ())
    required = {name: members.pop(name) for name in (*shape.required_members, *usual)}
    if operation == "CreateFunction":
        required["FunctionName"] = often(st.sampled_from(NEW), required["FunctionName"])
    if "Marker" in members:  # of the form that the service gives, whether or not it would give that one
        members["Marker"] |= st.builds(lambda key: markers.make(operation, *key), KEYS)
    few = st.sets(st.sampled_from(sorted(members)), max_size=2) if members else st.just(set[str]())
    some = few.flatmap(
        lambda chosen: st.fixed_dictionaries(required | {name: members[name] for name in sorted(chosen)})
    )
    return often(some, values.inputs(operation))


def spoiled(document: Any) -> st.SearchStrategy[Any]:
    """A JSON document with anything in the place of one of its values."""
    places = list(_places(document))
    return st.builds(_replaced, st.just(document), st.sampled_from(places), ANYTHING)


def _places(value: Any, place: Place = ()) -> Iterator[Place]:
    yield place
    for key in value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ():
        yield from _places(value[key], (*place, key))


def _replaced(document: Any, place: Place, value: Any) -> Any:
    if not place:
        return value
    copy = document.copy()
    copy[place[0]] = _replaced(document[place[0]], place[1:], value)
    return copy


class Broken(NamedTuple):
    """Values with one constraint broken, and how the refusal names it: the field, and the start of the constraint."""

    field: str
    says: str
    values: Strategy

    def __repr__(self) -> str:
        return f"{self.field}: {self.says}"


def broken_inputs(values: Values, operation: str) -> list[Broken]:
    shape = MODEL.operation_model(operation).input_shape
    return [] if shape is None else list(_of_structure(values, shape))


def _of(values: Values, shape: Shape) -> Iterator[Broken]:
    if isinstance(shape, StructureShape):
        yield from _of_structure(values, shape)
    elif isinstance(shape, ListShape):
        yield from _of_list(values, shape)
    elif isinstance(shape, MapShape):
        yield from _of_map(values, shape)
    else:
        yield from _of_scalar(shape)


def _of_structure(values: Values, shape: StructureShape) -> Iterator[Broken]:
    members = values.members(shape)
    required = {name: members.pop(name) for name in shape.required_members}
    for name, member in shape.members.items():
        if (shape.name, name) in SECOND_LAYER:
            continue
        field = name[:1].lower() + name[1:]
        others = {key: value for key, value in required.items() if key != name}
        if name in required and member.serialization.get("location") != "uri":
            yield Broken(field, "Member must not be null", st.fixed_dictionaries(others))
        for inner, says, bad in _of(values, member):
            separator = "." if inner and not inner.startswith(".") else ""
            yield Broken(f"{field}{separator}{inner}", says, st.fixed_dictionaries({**others, name: bad}))


def _of_list(values: Values, shape: ListShape) -> Iterator[Broken]:
    in_query = shape.serialization.get("location") == "querystring"
    limits, item = shape.metadata, values.value(shape.member)
    if "max" in limits:
        size = limits["max"] + 1
        says = f"Member must have length less than or equal to {limits['max']}"
        yield Broken("", says, st.lists(item, min_size=size, max_size=size))
    if limits.get("min") and not in_query:  # an empty list there is none at all
        yield Broken("", f"Member must have length greater than or equal to {limits['min']}", st.just([]))
    for field, says, bad in _of(values, shape.member):
        if isinstance(shape.member, StructureShape):
            yield Broken(f".1.member.{field}", says, st.tuples(bad).map(list))
        else:  # of a list's elements, some texts say no more than their constraint
            yield Broken("", "Member must satisfy ", st.tuples(bad).map(list))


def _of_map(values: Values, shape: MapShape) -> Iterator[Broken]:
    limits, keys, entries = shape.metadata, values.value(shape.key), values.value(shape.value)
    if "max" in limits and limits["max"] <= 100:
        size = limits["max"] + 1
        says = f"Member must have length less than or equal to {limits['max']}"
        if not 0 < len(getattr(shape.key, "enum", ())) < size:  # else there are not so many keys
            yield Broken("", says, st.dictionaries(keys, entries, min_size=size, max_size=size))
    if limits.get("min"):
        yield Broken("", f"Member must have length greater than or equal to {limits['min']}", st.just({}))
    for _, _, bad in _of(values, shape.key):
        yield Broken("", "Map keys must satisfy constraint: [", st.dictionaries(bad, entries, min_size=1, max_size=1))
    for _, _, bad in _of(values, shape.value):
        yield Broken("", "Map value must satisfy constraint: [", st.dictionaries(keys, bad, min_size=1, max_size=1))


def _of_scalar(shape: Shape) -> Iterator[Broken]:
    limits, location = shape.metadata, shape.serialization.get("location")
    if location == "header":  # what cannot travel in a header is not sent
        return
    text = shape.type_name == "string"
    word = "length" if text else "value"
    most, least = limits.get("max"), limits.get("min")
    if most is not None and (not text or most < LARGEST_TEXT) and shape.type_name != "blob":
        bad = st.sampled_from("a1").map(lambda each: each * (most + 1)) if text else st.integers(most + 1, most + 9)
        yield Broken("", f"Member must have {word} less than or equal to {most}", bad)
    if least is not None and (least > int(location == "uri") if text else True) and shape.type_name != "blob":
        short = st.just("a" * (least - 1)) if text else st.integers(max(least - 9, -(2**31)), least - 1)
        yield Broken("", f"Member must have {word} greater than or equal to {least}", short)
    if "pattern" in limits:
        bad_texts = [each * max(least or 1, 1) for each in BAD_TEXTS]
        bad_texts = [each for each in bad_texts if len(each) <= (most or LARGEST_TEXT) and not fits(shape, each)]
        if bad_texts:
            yield Broken("", "Member must satisfy regular expression pattern: ", st.sampled_from(bad_texts))
    if "enum" in limits:
        yield Broken(
            "", "Member must satisfy enum value set: [", st.sampled_from(["nonsense", limits["enum"][0] + "X"])
        )
