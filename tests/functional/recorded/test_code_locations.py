"""Code that is fetched from S3: a service of its own, which has a bucket to fetch from."""

from collections.abc import Iterator
from typing import Any

import pytest

from functional.recorded import s3
from functional.recorded.support import (
    PLAIN,
    Client,
    CreateFunction,
    Recording,
    RefusedCreation,
    active,
    package,
    refusal,
    replays,
)
from lamplighter.settings.options import OPTIONS
from support.service import Service

SETTING = "s3_endpoint"
BUCKET, KEY, OTHER_KEY = "replay-bucket", "code/first.zip", "code/second.zip"
FIRST: dict[str, Any] = {"S3Bucket": BUCKET, "S3Key": KEY}


@pytest.fixture(scope="module")
def service_with_s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    option = next((option for option in OPTIONS if option.name == SETTING), None)
    if option is None:
        pytest.skip(f"there is no setting {SETTING}: code is not fetched from S3")
    objects = {KEY: package(name="index.py"), OTHER_KEY: package("# other", name="index.py")}
    with (
        s3.serving({BUCKET: objects}) as endpoint,
        Service(tmp_path_factory.mktemp("s3") / "data", option.flag, endpoint) as running,
    ):
        yield running


@pytest.fixture
def client(service_with_s3: Service) -> Iterator[Client]:
    made = service_with_s3.client(parameter_validation=False)
    yield made
    made.close()


@replays("TestLambdaFunction::test_lambda_code_location_s3")
def test_code_is_fetched_from_s3(aws: Recording, client: Client, function: CreateFunction, name: str) -> None:
    aws.check("create_response_s3", function(name, **PLAIN, Code=FIRST))
    active(client, name)
    aws.check("get-function-response", client.get_function(FunctionName=name))
    changed = client.update_function_code(FunctionName=name, S3Bucket=BUCKET, S3Key=OTHER_KEY)
    aws.check("update-function-response", changed)
    aws.check_updating("get-function-response-updated", client.get_function(FunctionName=name))


@replays("TestLambdaFunction::test_lambda_code_location_s3_errors")
def test_code_that_s3_does_not_have_is_refused_in_its_words(
    aws: Recording, client: Client, function: CreateFunction, refused_creation: RefusedCreation, name: str
) -> None:
    wrong_bucket, wrong_key = FIRST | {"S3Bucket": "replay-nothing"}, FIRST | {"S3Key": "nothing.zip"}
    aws.check("create-error-wrong-bucket", refused_creation(Code=wrong_bucket))
    aws.check("create-error-wrong-key", refused_creation(Code=wrong_key))
    function(name, **PLAIN, Code=FIRST)
    active(client, name)
    aws.check("update-error-wrong-bucket", refusal(client.update_function_code, FunctionName=name, **wrong_bucket))
    aws.check("update-error-wrong-key", refusal(client.update_function_code, FunctionName=name, **wrong_key))
