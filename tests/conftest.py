"""What tests of every kind may stand on."""

from collections.abc import Iterator

import pytest

from support.neighbours import Neighbours, serving_neighbours


@pytest.fixture(scope="session")
def neighbours() -> Iterator[Neighbours]:
    """SQS, SNS, EventBridge and S3, for the whole session: give what you make there names of its own."""
    with serving_neighbours() as running:
        yield running
