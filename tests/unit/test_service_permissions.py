"""Which policies let a service of AWS's call a function: IAM's rules, table by table."""

import fnmatch
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lamplighter.control import policies
from lamplighter.control.service_permissions import ServiceCall, lets
from lamplighter.control.wildcards import expression

FUNCTION = "arn:aws:lambda:eu-west-1:111111111111:function:f"
GROUP = "arn:aws:logs:eu-west-1:111111111111:log-group:/aws/lambda/shop:*"
CALL = ServiceCall(("logs.eu-west-1.amazonaws.com", "logs.amazonaws.com"), GROUP, "111111111111")


def statement(principal: Any = "logs.amazonaws.com", action: Any = "lambda:InvokeFunction", **more: Any) -> Any:
    named = {"Service": principal} if isinstance(principal, str) and "." in principal else principal
    return {"Effect": "Allow", "Principal": named, "Action": action, "Resource": FUNCTION, **more}


def when(operator: str, key: str, *values: Any) -> dict[str, Any]:
    return {"Condition": {operator: {key: list(values)}}}


@pytest.mark.parametrize(
    ("statements", "expected"),
    [
        ([statement()], True),
        ([statement("logs.eu-west-1.amazonaws.com")], True),
        ([statement("logs.us-east-1.amazonaws.com")], False),
        ([statement("sns.amazonaws.com")], False),
        ([statement({"Service": ["sns.amazonaws.com", "logs.amazonaws.com"]})], True),
        ([statement({"AWS": "arn:aws:iam::111111111111:root"})], False),
        ([statement("*", **when("StringEquals", "aws:SourceAccount", "111111111111"))], True),
        ([statement(action="lambda:GetFunction")], False),
        ([statement(action=["lambda:GetFunction", "lambda:Invoke*"])], True),
        ([statement(action="LAMBDA:invokefunction")], True),
        ([statement(action="*")], True),
        ([statement(), statement(Effect="Deny", action="lambda:*")], False),
        ([statement(), statement(Effect="Deny", **when("StringEquals", "aws:SourceAccount", "2"))], True),
        ([statement(), {**statement(Effect="Deny"), "Principal": {"Service": "sns.amazonaws.com"}}], True),
        # As AddPermission writes SourceArn and SourceAccount; a group's ARN ends with :*
        ([statement(**when("ArnLike", "AWS:SourceArn", GROUP))], True),
        ([statement(**when("ArnLike", "AWS:SourceArn", GROUP.removesuffix(":*")))], False),
        ([statement(**when("ArnLike", "AWS:SourceArn", "arn:aws:logs:*:111111111111:log-group:/aws/lambda/*"))], True),
        ([statement(**when("ArnLike", "AWS:SourceArn", "arn:aws:logs:*"))], False),  # * leads across no colon of six
        ([statement(**when("StringLike", "AWS:SourceArn", "arn:aws:logs:*"))], True),
        (
            [statement(**when("ArnLike", "AWS:SourceArn", "arn:aws:logs:eu-west-1:111111111111:log-group:other:*"))],
            False,
        ),
        ([statement(**when("StringEquals", "aws:sourceaccount", "222222222222", "111111111111"))], True),
        ([statement(**when("StringNotEquals", "aws:SourceAccount", "222222222222", "111111111111"))], False),
        ([statement(**when("StringNotEquals", "aws:SourceAccount", "222222222222"))], True),
        ([statement(**when("Bool", "aws:PrincipalIsAWSService", True))], True),
        ([statement(**when("Bool", "aws:PrincipalIsAWSService", "false"))], False),
        # Of keys that such a call does not have
        ([statement(**when("StringEquals", "aws:PrincipalOrgID", "o-1234567890"))], False),
        ([statement(**when("StringNotEquals", "aws:PrincipalOrgID", "o-1234567890"))], True),
        ([statement(**when("StringEqualsIfExists", "aws:PrincipalOrgID", "o-1234567890"))], True),
        ([statement(**when("Null", "aws:PrincipalOrgID", "true"))], True),
        ([statement(**when("Null", "aws:SourceArn", "true"))], False),
        ([statement(**when("ForAnyValue:StringLike", "aws:PrincipalServiceNamesList", "logs.*"))], True),
        (
            [statement(**when("ForAllValues:StringEquals", "aws:PrincipalServiceNamesList", "logs.amazonaws.com"))],
            False,
        ),
        ([statement(**when("IpAddress", "aws:SourceIp", "10.0.0.0/8"))], False),
        ([], False),
    ],
)
def test_a_service_is_let_in_as_by_iam(statements: list[Any], expected: bool) -> None:
    for each in statements:  # what the table has is what AWS takes
        policies.parse(policies.to_text({"Version": "2012-10-17", "Statement": [each]}), FUNCTION)
    assert lets(statements, CALL) is expected


def test_not_principal_denies_all_others() -> None:
    denied = statement(Effect="Deny")
    del denied["Principal"]
    assert not lets([statement(), {**denied, "NotPrincipal": {"Service": "sns.amazonaws.com"}}], CALL)
    assert lets([statement(), {**denied, "NotPrincipal": {"Service": "logs.amazonaws.com"}}], CALL)


@given(st.text("ab*?", max_size=8), st.text("abc", max_size=10))
def test_wildcards_mean_any_text_and_any_character(pattern: str, text: str) -> None:
    found = re.fullmatch(expression(pattern), text, re.DOTALL) is not None
    assert found == fnmatch.fnmatchcase(text, pattern)


def test_no_policy_takes_long_to_ask() -> None:
    """Minutes, if each * could give back what it took."""
    hostile = statement(**when("StringLike", "aws:SourceArn", "*a" * 2000 + "b"))
    assert not lets([hostile], ServiceCall(CALL.names, "a" * 4000, CALL.account))
