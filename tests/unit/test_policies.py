"""Policy documents: what IAM's grammar lets through comes back as it was, all else is refused and never a failure."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lamplighter.control import policies
from lamplighter.model.errors import (
    InvalidParameterValueException,
    PolicyLengthExceededException,
    PublicPolicyException,
    ResourceConflictException,
    ServiceError,
)

ARN = "arn:aws:lambda:us-east-1:111111111111:function:f"
ALLOW: dict[str, Any] = {
    "Sid": "a",
    "Effect": "Allow",
    "Principal": {"Service": "s3.amazonaws.com"},
    "Action": "lambda:InvokeFunction",
    "Resource": ARN,
}
CONDITION = {"StringEquals": {"aws:SourceAccount": "111111111111"}}

UNHURRIED = settings(max_examples=60, deadline=None)

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


def one_or_more(each: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return each | st.lists(each, min_size=1, max_size=3)


identities = st.sampled_from(["*", "222222222222", "arn:aws:iam::222222222222:role/r"])
services = st.just("s3.amazonaws.com")
principals: st.SearchStrategy[Any] = (
    st.just("*")
    | st.fixed_dictionaries({"AWS": one_or_more(identities)})
    | st.fixed_dictionaries({"AWS": one_or_more(identities), "Service": one_or_more(services)})
)
conditions: st.SearchStrategy[Any] = st.dictionaries(
    st.sampled_from(["StringEquals", "ArnLike", "Bool", "ForAnyValue:StringNotLike", "NumericLessThanIfExists"]),
    st.dictionaries(
        texts.filter(bool), one_or_more(texts | st.booleans() | st.integers(-(2**53), 2**53)), min_size=1, max_size=3
    ),
    min_size=1,
    max_size=2,
)
statements: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {
        "Effect": st.sampled_from(["Allow", "Deny"]),
        "Principal": principals,
        "Action": one_or_more(st.sampled_from(["*", "lambda:*", "lambda:InvokeFunction", "lambda:Get*"])),
        "Resource": one_or_more(st.just(ARN)),
        "Condition": conditions,
    },
    optional={"Sid": texts},
)


def sid_or_itself(statement: dict[str, Any]) -> object:
    return statement.get("Sid", id(statement))


documents: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {"Statement": st.lists(statements, min_size=1, max_size=4, unique_by=sid_or_itself)},
    optional={"Version": st.sampled_from(["2012-10-17", "2008-10-17"]), "Id": texts},
)
anything: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.just("*"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@UNHURRIED
@given(documents)
def test_a_policy_comes_back_as_it_was_given(document: dict[str, Any]):
    parsed = policies.parse(json.dumps(document), ARN)
    assert parsed == document
    assert json.loads(policies.to_text(policies.revised(parsed)["policy"])) == document


@UNHURRIED
@given(documents, statements)
def test_a_statement_is_added_behind_the_others_and_can_be_taken_away(
    document: dict[str, Any], statement: dict[str, Any]
):
    before = policies.revised(policies.parse(json.dumps(document), ARN))
    added = statement | {"Sid": "the one that is added"}
    after = policies.with_statement(before, added)
    assert after["policy"] == document | {"Statement": [*document["Statement"], added]}
    assert after["revision"] != before["revision"]
    with pytest.raises(ResourceConflictException):
        policies.with_statement(after, added)
    back = policies.without_statement(after, added["Sid"])
    assert back is not None
    assert back["policy"] == document


@UNHURRIED
@given(documents, st.sampled_from(sorted(policies.OF_STATEMENT | policies.ELEMENTS)), anything, st.booleans())
def test_whatever_an_element_is_replaced_with_the_policy_is_kept_or_refused(
    document: dict[str, Any], element: str, other: Any, outside: bool
):
    first, *others = document["Statement"]
    inside = {"Statement": [first | {element: other}, *others]}
    changed = document | ({element: other} if outside else inside)
    try:
        parsed = policies.parse(json.dumps(changed), ARN)
    except ServiceError as refusal:
        assert refusal.status == 400
    else:
        kept = policies.revised(parsed)["policy"]
        assert policies.parse(policies.to_text(kept), ARN) == kept


@UNHURRIED
@given(st.text() | anything.map(json.dumps))
def test_any_text_is_a_policy_or_refused(text: str):
    with pytest.raises(InvalidParameterValueException):
        policies.parse(text, ARN)


@pytest.mark.parametrize(
    "text", ["", "{", "null", "[]", "[" * 100_000, '"\\ud800"', '{"Id": "\\ud800"}', "1e999", "NaN"]
)
def test_texts_that_are_hard_to_read_are_refused(text: str):
    with pytest.raises(InvalidParameterValueException):
        policies.parse(text, ARN)


@pytest.mark.parametrize(
    "change",
    [
        {"Effect": "allow"},
        {"Action": "s3:GetObject"},
        {"Action": []},
        {"NotAction": "lambda:GetFunction"},
        {"Resource": f"{ARN}:1"},
        {"Resource": "*"},
        {"Principal": {}},
        {"Principal": {"Someone": "x"}},
        {"Principal": {"AWS": "s3.amazonaws.com"}},
        {"Principal": {"AWS": "not-a-principal"}},
        {"NotPrincipal": {"AWS": "111111111111"}},
        {"Condition": {"Equals": {"a": "b"}}},
        {"Condition": {"StringEquals": {}}},
        {"Condition": {"StringEquals": {"a": []}}},
        {"Condition": {"NumericEquals": {"a": 1e999}}},
        {"Condition": []},
    ],
    ids=json.dumps,
)
def test_a_statement_that_the_grammar_does_not_allow_is_refused(change: dict[str, Any]):
    with pytest.raises(InvalidParameterValueException):
        policies.parse(json.dumps({"Statement": [ALLOW | change]}), ARN)


def test_one_statement_need_not_be_in_a_list():
    assert policies.parse(json.dumps({"Statement": ALLOW}), ARN) == {"Statement": [ALLOW]}


def test_two_statements_cannot_have_one_sid():
    with pytest.raises(InvalidParameterValueException):
        policies.parse(json.dumps({"Statement": [ALLOW, ALLOW]}), ARN)


@pytest.mark.parametrize("everybody", ["*", {"AWS": "*"}, {"AWS": ["111111111111", "*"]}], ids=json.dumps)
def test_everybody_is_let_in_under_a_condition_only(everybody: Any):
    statement = ALLOW | {"Principal": everybody}
    unconditional: dict[str, Any] = statement | {"Condition": {}}
    for public in (statement, unconditional):
        with pytest.raises(PublicPolicyException):
            policies.parse(json.dumps({"Statement": [ALLOW | {"Sid": "b"}, public]}), ARN)
    for fine in (statement | {"Condition": CONDITION}, statement | {"Effect": "Deny"}):
        assert policies.parse(json.dumps({"Statement": [fine]}), ARN)["Statement"] == [fine]


@UNHURRIED
@given(st.integers(1, 20_480), st.sampled_from(["a", "é", "😀"]))
def test_a_policy_is_too_long_by_its_bytes(length: int, letter: str):
    policy = policies.parse(json.dumps({"Id": letter * length, "Statement": ALLOW}), ARN)
    size = len(policies.to_text(policy).encode())
    if size <= policies.LARGEST:
        assert policies.revised(policy)["policy"] == policy
    else:
        with pytest.raises(PolicyLengthExceededException):
            policies.revised(policy)
