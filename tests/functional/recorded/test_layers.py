"""Layers: published, used, permitted, deleted."""

from functional.recorded.support import (
    USUAL,
    Client,
    CreateFunction,
    PublishLayer,
    Recording,
    RefusedCreation,
    active,
    refusal,
    replays,
    updated,
)

COMPATIBLE = {"CompatibleRuntimes": ["python3.12"], "CompatibleArchitectures": ["x86_64"]}


@replays("TestLambdaLayer::test_layer_lifecycle")
def test_a_layer_outlives_its_deletion_where_it_is_used(
    aws: Recording, client: Client, function: CreateFunction, layer: PublishLayer, name: str
) -> None:
    def deleted(version: int) -> object:
        return client.delete_layer_version(LayerName=name, VersionNumber=version)

    aws.known |= {"description": "a layer for the replay", "license-info": "Apache-2.0"}
    described = {"Description": aws.known["description"], "LicenseInfo": aws.known["license-info"], **COMPATIBLE}
    function(name, **USUAL)
    active(client, name)
    aws.check("get_fn_config_result", client.get_function_configuration(FunctionName=name))
    aws.check("get_fn_result", client.get_function(FunctionName=name))

    first = layer(name, **described)
    aws.check("publish_result", first)
    shown = client.get_layer_version(LayerName=name, VersionNumber=1)
    aws.check("get_layer_ver_result", shown)
    aws.check("get_layer_by_arn_version", client.get_layer_version_by_arn(Arn=first["LayerVersionArn"]))

    used = client.update_function_configuration(FunctionName=name, Layers=[first["LayerVersionArn"]])
    aws.check("update_fn_config", used)
    updated(client, name)
    aws.check("get_fn_config", client.get_function_configuration(FunctionName=name))

    aws.check("publish_result_2", layer(name, **described))
    aws.check("list_layer_versions_predelete", client.list_layer_versions(LayerName=name))
    aws.check("delete_layer_1", deleted(1))
    aws.check("delete_layer_2", deleted(2))
    aws.check("get_fn_config_postdelete", client.get_function_configuration(FunctionName=name))
    aws.check("list_layer_versions_postdelete", client.list_layer_versions(LayerName=name))
    aws.check("publish_result_3", layer(name, **described))


@replays("TestLambdaLayer::test_layer_function_quota_exception")
def test_a_function_has_five_layers_at_most(
    aws: Recording, layer: PublishLayer, refused_creation: RefusedCreation, name: str
) -> None:
    arns = [layer(f"{name}-{number}")["LayerVersionArn"] for number in range(6)]
    aws.check("create_function_with_six_layers", refused_creation(Layers=arns))


@replays("TestLambdaLayer::test_layer_policy_exceptions")
def test_refusals_about_the_policy_of_a_layer_version(
    aws: Recording, client: Client, layer: PublishLayer, name: str
) -> None:
    ours, missing_name, missing_version = (
        {"LayerName": layer_name, "VersionNumber": version}
        for layer_name, version in ((name, 1), (f"{name}-doesnotexist", 1), (name, 2))
    )
    add, get = client.add_layer_version_permission, client.get_layer_version_policy
    remove = client.remove_layer_version_permission
    permission = {"StatementId": "s1", "Action": "lambda:GetLayerVersion", "Principal": "*"}

    aws.check("publish_result", layer(name, **COMPATIBLE))
    aws.check("layer_permission_nopolicy_get", refusal(get, **ours))
    aws.check("add_layer_permission_result", add(**ours, **permission))
    aws.check("layer_permission_action_invalid", refusal(add, **ours, **permission | {"Action": "*"}))
    aws.check("layer_permission_duplicate_statement", refusal(add, **ours, **permission))

    which = {"layername": missing_name, "layerversion": missing_version}
    for what, missing in which.items():
        aws.check(f"layer_permission_{what}_doesnotexist_add", refusal(add, **missing, **permission))
        aws.check(f"layer_permission_{what}_doesnotexist_get", refusal(get, **missing))
        aws.check(f"layer_permission_{what}_doesnotexist_remove", refusal(remove, **missing, StatementId="s1"))

    refused = refusal(remove, **ours, StatementId="doesnotexist")
    aws.check("layer_permission_statementid_doesnotexist_remove", refused)
    refused = refusal(add, **ours, **permission | {"StatementId": "s2"}, RevisionId="wrong")
    aws.check("layer_permission_wrong_revision", refused)
    refused = refusal(remove, **ours, StatementId="s1", RevisionId="wrong")
    aws.check("layer_permission_wrong_revision_remove", refused)
