"""Versions: published, unchanged by what follows, deleted."""

from functional.recorded.support import PLAIN, Client, CreateFunction, Recording, active, replays, updated


@replays("TestLambdaVersions::test_version_lifecycle")
def test_versions_keep_what_they_were_published_with(
    aws: Recording, client: Client, function: CreateFunction, name: str
) -> None:
    aws.check("create_response", function(name, **PLAIN, Description="No version :("))
    active(client, name)
    aws.check("get_function_result", client.get_function(FunctionName=name))
    aws.check("list_versions_result", client.list_versions_by_function(FunctionName=name))

    changed = client.update_function_configuration(FunctionName=name, Description="First version :)")
    aws.check("first_update_response", changed)
    updated(client, name)
    aws.check("first_update_get_function", client.get_function(FunctionName=name))
    first = client.publish_version(FunctionName=name, Description="First version description :)")
    aws.check("first_publish_response", first)
    aws.check("first_publish_get_function", client.get_function(FunctionName=name, Qualifier="1"))
    shown = client.get_function_configuration(FunctionName=name, Qualifier="1")
    aws.check("first_publish_get_function_config", shown)

    changed = client.update_function_configuration(FunctionName=name, Description="Second version :))")
    aws.check("second_update_response", changed)
    updated(client, name)
    aws.check("first_publish_get_function_after_update", client.get_function(FunctionName=name, Qualifier="1"))
    aws.check("second_publish_response", client.publish_version(FunctionName=name))
    aws.check("third_publish_response", client.publish_version(FunctionName=name))
    aws.check("list_versions_result_after_third_publish", client.list_versions_by_function(FunctionName=name))

    client.delete_function(FunctionName=name, Qualifier="1")
    left = client.list_versions_by_function(FunctionName=name)
    aws.check("list_versions_result_after_deletion_of_first_version", left)
