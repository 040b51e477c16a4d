"""Runtimes that AWS has retired."""

from functional.recorded.support import Recording, RefusedCreation, keys, replays


@replays(*keys("TestRuntimeValidation::test_create_deprecated_function_runtime_with_validation_enabled["))
def test_a_retired_runtime_is_refused(aws: Recording, refused_creation: RefusedCreation) -> None:
    runtime = aws.key.partition("[")[2].removesuffix("]")
    aws.check("deprecation_error", refused_creation(Runtime=runtime))
