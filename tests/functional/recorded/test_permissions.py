"""Permissions of functions: statements, policies, revisions, refusals (AWS: spec 1.10)."""

from typing import Any
from uuid import uuid4

from functional.recorded.matching import Place
from functional.recorded.support import (
    USUAL,
    Client,
    CreateFunction,
    Recording,
    active,
    refusal,
    replays,
    updated,
)

BUCKET = "arn:aws:s3:::replay-bucket"
INVOKE = {"Action": "lambda:InvokeFunction"}
FROM_S3: dict[str, str] = {**INVOKE, "Principal": "s3.amazonaws.com", "SourceArn": BUCKET}


@replays("TestLambdaPermissions::test_add_lambda_permission_aws")
def test_a_permission_is_shown_in_the_policy(
    aws: Recording, client: Client, function: CreateFunction, name: str
) -> None:
    aws.check("create_lambda", function(name, **USUAL))
    added = client.add_permission(FunctionName=name, StatementId="s3", **FROM_S3)
    aws.check("add_permission", added)
    aws.check("get_policy", client.get_policy(FunctionName=name))


@replays("TestLambdaPermissions::test_add_lambda_permission_fields")
def test_every_member_of_a_permission_has_its_place_in_the_statement(
    aws: Recording, client: Client, function: CreateFunction, name: str, place: Place
) -> None:
    def added(sid: str, **inputs: str) -> object:
        return client.add_permission(**{"FunctionName": name, "StatementId": sid, **INVOKE, **inputs})

    function(name, **USUAL)
    us = {"SourceAccount": place.account}
    aws.check("add_permission_principal_wildcard", added("wilcard", Principal="*", **us))
    service = added("lambda", Principal="lambda.amazonaws.com", **us)
    aws.check("add_permission_principal_service", service)
    aws.check("add_permission_principal_account", added("account-id", Principal=place.account))
    aws.known["user_arn"] = user = f"arn:aws:iam::{place.account}:user/replay-user"
    aws.check("add_permission_principal_arn", added("user-arn", Principal=user, **us))
    url = added(
        "urlPermission",
        Action="lambda:InvokeFunctionUrl",
        Principal="*",
        SourceArn=BUCKET,
        **us,
        PrincipalOrgID="o-1234567890",
        FunctionUrlAuthType="NONE",
    )
    aws.check("add_permission_optional_fields", url)
    token = "amzn1.ask.skill.xxxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx"
    skill = added("alexaSkill", Principal="*", EventSourceToken=token)
    aws.check("add_permission_alexa_skill", skill)


@replays("TestLambdaPermissions::test_remove_multi_permissions")
def test_a_policy_goes_with_its_last_permission(
    aws: Recording, client: Client, function: CreateFunction, name: str
) -> None:
    function(name, **USUAL)
    ours = {"FunctionName": name}
    s3 = client.add_permission(**ours, StatementId="s3", **INVOKE, Principal="s3.amazonaws.com")
    aws.check("add_permission_1", s3)
    sqs = client.add_permission(**ours, StatementId="sqs", **FROM_S3 | {"Principal": "sqs.amazonaws.com"})
    aws.check("add_permission_2", sqs)
    aws.check("policy_after_2_add", client.get_policy(**ours))
    client.remove_permission(**ours, StatementId="sqs")
    aws.check("policy_after_removal", client.get_policy(**ours))
    refused = refusal(client.remove_permission, **ours, StatementId="non-existent")
    aws.check("remove_permission_exception_nonexisting_sid", refused)
    aws.check("policy_after_removal_attempt", client.get_policy(**ours))
    client.remove_permission(**ours, StatementId="s3")
    aws.check("get_policy_exception_removed_all", refusal(client.get_policy, **ours))


