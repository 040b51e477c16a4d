"""What attacks on isolation stand on."""

from collections.abc import Iterator

import pytest

from support.prison import Prison, imprison


@pytest.fixture(scope="module", params=[pytest.param("full", marks=pytest.mark.root), "user"])
def prison(request: pytest.FixtureRequest) -> Iterator[Prison]:
    with imprison(request.param) as made:
        yield made
