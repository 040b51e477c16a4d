"""What roles may do, from policy documents: IAM's wildcards and its Deny, and nothing that would be read wrongly."""

import json
from fnmatch import fnmatchcase
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lamplighter.control.role_policies import PoliciesUnusable, RolePolicies, read_role_policies

ROLE = "arn:aws:iam::000000000000:role/r"
QUEUE = "arn:aws:sqs:us-east-1:000000000000:q"
ALLOW = {"Effect": "Allow", "Action": "sqs:SendMessage", "Resource": "*"}


def policy(*statements: Any) -> dict[str, Any]:
    return {"Version": "2012-10-17", "Statement": list(statements)}


def of(*documents: Any) -> RolePolicies:
    return read_role_policies(json.dumps({ROLE: list(documents)}).encode())


@pytest.mark.parametrize(
    ("statements", "allowed"),
    [
        ([], False),
        ([ALLOW], True),
        ([{**ALLOW, "Action": "SQS:sendmessage"}], True),
        ([{**ALLOW, "Action": ["sns:Publish", "sqs:Send*"]}], True),
        ([{**ALLOW, "Action": "sqs:Send?essage"}], True),
        ([{**ALLOW, "Action": "sqs:Send?"}], False),
        ([{**ALLOW, "Action": "*"}], True),
        ([{**ALLOW, "Resource": QUEUE}], True),
        ([{**ALLOW, "Resource": QUEUE.upper()}], False),
        ([{**ALLOW, "Resource": QUEUE + "*"}], True),
        ([{**ALLOW, "Resource": QUEUE + "?"}], False),
        ([ALLOW, {**ALLOW, "Effect": "Deny", "Resource": QUEUE}], False),
        ([ALLOW, {**ALLOW, "Effect": "Deny", "Resource": "arn:aws:sns:*"}], True),
        ([{"Effect": "Allow", "NotAction": "sns:*", "Resource": "*"}], True),
        ([{"Effect": "Allow", "NotAction": ["sns:*", "sqs:*"], "Resource": "*"}], False),
        ([{"Effect": "Allow", "Action": "sqs:*", "NotResource": QUEUE}], False),
    ],
)
def test_a_role_may_do_what_is_allowed_and_not_denied(statements: list[Any], allowed: bool) -> None:
    for policies in (of(policy(*statements)), of(*(policy(each) for each in statements))):
        assert policies.allows(ROLE, "sqs:SendMessage", QUEUE) is allowed
        assert policies.allows(ROLE + "2", "sqs:SendMessage", QUEUE), "nothing is known of another role"


@given(st.text("ab:*?.", max_size=8), st.text("ab:.\n", max_size=8))
def test_wildcards_match_as_in_file_names(pattern: str, text: str) -> None:
    if pattern:
        policies = of(policy({**ALLOW, "Resource": pattern}))
        assert policies.allows(ROLE, "sqs:SendMessage", text) is fnmatchcase(text, pattern)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "not valid JSON"),
        ("[]", "not an object of roles"),
        ('{"orders": {}}', '"orders" is not the ARN of a role'),
        (json.dumps({ROLE: "x"}), f"the policy of {ROLE} is not an object"),
        (json.dumps({ROLE: {"Version": "2012-10-17"}}), "has no Statement"),
        (json.dumps({ROLE: {"Statement": []}}), "has no Version"),
        *(
            (json.dumps({ROLE: policy({**ALLOW, **more})}), said)
            for more, said in (
                ({"Effect": "allow"}, "neither Allow nor Deny"),
                ({"Condition": {"StringEquals": {"aws:SourceAccount": "1"}}}, "has Condition, which cannot"),
                ({"Principal": "*"}, "has Principal, which cannot"),
                ({"NotAction": "*"}, "either Action or NotAction"),
                ({"Action": [1]}, "Action is not a text"),
                ({"Resource": ""}, "Resource is not a text"),
                ({"Resource": "arn:aws:sqs:*:*:${aws:username}"}, "policy variables"),
            )
        ),
    ],
)
def test_what_would_be_read_wrongly_is_refused(text: str, said: str) -> None:
    with pytest.raises(PoliciesUnusable, match=said.replace("(", r"\(")):
        read_role_policies(text.encode())


documents = st.recursive(
    st.none() | st.booleans() | st.integers(0, 9) | st.sampled_from(["Allow", "sqs:*", "*", "2012-10-17"]),
    lambda each: (
        st.lists(each, max_size=2)
        | st.dictionaries(st.sampled_from(["Version", "Statement", "Effect", "Action", "Resource", "Sid"]), each)
    ),
)


@given(documents)
def test_any_document_is_read_or_refused(document: Any) -> None:
    try:
        of(document).allows(ROLE, "sqs:SendMessage", QUEUE)
    except PoliciesUnusable as refused:
        assert ROLE in str(refused)
