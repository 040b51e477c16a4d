"""What tests of every kind may stand on."""

import signal
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

from support.neighbours import Neighbours, serving_neighbours

# A busy machine is no failure: neither an example nor making one has a time.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")
# A shell that starts tests in the background has them ignore SIGINT, and so would all that they start and interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def neighbours() -> Iterator[Neighbours]:
    """SQS, SNS, EventBridge and S3, for the whole session: give what you make there names of its own."""
    with serving_neighbours() as running:
        yield running
