"""Tags: of functions, mostly."""

from functional.recorded.matching import Place
from functional.recorded.support import (
    USUAL,
    Client,
    CreateFunction,
    Recording,
    RefusedCreation,
    active,
    refusal,
    replays,
)


@replays("TestLambdaTags::test_tag_lifecycle")
def test_tags_change_the_revision_of_their_function(
    aws: Recording, client: Client, function: CreateFunction, name: str
) -> None:
    def shown(when: str) -> None:
        aws.check(f"list_tags_response_{when}", client.list_tags(Resource=arn))
        aws.check(f"get_fn_response_{when}", client.get_function(FunctionName=name))

    def tags(letters: str) -> dict[str, str]:
        return {f"key_{letter}": f"value_{letter}" for letter in letters}

    arn = function(name, **USUAL, Tags=tags("a"))["FunctionArn"]
    active(client, name)
    shown("postfncreate")
    aws.check("tag_resource_response", client.tag_resource(Resource=arn, Tags=tags("bcde")))
    shown("postaddtags")
    aws.check("tag_resource_overwrite", client.tag_resource(Resource=arn, Tags={"key_c": "value_x"}))
    shown("overwrite")
    client.untag_resource(Resource=arn, TagKeys=["key_c", "key_d"])
    shown("postuntag")
    client.untag_resource(Resource=arn, TagKeys=["key_a", "key_b", "key_e"])
    shown("postuntagall")
    client.delete_function(FunctionName=name)
    aws.check("list_tags_postdelete", refusal(client.list_tags, Resource=arn))


@replays("TestLambdaTag::test_tag_lifecycle")
def test_tags_are_added_overwritten_and_taken_away(
    aws: Recording, client: Client, function: CreateFunction, name: str
) -> None:
    def tag(case: str, **tags: str) -> None:
        aws.check(f"tag_{case}_response", client.tag_resource(Resource=arn, Tags=tags))
        aws.check(f"tag_{case}_response_listtags", client.list_tags(Resource=arn))

    def untag(case: str, *keys: str) -> None:
        aws.check(f"untag_{case}_response", client.untag_resource(Resource=arn, TagKeys=list(keys)))
        aws.check(f"untag_{case}_response_listtags", client.list_tags(Resource=arn))

    arn = function(name, **USUAL)["FunctionArn"]
    active(client, name)
    tag("single", A="tag-a")
    tag("multiple", B="tag-b", C="tag-c")
    tag("overlap", C="tag-c-newsuffix", D="tag-d")
    untag("single", "A")
    untag("multiple", "B", "C")
    untag("nonexisting", "F")
    untag("existing_and_nonexisting", "D", "F")


@replays("TestLambdaTags::test_tag_exceptions")
def test_tags_that_are_refused(
    aws: Recording, client: Client, function: CreateFunction, name: str, place: Place
) -> None:
    arn = function(name, **USUAL)["FunctionArn"]
    active(client, name)
    tags = {"key": "value"}
    aws.check("tag_lambda_invalidarn", refusal(client.tag_resource, Resource="arn:aws:something", Tags=tags))
    missing = place.arn("function:doesnotexist")
    aws.check("tag_lambda_doesnotexist", refusal(client.tag_resource, Resource=missing, Tags=tags))
    qualified = refusal(client.tag_resource, Resource=f"{arn}:42", Tags=tags)
    aws.check("tag_lambda_qualifier_doesnotexist", qualified)
    aws.check("list_tag_lambda_empty", client.list_tags(Resource=arn))
    aws.check("untag_nomatch", client.untag_resource(Resource=arn, TagKeys=["somekey"]))
    aws.check("untag_empty_keys", refusal(client.untag_resource, Resource=arn, TagKeys=[]))
    aws.check("tag_empty_tags", refusal(client.tag_resource, Resource=arn, Tags={}))


@replays("TestLambdaTags::test_tag_limits")
def test_a_function_has_fifty_tags_at_most(
    aws: Recording, client: Client, function: CreateFunction, refused_creation: RefusedCreation, name: str
) -> None:
    def tags(number: int) -> dict[str, str]:
        return {f"{n}_key": f"{n}_value" for n in range(number)}

    arn = function(name, **USUAL)["FunctionArn"]
    active(client, name)
    aws.check("tag_lambda_too_many_tags", refusal(client.tag_resource, Resource=arn, Tags=tags(51)))
    aws.check("tag_response", client.tag_resource(Resource=arn, Tags=tags(50)))
    aws.check("list_tags_response", client.list_tags(Resource=arn))
    aws.check("get_fn_response", client.get_function(FunctionName=name))
    more = refusal(client.tag_resource, Resource=arn, Tags={"50_key": "50_value"})
    aws.check("tag_lambda_too_many_tags_additional", more)
    creation = refused_creation(FunctionName=f"{name}-2", Tags=tags(51))
    aws.check("create_function_invalid_tags", creation)


@replays("TestLambdaTag::test_tag_nonexisting_resource")
def test_a_deleted_function_has_no_tags(aws: Recording, client: Client, function: CreateFunction, name: str) -> None:
    arn = function(name, **USUAL)["FunctionArn"]
    active(client, name)
    aws.check("pre_delete_get_function", client.get_function(FunctionName=name))
    client.delete_function(FunctionName=name)
    check_not_found(aws, client, arn)


@replays("TestLambdaTag::test_tag_exceptions[capacity_provider]")
def test_tags_of_capacity_providers_that_are_refused(aws: Recording, client: Client, place: Place, name: str) -> None:
    aws.known["resource-name"] = name
    arn = place.arn(f"capacity-provider:{name}")
    check_not_found(aws, client, arn)
    aws.check("aliased_arn_exception", refusal(client.list_tags, Resource=f"{arn}:alias"))
    aws.check("invalid_arn_exception", refusal(client.list_tags, Resource=place.arn(f"foobar:{name}")))


def check_not_found(aws: Recording, client: Client, arn: str) -> None:
    aws.check("not_found_exception_tag", refusal(client.tag_resource, Resource=arn, Tags={"A": "tag-a"}))
    aws.check("not_found_exception_untag", refusal(client.untag_resource, Resource=arn, TagKeys=["A"]))
    aws.check("not_found_exception_list", refusal(client.list_tags, Resource=arn))
