"""Account settings and what belongs to an account's functions as a whole."""

from functional.recorded.support import USUAL, Client, CreateFunction, Recording, refusal, replays


@replays("TestLambdaAccountSettings::test_account_settings")
def test_account_settings_have_the_recorded_members(aws: Recording, client: Client) -> None:
    settings = client.get_account_settings()
    members = {name: sorted(settings[name]) for name in ("AccountLimit", "AccountUsage")}
    aws.check("acc_settings_modded", {**settings, **members})


@replays("TestLambdaRecursion::test_put_function_recursion_config_invalid_value")
def test_an_unknown_recursive_loop_is_refused(
    aws: Recording, client: Client, function: CreateFunction, name: str
) -> None:
    function(name, **USUAL)
    aws.check(
        "put_recursion_invalid_value_error",
        refusal(client.put_function_recursion_config, FunctionName=name, RecursiveLoop="InvalidValue"),
    )
