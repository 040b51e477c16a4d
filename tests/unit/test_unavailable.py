"""Operations whose rules come later."""

import asyncio

import pytest

from lamplighter.api.http import Call, Caller
from lamplighter.api.protocol import Wire
from lamplighter.api.unavailable import UNAVAILABLE, unavailable
from lamplighter.model.errors import UnknownOperationException

LISTED = [name for group in UNAVAILABLE.values() for name in group]


def test_the_table_lists_operations_of_the_model_once_each() -> None:
    assert len(LISTED) == len(set(LISTED))
    assert set(LISTED) <= set(Wire().operations)


def test_the_refusal_names_the_operation_and_is_not_a_failure() -> None:
    call = Call("id", Caller("AK", "000000000000", "arn"), "us-east-1", "http://localhost:4566")
    with pytest.raises(UnknownOperationException, match="ListCapacityProviders") as refused:
        asyncio.run(unavailable("ListCapacityProviders")(call, {}))
    assert refused.value.status == 404
