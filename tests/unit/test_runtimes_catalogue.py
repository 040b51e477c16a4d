import gzip
import json
import re
from pathlib import Path

import botocore
import pytest

from lamplighter.model.runtime_names import CREATABLE
from lamplighter.runtimes import catalogue
from lamplighter.runtimes.catalogue import RUNTIMES


def _model() -> list[str]:
    path = Path(botocore.__file__).parent / "data" / "lambda" / "2015-03-31" / "service-2.json.gz"
    return json.loads(gzip.decompress(path.read_bytes()))["shapes"]["Runtime"]["enum"]


def test_every_runtime_of_the_service_model_is_in_the_catalogue_and_no_other() -> None:
    assert sorted(RUNTIMES) == sorted(_model())


def test_a_runtime_that_aws_still_creates_is_not_retired() -> None:
    assert not [name for name in CREATABLE if RUNTIMES[name].state == "retired"]


@pytest.mark.parametrize("name", ["java8", "go1.x", "provided", "python3.7", "nodejs14.x", "ruby2.7", "dotnetcore3.1"])
def test_what_aws_was_seen_to_refuse_is_retired(name: str) -> None:
    assert RUNTIMES[name].state == "retired"
    assert catalogue.no_longer_supported(name).message == (
        f"The runtime parameter of {name} is no longer supported for creating or updating AWS Lambda functions. "
        "We recommend you use a supported runtime while creating or updating functions."
    )


def test_the_operating_system_follows_the_generation_of_the_runtime() -> None:
    assert [RUNTIMES[f"python3.{minor}"].system for minor in range(10, 14)] == ["AL2", "AL2", "AL2023", "AL2023"]
    assert RUNTIMES["provided.al2"].system == "AL2"


def test_a_runtime_version_arn_is_valid_and_stays_the_same() -> None:
    arn = catalogue.runtime_version_arn("python3.12", "eu-west-1", "x86_64")
    assert re.fullmatch(r"arn:aws:lambda:eu-west-1::runtime:[0-9a-f]{64}", arn)
    assert arn == catalogue.runtime_version_arn("python3.12", "eu-west-1", "x86_64")
    assert arn != catalogue.runtime_version_arn("python3.13", "eu-west-1", "x86_64")
    assert arn != catalogue.runtime_version_arn("python3.12", "eu-west-1", "arm64")


def test_every_runtime_has_a_remedy_and_pythons_name_a_command() -> None:
    for name in [*RUNTIMES, "nonsense"]:
        assert catalogue.remedy(name).endswith(".")
    assert "`pyenv install 3.14`" in catalogue.remedy("python3.14")
    assert "`nvm install 22`" in catalogue.remedy("nodejs22.x")