@replays("TestLambdaPermissions::test_permission_exceptions")
def test_permissions_that_are_refused(aws: Recording, client: Client, function: CreateFunction, name: str) -> None:
    permission: dict[str, Any] = {"FunctionName": name, "StatementId": "s3", **FROM_S3}

    def add(**inputs: str) -> object:
        return refusal(client.add_permission, **permission | inputs)

    def remove(**inputs: str) -> object:
        return refusal(client.remove_permission, **{"FunctionName": name, "StatementId": "s3", **inputs})

    function(name, **USUAL)
    aws.known["function-name"] = name
    aws.check("add_permission_invalid_statement_id", add(StatementId="example.com"))
    # Neither an account, nor an ARN, nor a service, nor everybody.
    aws.check("add_permission_principal_invalid", add(Principal="not-a-principal"))
    aws.check("add_permission_fn_doesnotexist", add(FunctionName="doesnotexist"))
    aws.check("add_permission_fn_version_doesnotexist", add(Qualifier="42"))
    aws.check("add_permission_fn_alias_doesnotexist", add(Qualifier="alias-doesnotexist"))
    aws.check("add_permission_fn_qualifier_invalid", add(Qualifier="invalid-qualifier-with-?-char"))
    odd = add(Qualifier="valid-with-$-but-doesnotexist")
    aws.check("add_permission_fn_qualifier_valid_doesnotexist", odd)
    aws.check("add_permission_fn_qualifier_latest", add(Qualifier="$LATEST"))
    mismatch = add(FunctionName=f"{name}:alias-not-42", Qualifier="42")
    aws.check("add_permission_fn_qualifier_mismatch", mismatch)

    aws.check("get_policy_fn_doesnotexist", refusal(client.get_policy, FunctionName="doesnotexist"))
    refused = refusal(client.get_policy, FunctionName=name, Qualifier="42")
    aws.check("get_policy_fn_version_doesnotexist", refused)
    aws.check("remove_permission_policy_doesnotexist", remove())
    aws.check("remove_permission_fn_doesnotexist", remove(FunctionName="doesnotexist"))

    client.add_permission(**permission)
    aws.check("add_permission_conflicting_statement_id", add())
    aws.check("remove_permission_fn_alias_doesnotexist", remove(Qualifier="alias-doesnotexist"))


@replays("TestLambdaPermissions::test_lambda_permission_fn_versioning")
def test_functions_versions_and_aliases_have_policies_and_revisions_of_their_own(
    aws: Recording, client: Client, function: CreateFunction, name: str
) -> None:
    function(name, **USUAL)
    active(client, name)
    ours = {"FunctionName": name}
    s3 = {"StatementId": "s3", **FROM_S3}
    aws.check("add_permission", client.add_permission(**ours, **s3))
    aws.check("get_policy", client.get_policy(**ours))

    aws.check("publish_version_result", client.publish_version(**ours))
    aws.check("get_function_result_after_publishing", client.get_function(**ours))
    aws.check("get_policy_after_publishing_latest", client.get_policy(**ours))
    missing = refusal(client.get_policy, **ours, Qualifier="1")
    aws.check("get_policy_after_publishing_new_version", missing)

    client.add_permission(**ours, **s3, Qualifier="1")
    aws.check("get_policy_version", client.get_policy(**ours, Qualifier="1"))
    aws.check("get_policy_after_adding_to_new_version", client.get_policy(**ours))

    alias = "permission-alias"
    made = client.create_alias(**ours, FunctionVersion="1", Name=alias)
    aws.check("create_alias_response", made)
    aws.check("get_alias", client.get_alias(**ours, Name=alias))
    refused = refusal(client.add_permission, **ours, **s3, Qualifier=alias, RevisionId=str(uuid4()))
    aws.check("add_permission_alias_revision_exception", refused)
    client.add_permission(**ours, **s3, Qualifier=alias)
    aws.check("get_policy_alias", client.get_policy(**ours, Qualifier=alias))

    client.add_permission(**ours, **s3 | {"StatementId": "s3_2"})
    aws.check("get_policy_after_adding_2", client.get_policy(**ours))


@replays("TestLambdaPermissions::test_lambda_permission_revisions")
def test_permissions_stay_with_the_version_that_they_were_given_to(
    aws: Recording, client: Client, function: CreateFunction, name: str
) -> None:
    # Recorded in 2022. What it shows of revisions is superseded: policies have their own since (the replay above).
    aws.leave_out("add_permission_revision_id_doesnotmatch", "remove_permission_fn_revision_id_doesnotmatch")
    old = {"RevisionId"}
    ours = {"FunctionName": name}
    first = ours | {"Qualifier": "1"}

    function(name, **USUAL | {"Runtime": "python3.8"})
    active(client, name)
    client.add_permission(**ours, StatementId="s3", **FROM_S3)
    client.add_permission(**ours, StatementId="s3_2", **FROM_S3)
    client.publish_version(**ours)
    client.update_function_configuration(**ours, Runtime="python3.9")
    updated(client, name)
    aws.check_without(old, "get_policy_after_publish_version", client.get_policy(**ours))
    client.add_permission(**first, StatementId="s3_2", **FROM_S3)
    aws.check_without(old, "get_policy_v1_after_publish_version", client.get_policy(**first))
    aws.check_without(old, "get_function_fn8", client.get_function(**ours))
    aws.check_without(old, "get_function_fn8_v1", client.get_function(**first))
    client.add_permission(**first, StatementId="s3_3", **FROM_S3)
    aws.check_without(old, "get_policy_v1_after_add_permission9", client.get_policy(**first))
    aws.check_without(old, "get_function_fn9", client.get_function(**ours))
    aws.check_without(old, "get_function_fn9_v1", client.get_function(**first))
