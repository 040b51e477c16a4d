"""Functions and layers by all their names (AWS: spec 1.3)."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lamplighter.api import service_model
from lamplighter.model.errors import (
    AccessDeniedException,
    InvalidParameterValueException,
    ResourceNotFoundException,
    ServiceError,
    ValidationException,
)
from lamplighter.model.names import (
    FUNCTION_NAME_PATTERN,
    FunctionRef,
    check_new_name,
    is_alias,
    kind_of_qualifier,
    parse_function_name,
    parse_layer_name,
    parse_layer_version,
    parse_unqualified,
)

ACCOUNT, REGION = "111111111111", "us-east-1"
ARN = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:my-function"
NAMES = st.from_regex(r"[a-zA-Z0-9-_]{1,64}", fullmatch=True).filter(lambda name: name != "function")
QUALIFIERS = st.none() | st.sampled_from(["$LATEST", "$LATEST.PUBLISHED", "1", "42", "prod"])


def parse(text: str, qualifier: str | None = None) -> FunctionRef:
    return parse_function_name(text, qualifier, ACCOUNT, REGION)


@given(name=NAMES, qualifier=QUALIFIERS)
def test_all_forms_name_the_same_function(name: str, qualifier: str | None) -> None:
    behind = f":{qualifier}" if qualifier else ""
    prefixes = ["", "function:", f"{ACCOUNT}:function:", f"{ACCOUNT}:", f"{REGION}:{ACCOUNT}:function:"]
    for prefix in [*prefixes, f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:"]:
        if prefix == "" and behind and name.isdigit() and len(name) == 12:
            continue  # that is an account in front of a name
        function = parse(f"{prefix}{name}{behind}")
        assert (function.id.account, function.id.region, function.id.name) == (ACCOUNT, REGION, name)
        assert function.qualifier == qualifier
        assert function.arn == f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:{name}{behind}"
        assert parse(f"{prefix}{name}", qualifier) == function
        assert parse(f"{prefix}{name}{behind}", qualifier) == function


@pytest.mark.parametrize(
    ("text", "name", "qualifier"),
    [
        # Recorded: an ARN that stops short names a function called "function".
        (f"arn:aws:lambda:{REGION}:{ACCOUNT}:function", "function", None),
        ("function", "function", None),
        ("my.namespaced.name", "my.namespaced.name", None),
        ("f:$LATEST.PUBLISHED", "f", "$LATEST.PUBLISHED"),
        ("arn:aws-us-gov:lambda:us-east-1:111111111111:function:f", "f", None),
    ],
)
def test_forms_that_surprise(text: str, name: str, qualifier: str | None) -> None:
    function = parse(text)
    assert (function.id.name, function.qualifier) == (name, qualifier)


def test_an_empty_qualifier_is_none() -> None:
    assert parse("f", "").qualifier is None
    assert parse(f"{ARN}:1", "").qualifier == "1"


def test_qualifiers_that_contradict_each_other_are_refused() -> None:
    with pytest.raises(InvalidParameterValueException) as refused:
        parse(f"{ARN}:$LATEST", "1")
    assert refused.value.message == (
        "The derived qualifier from the function name does not match the specified qualifier."
    )


def test_functions_of_other_accounts_and_regions_are_refused() -> None:
    with pytest.raises(AccessDeniedException) as denied:
        parse(ARN.replace(ACCOUNT, "222222222222"))
    assert denied.value.message is None
    with pytest.raises(ResourceNotFoundException) as elsewhere:
        parse(ARN.replace(REGION, "ap-southeast-1"))
    assert elsewhere.value.message == "Functions from 'ap-southeast-1' are not reachable in this region ('us-east-1')"


@pytest.mark.parametrize(
    "text",
    ["", "*", "a:b:c", f"{ARN}:1:2", f"{ARN}:$LATES", f"arn:aws:lambda:{REGION}::function:f", "a b", "f:", ":f", "f\n"],
)
def test_what_is_no_name_is_refused_with_the_pattern(text: str) -> None:
    with pytest.raises(ValidationException) as refused:
        parse(text)
    assert refused.value.message == (
        f"1 validation error detected: Value '{text}' at 'functionName' failed to satisfy constraint: "
        f"Member must satisfy regular expression pattern: {FUNCTION_NAME_PATTERN}"
    )


def test_the_printed_pattern_is_the_model_s() -> None:
    shape = json.loads(service_model.read())["shapes"]["NamespacedFunctionName"]
    assert shape["pattern"] == FUNCTION_NAME_PATTERN


@given(text=st.text(st.sampled_from("a1:$-_./ LATESTfunctionarnaws\n")), qualifier=QUALIFIERS)
def test_any_text_is_a_name_or_refused(text: str, qualifier: str | None) -> None:
    try:
        function = parse(text, qualifier)
    except ServiceError:
        return
    assert function.id.name in text


def test_operations_on_whole_functions_refuse_qualifiers() -> None:
    assert parse_unqualified(ARN, ACCOUNT, REGION).name == "my-function"
    with pytest.raises(InvalidParameterValueException, match="permitted on Lambda functions only"):
        parse_unqualified("f:1", ACCOUNT, REGION)


def test_new_names_have_at_most_64_characters() -> None:
    check_new_name("a" * 64)
    with pytest.raises(InvalidParameterValueException) as refused:
        check_new_name("a" * 65)
    assert refused.value.message == (
        f"1 validation error detected: Value '{'a' * 65}' at 'functionName' failed to satisfy constraint: "
        "Member must have length less than or equal to 64"
    )


@pytest.mark.parametrize(
    ("qualifier", "kind"),
    [("$LATEST", "latest"), ("$LATEST.PUBLISHED", "latest"), ("12", "version"), ("1a", "alias"), ("prod", "alias")],
)
def test_qualifiers_are_versions_or_aliases(qualifier: str, kind: str) -> None:
    assert kind_of_qualifier(qualifier) == kind


@pytest.mark.parametrize(
    ("name", "good"), [("prod", True), ("1a", True), ("12", False), ("", False), ("a" * 129, False), ("a.b", False)]
)
def test_aliases_are_not_all_digits(name: str, good: bool) -> None:
    assert is_alias(name) is good


def test_layers_by_name_and_arn() -> None:
    arn = "arn:aws:lambda:eu-west-1:222222222222:layer:tools"
    named = parse_layer_name("tools", ACCOUNT, REGION)
    assert named.arn == f"arn:aws:lambda:{REGION}:{ACCOUNT}:layer:tools"
    foreign = parse_layer_name(arn, ACCOUNT, "eu-west-1")
    assert (foreign.account, foreign.region, foreign.name, foreign.arn) == (
        "222222222222",
        "eu-west-1",
        "tools",
        arn,
    )
    version = parse_layer_version(f"{arn}:12")
    assert version is not None
    assert (version.layer, version.version, version.arn) == (foreign, 12, f"{arn}:12")
    for wrong in (f"{arn}:12", "a b", "arn:aws:lambda:eu-west-1:222222222222:function:tools"):
        with pytest.raises(ResourceNotFoundException):
            parse_layer_name(wrong, ACCOUNT, "eu-west-1")
    with pytest.raises(ResourceNotFoundException, match="not reachable in this region"):
        parse_layer_name(arn, ACCOUNT, "us-east-1")
    for wrong in (arn, f"{arn}:x", "tools:1", f"{arn}:{'9' * 5000}"):
        assert parse_layer_version(wrong) is None
