"""What functional tests stand on: a real service, driven from outside with boto3 and the AWS CLI.

`service` and `client` are shared by the whole session, for speed: give functions names of their own. A test that
restarts, kills or configures starts its own: `with Service(data_dir, "--auth", "off") as service:`.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from support.functions import deploy_with
from support.service import Service


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with Service(tmp_path_factory.mktemp("service") / "data") as running:
        yield running


@pytest.fixture(scope="session")
def client(service: Service) -> Iterator[Any]:
    made = service.client()
    yield made
    made.close()


@pytest.fixture(scope="session")
def logs(service: Service) -> Iterator[Any]:
    """boto3's client of CloudWatch Logs."""
    made = service.client("logs", inject_host_prefix=False)
    yield made
    made.close()


@pytest.fixture
def deploy(client: Any) -> Iterator[Callable[..., str]]:
    """deploy(source, **members of CreateFunction) -> name of an Active function whose handler is `app.handler`; it is
    deleted when the test is over."""
    made: list[str] = []

    def deploy(source: str, **members: Any) -> str:
        made.append(deploy_with(client, source, **members))
        return made[-1]

    yield deploy
    for name in made:
        client.delete_function(FunctionName=name)


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    """For a service of the test's own."""
    return tmp_path / "data"
