"""Functions from creation to deletion."""

from functional.recorded.support import (
    PLAIN,
    USUAL,
    Client,
    CreateFunction,
    Recording,
    RefusedCreation,
    active,
    package,
    refusal,
    replays,
    updated,
)


@replays("TestLambdaFunction::test_create_lambda_exceptions")
def test_creations_that_are_refused(aws: Recording, refused_creation: RefusedCreation) -> None:
    aws.leave_out("empty_architectures")  # the SDK refused it, not the service
    aws.check("invalid_role_arn_exc", refused_creation(Role="r1"))
    aws.check("invalid_runtime_exc", refused_creation(Runtime="non-existent-runtime"))
    aws.check("uppercase_runtime_exc", refused_creation(Runtime="PYTHON3.9"))
    aws.check("uppercase_architecture", refused_creation(Architectures=["X86_64"]))
    aws.check("multiple_architectures", refused_creation(Architectures=["x86_64", "arm64"]))
    aws.check("invalid_zip_exc", refused_creation(Code={"ZipFile": b"this is not a zip"}))


@replays("TestLambdaBaseFeatures::test_function_state")
def test_a_function_is_pending_and_then_active(
    aws: Recording, client: Client, function: CreateFunction, name: str
) -> None:
    aws.check("create-fn-response", function(name, Runtime="python3.12", Handler="handler.handler"))
    active(client, name)
    aws.check("get-fn-response", client.get_function(FunctionName=name))


@replays("TestLambdaFunction::test_function_lifecycle")
def test_a_function_from_creation_to_deletion(
    aws: Recording, client: Client, function: CreateFunction, name: str
) -> None:
    aws.check("create_response", function(name, **USUAL | {"MemorySize": 256, "Timeout": 5}))
    active(client, name)
    aws.check("get_function_response", client.get_function(FunctionName=name))
    changed = client.update_function_configuration(
        FunctionName=name,
        Runtime="python3.11",
        Description="Changed-Description",
        MemorySize=512,
        Timeout=10,
        Environment={"Variables": {"ENV_A": "a"}},
    )
    aws.check("update_func_conf_response", changed)
    updated(client, name)
    aws.check("get_function_response_postupdate", client.get_function(FunctionName=name))
    aws.check("update_code_response", client.update_function_code(FunctionName=name, ZipFile=package("# other")))
    updated(client, name)
    aws.check("get_function_response_postcodeupdate", client.get_function(FunctionName=name))
    aws.check("delete_response", client.delete_function(FunctionName=name))
    aws.check("delete_postdelete", refusal(client.delete_function, FunctionName=name))


@replays("TestLambdaFunction::test_redundant_updates")
def test_an_update_that_changes_nothing_changes_the_revision(
    aws: Recording, client: Client, function: CreateFunction, name: str
) -> None:
    aws.check("create_response", function(name, **USUAL, Description="Initial description"))
    active(client, name)
    again = {"FunctionName": name, "Description": "1st update description"}
    aws.check("first_update_result", client.update_function_configuration(**again))
    updated(client, name)
    aws.check("get_fn_config_result", client.get_function_configuration(FunctionName=name))
    aws.check("get_fn_result", client.get_function(FunctionName=name))
    aws.check("redundant_update_result", client.update_function_configuration(**again))
    updated(client, name)
    aws.check("get_fn_result_after_redundant_update", client.get_function(FunctionName=name))


@replays("TestLambdaBehavior::test_mixed_architecture")
def test_a_code_update_changes_the_architecture(
    aws: Recording, client: Client, function: CreateFunction, name: str
) -> None:
    aws.check("create_function_response", function(name, **USUAL, Architectures=["x86_64"]))
    active(client, name)
    changed = client.update_function_code(FunctionName=name, ZipFile=package(), Architectures=["arm64"])
    aws.check("update_function_code_response", changed)


@replays("TestLambdaFunction::test_list_functions")
def test_functions_are_listed_with_and_without_versions(
    aws: Recording, client: Client, function: CreateFunction, name: str
) -> None:
    first, second = f"{name}-1", f"{name}-2"
    aws.check("create_response_1", function(first, **USUAL, Publish=True))
    aws.check("create_response_2", function(second, **USUAL, Code={"ZipFile": package("# other")}))
    for one in (first, f"{first}:1", second):
        active(client, one)

    def listed(**inputs: str) -> object:
        pages = client.get_paginator("list_functions").paginate(**inputs)
        ours = [one for page in pages for one in page["Functions"] if one["FunctionName"] in (first, second)]
        return {"Functions": ours}

    aws.check("list_functions_invalid_functionversion", refusal(client.list_functions, FunctionVersion="invalid"))
    aws.check("list_all", listed(FunctionVersion="ALL"))
    aws.check("list_default", listed())


@replays("TestLambdaFunction::test_vpc_config")
def test_an_emptied_vpc_config_stays_in_the_answers(
    aws: Recording, client: Client, function: CreateFunction, name: str
) -> None:
    # A function in a VPC needs subnets, which no service here has.
    aws.leave_out("create_response", "get_function_response")
    aws.leave_out("update_vpcconfig_update_response", "update_vpcconfig_get_function_response")
    function(name, **USUAL | {"MemorySize": 256, "Timeout": 5})
    active(client, name)
    emptied = client.update_function_configuration(
        FunctionName=name, VpcConfig={"SubnetIds": [], "SecurityGroupIds": []}
    )
    aws.check("delete_vpcconfig_update_response", emptied)
    updated(client, name)
    aws.check("delete_vpcconfig_get_function_response", client.get_function(FunctionName=name))


@replays("TestLambdaFunction::test_lambda_code_location_zipfile")
def test_code_given_in_the_request_is_replaced(
    aws: Recording, client: Client, function: CreateFunction, name: str
) -> None:
    aws.check("create-response-zip-file", function(name, **PLAIN))
    active(client, name)
    aws.check("get-function-response", client.get_function(FunctionName=name))
    changed = client.update_function_code(FunctionName=name, ZipFile=package("# other"))
    aws.check("update-function-response", changed)
    aws.check_updating("get-function-response-updated", client.get_function(FunctionName=name))
