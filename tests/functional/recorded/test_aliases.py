"""Aliases: made, pointed elsewhere, followed by invocations, deleted."""

import json

from functional.recorded.support import (
    PLAIN,
    Answer,
    Client,
    CreateFunction,
    Recording,
    active,
    package,
    refusal,
    replays,
    updated,
)

STAGING = {"Variables": {"testenv": "staging"}}
NO_WEIGHTS: dict[str, dict[str, float]] = {"AdditionalVersionWeights": {}}


@replays("TestLambdaAlias::test_alias_lifecycle")
def test_aliases_from_creation_to_deletion(aws: Recording, client: Client, function: CreateFunction, name: str) -> None:
    created = function(name, **PLAIN, Environment=STAGING)
    aws.check("create_response", created)
    active(client, name)
    aws.check("publish_v1", client.publish_version(FunctionName=name))
    client.update_function_configuration(FunctionName=name, Environment={"Variables": {"testenv": "prod"}})
    updated(client, name)
    aws.check("publish_v2", client.publish_version(FunctionName=name))

    custom = {"FunctionName": name, "Description": "custom-alias"}
    weighted = {"FunctionVersion": "1", "RoutingConfig": {"AdditionalVersionWeights": {"2": 0.2}}}
    aws.check("create_alias_1_1", client.create_alias(**custom, **weighted, Name="aliasname1_1"))
    aws.check("create_alias_1_2", client.create_alias(**custom, FunctionVersion="1", Name="aliasname1_2"))
    aws.check("create_alias_1_3", client.create_alias(FunctionName=name, FunctionVersion="1", Name="aliasname1_3"))
    aws.check("create_alias_2", client.create_alias(**custom, FunctionVersion="2", Name="aliasname2"))
    for alias in ("1_1", "1_2", "1_3", "2"):
        aws.check(f"get_alias_{alias}", client.get_alias(FunctionName=name, Name=f"aliasname{alias}"))
    aws.check("list_aliases_for_fnname", client.list_aliases(FunctionName=name))

    arn = created["FunctionArn"]
    aws.check("get_function_alias_1_1", client.get_function(FunctionName=name, Qualifier="aliasname1_1"))
    aws.check("get_function_byarn_alias_1_1", client.get_function(FunctionName=f"{arn}:aliasname1_1"))
    missing = refusal(client.get_function, FunctionName=name, Qualifier="aliasdoesnotexist")
    aws.check("get_function_alias_notfound_exc", missing)
    missing = refusal(client.get_function, FunctionName=f"{arn}:aliasdoesnotexist")
    aws.check("get_function_alias_byarn_notfound_exc", missing)

    first = {"FunctionName": name, "Name": "aliasname1_1"}
    aws.check("update_alias_1_1", client.update_alias(**first, RoutingConfig=NO_WEIGHTS))
    aws.check("get_alias_1_1_after_update", client.get_alias(**first))
    aws.check("list_aliases_for_fnname_after_update", client.list_aliases(FunctionName=name))
    second = {"FunctionName": name, "Name": "aliasname1_2"}
    aws.check("update_alias_1_2", client.update_alias(**second, RoutingConfig=NO_WEIGHTS))
    aws.check("get_alias_1_2_after_update", client.get_alias(**second))
    aws.check("list_aliases_for_fnname_after_update_2", client.list_aliases(FunctionName=name))
    aws.check("list_aliases_for_version", client.list_aliases(FunctionName=name, FunctionVersion="1"))
    aws.check("delete_alias_response", client.delete_alias(**first))
    aws.check("list_aliases_for_fnname_afterdelete", client.list_aliases(FunctionName=name))


@replays("TestLambdaAlias::test_non_existent_alias_deletion")
def test_deleting_an_alias_that_does_not_exist_succeeds(
    aws: Recording, client: Client, function: CreateFunction, name: str
) -> None:
    aws.check("create_response", function(name, **PLAIN, Environment=STAGING))
    aws.check("delete_alias_response", client.delete_alias(FunctionName=name, Name="non-existent"))


@replays("TestLambdaAlias::test_non_existent_alias_update")
def test_updating_an_alias_that_does_not_exist_is_refused(
    aws: Recording, client: Client, function: CreateFunction, name: str
) -> None:
    aws.check("create_response", function(name, **PLAIN, Environment=STAGING))
    refused = refusal(client.update_alias, FunctionName=name, Name="non-existent", Description="new")
    aws.check("update_alias_response", refused)


TELLING = """
def handler(event, context):
    return {
        "version_id": "%s",
        "invoked_arn": context.invoked_function_arn,
        "version_from_ctx": context.function_version,
    }
"""


@replays("TestLambdaAliases::test_lambda_alias_moving")
def test_invocations_follow_an_alias_when_it_moves(
    aws: Recording, client: Client, function: CreateFunction, name: str
) -> None:
    def invoked(qualified: str = name, **inputs: str) -> Answer:
        answer = client.invoke(FunctionName=qualified, Payload=b"{}", **inputs)
        return {**answer, "Payload": json.loads(answer["Payload"].read())}

    code = {"ZipFile": package(TELLING % "version1")}
    created = function(name, Runtime="python3.12", Handler="handler.handler", Description="No version :(", Code=code)
    aws.check("create_response", created)
    active(client, name)
    client.publish_version(FunctionName=name, Description="First version description :)")
    made = client.create_alias(FunctionName=name, FunctionVersion="1", Name="alias1")
    aws.check("create_alias_response", made)
    aws.check("invocation_result_qualifier_v1", invoked(Qualifier="alias1"))
    aws.check("invocation_result_qualifier_v1_arn", invoked(made["AliasArn"]))
    missing = refusal(client.invoke, FunctionName=name, Qualifier="non-existent-alias")
    aws.check("invocation_exc_not_existent", missing)

    changed = client.update_function_code(FunctionName=name, ZipFile=package(TELLING % "version2"))
    aws.check("update_lambda_response", changed)
    updated(client, name)
    aws.check("invocation_result_qualifier_v1_after_update", invoked(Qualifier="alias1"))
    second = client.publish_version(FunctionName=name, Description="Second version description :)")
    aws.check("second_publish_response", second)
    aws.check("invocation_result_qualifier_v1_after_publish", invoked(Qualifier="alias1"))
    moved = client.update_alias(FunctionName=name, Name="alias1", FunctionVersion="2")
    aws.check("update_alias_response", moved)
    aws.check("invocation_result_qualifier_v2", invoked(Qualifier="alias1"))
