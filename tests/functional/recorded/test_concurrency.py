"""Reserved and provisioned concurrency: what is kept and what is too much."""

from functional.recorded.support import USUAL, Client, CreateFunction, Recording, active, refusal, replays

LEAST_UNRESERVED = 100  # of the account


def unreserved(client: Client) -> int:
    return client.get_account_settings()["AccountLimit"]["UnreservedConcurrentExecutions"]


@replays("TestLambdaReservedConcurrency::test_function_concurrency")
def test_reserved_concurrency_is_put_shown_and_deleted(
    aws: Recording, client: Client, function: CreateFunction, name: str
) -> None:
    function(name, **USUAL)

    def put(number: int) -> object:
        return client.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=number)

    aws.check("put_function_concurrency_with_reserved_0", put(0))
    aws.check("put_function_concurrency_with_reserved_1", put(1))
    aws.check("get_function_concurrency", client.get_function_concurrency(FunctionName=name))
    aws.check("delete_response", client.delete_function_concurrency(FunctionName=name))
    aws.check("get_function_concurrency_after_delete", client.get_function_concurrency(FunctionName=name))


@replays("TestLambdaConcurrency::test_lambda_concurrency_crud")
def test_no_reserved_concurrency_is_an_empty_answer(
    aws: Recording, client: Client, function: CreateFunction, name: str
) -> None:
    function(name, **USUAL)
    aws.check("get_function_concurrency_default", client.get_function_concurrency(FunctionName=name))
    put = client.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=0)
    aws.check("put_function_concurrency", put)
    aws.check("get_function_concurrency_updated", client.get_function_concurrency(FunctionName=name))
    client.delete_function_concurrency(FunctionName=name)
    aws.check("get_function_concurrency_deleted", client.get_function_concurrency(FunctionName=name))


@replays("TestLambdaConcurrency::test_lambda_concurrency_update")
def test_reserved_concurrency_is_shown_with_the_function(
    aws: Recording, client: Client, function: CreateFunction, name: str
) -> None:
    function(name, **USUAL)
    active(client, name)
    put = client.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=3)
    aws.check("put_function_concurrency", put)
    aws.check("get_function_concurrency_updated", client.get_function_concurrency(FunctionName=name))
    aws.check("get_function_concurrency_info", client.get_function(FunctionName=name))
    client.delete_function_concurrency(FunctionName=name)
    aws.check("get_function_concurrency_deleted", client.get_function_concurrency(FunctionName=name))


@replays("TestLambdaReservedConcurrency::test_function_concurrency_limits")
def test_reserving_too_much_is_refused(aws: Recording, client: Client, function: CreateFunction, name: str) -> None:
    function(name, **USUAL)
    aws.known["min_unreserved_concurrency"] = str(LEAST_UNRESERVED)

    def refused(number: int) -> object:
        return refusal(client.put_function_concurrency, FunctionName=name, ReservedConcurrentExecutions=number)

    free = unreserved(client)
    aws.check("put_function_concurrency_account_limit_exceeded", refused(free + 1))
    aws.check("put_function_concurrency_below_unreserved_min_value", refused(free - LEAST_UNRESERVED + 1))


@replays("TestLambdaProvisionedConcurrency::test_provisioned_concurrency_limits")
def test_provisioning_too_much_is_refused(aws: Recording, client: Client, function: CreateFunction, name: str) -> None:
    function(name, **USUAL, Publish=True)
    active(client, f"{name}:1")
    free = unreserved(client)
    aws.known |= {"min_unreserved_concurrency": str(LEAST_UNRESERVED), "unreserved_concurrency": str(free)}

    def refused(number: int) -> object:
        return refusal(
            client.put_provisioned_concurrency_config,
            FunctionName=name,
            Qualifier="1",
            ProvisionedConcurrentExecutions=number,
        )

    aws.check("put_provisioned_concurrency_account_limit_exceeded", refused(free + 1))
    aws.check("put_provisioned_concurrency_below_unreserved_min_value", refused(free - LEAST_UNRESERVED + 1))


@replays("TestLambdaConcurrency::test_provisioned_concurrency_on_alias")
def test_provisioned_concurrency_begins_in_progress(
    aws: Recording, client: Client, function: CreateFunction, name: str
) -> None:
    function(name, **USUAL, Publish=True)
    active(client, f"{name}:1")
    client.create_alias(FunctionName=name, FunctionVersion="1", Name="alias1")
    put = client.put_provisioned_concurrency_config(
        FunctionName=name, Qualifier="alias1", ProvisionedConcurrentExecutions=5
    )
    aws.check("put_provisioned_5", put)
    # What follows depends on how quick environments are.
    aws.leave_out("get_provisioned_prewait", "get_provisioned_postwait")
    client.delete_provisioned_concurrency_config(FunctionName=name, Qualifier="alias1")
