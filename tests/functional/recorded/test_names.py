"""Names and qualifiers of functions: what is accepted, what is refused, and how (AWS: spec 1.3)."""

from typing import Any

from functional.recorded.matching import Place, parsed_refusal
from functional.recorded.support import (
    USUAL,
    Client,
    CreateFunction,
    Recording,
    RefusedCreation,
    keys,
    package,
    refusal,
    replays,
)

VALIDATION = "TestLambdaFunction::test_function_name_and_qualifier_validation"
OTHER_REGION = "ap-southeast-1"


def validated(case: str, place: Place) -> dict[str, str]:
    """The name and qualifier of a case of the recordings about validation."""
    long = {length: "a" * length for length in (65, 129, 170)}
    elsewhere = f"arn:aws:lambda:invalid-region:{place.account}:function"
    cases: dict[str, tuple[str, str | None]] = {
        "full_arn_and_qualifier_too_long_and_invalid_region": (f"{elsewhere}:my-function-{long[170]}", long[129]),
        "full_arn_with_multiple_qualifiers": (place.arn("function:my-function:1:2"), None),
        "function_name_and_qualifier_too_long": (f"my-function:{long[65]}", None),
        "function_name_is_single_invalid": ("*", None),
        "function_name_too_long": (long[65], None),
        "function_name_too_long_and_invalid_region": (f"{elsewhere}:my-function{long[170]}", None),
        "incomplete_arn": (place.arn("function"), None),
        "invalid_account_id_in_partial_arn": ("invalid-account:function:my-function", None),
        "invalid_characters_in_qualifier": ("my-function", "invalid!"),
        "invalid_region_in_arn": (f"{elsewhere}:my-function", None),
        "latest_version_with_additional_qualifier": ("my-function:$LATEST", "1"),
        "missing_account_id_in_arn": (f"arn:aws:lambda:{place.region}::function:my-function", None),
        "missing_region_in_arn": (f"arn:aws:lambda::{place.account}:function:my-function", None),
        "misspelled_latest_in_arn": (place.arn("function:my-function:$LATES"), None),
        "non_lambda_arn": (f"arn:aws:ec2:{place.region}:{place.account}:instance:i-1234567890abcdef0", None),
        "partial_arn_with_extra_qualifier": ("function:my-function:$LATEST:extra", None),
        "qualifier_too_long": ("my-function", long[129]),
        "qualifier_too_long0": ("my-function", long[129]),
        "qualifier_too_long1": ("my-function", long[65]),
    }
    name, qualifier = cases[case]
    return {"FunctionName": name} | ({"Qualifier": qualifier} if qualifier else {})


@replays(*keys(VALIDATION))
def test_names_and_qualifiers_are_validated(
    aws: Recording, client: Client, refused_creation: RefusedCreation, place: Place
) -> None:
    case, _, operation = aws.key.removeprefix(f"{VALIDATION}[").removesuffix("]").rpartition("-")
    inputs = validated(case, place)
    if operation == "create_function":  # which has no parameter for the qualifier
        answer = refused_creation(FunctionName=":".join(inputs.values()))
    else:
        answer = refusal(getattr(client, operation), **inputs)
    aws.check(f"{operation}_exception", parsed_refusal(answer))


@replays("TestLambdaFunction::test_function_arns")
def test_functions_are_created_by_arn(
    aws: Recording, function: CreateFunction, refused_creation: RefusedCreation, name: str, place: Place
) -> None:
    aws.check("create-function-arn-response", function(place.arn(f"function:{name}-1"), **USUAL))
    partial = f"{place.account}:function:{name}-2"
    other = {"ZipFile": package("# other")}
    aws.check("create-function-partial-arn-response", function(partial, **USUAL, Code=other))
    aws.check("invalid_function_name_exc", refused_creation(FunctionName="invalid:function:name"))
    aws.check("long_function_name_exc", refused_creation(FunctionName="a" * 65))
    aws.known["function-name"] = "a" * 100
    aws.check("long_function_arn_exc", refused_creation(FunctionName=place.arn(f"function:{'a' * 100}")))
    elsewhere = Place(place.account, OTHER_REGION).arn("function:elsewhere")
    aws.check("function_arn_other_region_exc", refused_creation(FunctionName=elsewhere))
    another = Place("123456789012" if place.account != "123456789012" else "210987654321", place.region)
    aws.check("function_arn_other_account_exc", refused_creation(FunctionName=another.arn("function:elsewhere")))


@replays(*keys("TestLambdaFunction::test_get_function_wrong_region["))
def test_functions_of_other_regions_are_not_reachable(aws: Recording, client: Client, place: Place, name: str) -> None:
    aws.known["wrong-region"] = OTHER_REGION
    arn = Place(place.account, OTHER_REGION).arn(f"function:{name}")
    aws.check("wrong_region_exception", refusal(operation(aws, client), FunctionName=arn))


@replays(*keys("TestLambdaFunction::test_ops_on_nonexisting_fn["))
def test_a_function_that_does_not_exist_is_not_found(aws: Recording, client: Client, name: str) -> None:
    aws.known["nonexisting-fn-name"] = name
    aws.check("not_found_exception", refusal(operation(aws, client), FunctionName=name))


@replays(*keys("TestLambdaFunction::test_ops_on_nonexisting_version["))
def test_a_version_that_does_not_exist_is_not_found(
    aws: Recording, client: Client, function: CreateFunction, name: str
) -> None:
    function(name, **USUAL)
    aws.known["fn-name"] = name
    refused = refusal(operation(aws, client), FunctionName=name, Qualifier="1221")
    aws.check("version_not_found_exception", refused)


@replays(*keys("TestLambdaFunction::test_ops_with_arn_qualifier_mismatch["))
def test_the_qualifier_of_an_arn_has_to_be_the_given_one(aws: Recording, client: Client, place: Place) -> None:
    arn = place.arn("function:some-function:$LATEST")
    ask = operation(aws, client)
    aws.check("not_match_exception", refusal(ask, FunctionName=arn, Qualifier="1"))
    aws.check("match_exception", refusal(ask, FunctionName=arn, Qualifier="$LATEST"))


@replays("TestLambdaFeatures::test_invoke_exceptions")
def test_a_function_that_does_not_exist_is_not_invoked(aws: Recording, client: Client) -> None:
    aws.check("invoke_function_doesnotexist", refusal(client.invoke, FunctionName="doesnotexist"))


def operation(aws: Recording, client: Client) -> Any:
    """That the key of the recording names between brackets."""
    return getattr(client, aws.key.partition("[")[2].removesuffix("]"))
