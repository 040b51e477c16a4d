"""Configurations of function URLs: made, shown, deleted, refused. What answers at the URLs is no part of this."""

from typing import Any

from functional.recorded.support import (
    USUAL,
    Client,
    CreateFunction,
    Recording,
    active,
    refusal,
    replays,
)

OPEN = {"AuthType": "NONE"}
MADE_WITH: dict[str, dict[str, str]] = {"create": OPEN, "update": OPEN, "get": {}, "delete": {}}


@replays("TestLambdaUrl::test_url_config_deletion_without_qualifier")
def test_deleting_the_url_of_a_function_leaves_those_of_its_aliases(
    aws: Recording, client: Client, function: CreateFunction, name: str
) -> None:
    ours = {"FunctionName": name}
    aliased = ours | {"Qualifier": "test-alias"}
    get = client.get_function_url_config
    function(name, **USUAL, Publish=True)
    active(client, name)
    client.create_alias(**ours, FunctionVersion="1", Name="test-alias")
    aws.check("url_creation", client.create_function_url_config(**ours, **OPEN))
    aws.check("url_with_alias_creation", client.create_function_url_config(**aliased, **OPEN))
    aws.check("get_url_config", get(**ours))
    aws.check("get_url_config_with_alias", get(**aliased))
    aws.check("delete_function_url_config", client.delete_function_url_config(**ours))
    aws.check("get_url_config_after_deletion", refusal(get, **ours))
    aws.check("get_url_config_with_alias_after_deletion", get(**aliased))


@replays("TestLambdaUrl::test_url_config_exceptions")
def test_refusals_about_url_configs(aws: Recording, client: Client, function: CreateFunction, name: str) -> None:
    aws.leave_out("delete_function_url_config_qualifier_alias_doesnotmatch_arn")  # AWS failed

    arn = function(name, **USUAL | {"Runtime": "nodejs20.x", "Handler": "lambda_handler.handler"})["FunctionArn"]
    active(client, name)
    aws.check("fn_version_result", client.publish_version(FunctionName=name))
    alias = client.create_alias(FunctionName=name, FunctionVersion="1", Name="urlalias")
    aws.check("create_alias_result", alias)

    cases: dict[str, tuple[str, str | None]] = {
        "name_doesnotexist": ("doesnotexist", None),
        "name_doesnotexist_qualifier": ("doesnotexist", "1"),
        "arn_doesnotexist": (f"{arn}-doesnotexist", None),
        "config_doesnotexist": (name, None),
        "qualifier_version": (name, "1"),
        "qualifier_version_doesnotexist": (name, "2"),
        "qualifier_alias_doesnotexist": (name, "doesnotexist"),
        "qualifier_alias_doesnotmatch_arn": (f"{arn}:otheralias", "urlalias"),
        "qualifier_latest": (name, "$LATEST"),
    }
    for operation, inputs in MADE_WITH.items():
        call: Any = getattr(client, f"{operation}_function_url_config")
        for case, (function_name, qualifier) in cases.items():
            recorded = f"{operation}_function_url_config_{case}"
            if recorded in aws:
                qualified = {"Qualifier": qualifier} if qualifier else {}
                aws.check(recorded, refusal(call, FunctionName=function_name, **qualified, **inputs))


@replays("TestLambdaURL::test_lambda_url_invalid_invoke_mode")
def test_an_unknown_invoke_mode_is_refused(aws: Recording, client: Client, function: CreateFunction, name: str) -> None:
    function(name, **USUAL)
    refused = refusal(client.create_function_url_config, FunctionName=name, **OPEN, InvokeMode="UNKNOWN")
    aws.check("invoke_function_invalid_invoke_type", refused)


@replays("TestLambdaURL::test_lambda_url_invocation[dict]")
def test_everybody_is_permitted_to_use_a_url(
    aws: Recording, client: Client, function: CreateFunction, name: str
) -> None:
    aws.leave_out("lambda_url_invocation")  # serving
    function(name, **USUAL)
    aws.check("create_lambda_url_config", client.create_function_url_config(FunctionName=name, **OPEN))
    added = client.add_permission(
        FunctionName=name,
        StatementId="urlPermission",
        Action="lambda:InvokeFunctionUrl",
        Principal="*",
        FunctionUrlAuthType="NONE",
    )
    aws.check("add_permission", added)


@replays("TestLambdaURL::test_lambda_url_persists_after_alias_delete")
def test_a_given_invoke_mode_is_answered(aws: Recording, client: Client, function: CreateFunction, name: str) -> None:
    aws.leave_out("invoke_aliased_url_response", "invoke_deleted_alias_url_response_delayed")  # serving
    function(name, **USUAL, Publish=True)
    active(client, name)
    client.create_alias(FunctionName=name, FunctionVersion="1", Name="urlalias")
    aws.known["resource:1"] = f"{name}:urlalias"
    made = client.create_function_url_config(FunctionName=name, Qualifier="urlalias", **OPEN, InvokeMode="BUFFERED")
    aws.check("create_lambda_url_config", made)
    aws.check("delete_alias_resp", client.delete_alias(FunctionName=name, Name="urlalias"))
