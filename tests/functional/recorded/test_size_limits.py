"""What is too big."""

import json

from functional.recorded.support import Recording, RefusedCreation, replays

TOO_BIG = 52_700_000  # bytes that make a request too big when they are base64


@replays("TestLambdaSizeLimits::test_large_environment_fails_multiple_keys")
def test_an_environment_that_is_too_big_is_refused_with_what_was_measured(
    aws: Recording, refused_creation: RefusedCreation
) -> None:
    message = aws["failured_create_fn_result_multi_key"]["message"]
    variables = json.loads(message.partition("String measured: ")[2])
    aws.check("failured_create_fn_result_multi_key", refused_creation(Environment={"Variables": variables}))


@replays("TestLambdaSizeLimits::test_oversized_request_create_lambda")
def test_a_request_that_is_too_big_is_refused(aws: Recording, refused_creation: RefusedCreation) -> None:
    aws.check("invalid_param_exc", refused_creation(Code={"ZipFile": bytes(TOO_BIG)}))
