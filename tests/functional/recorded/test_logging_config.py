"""LoggingConfig: its defaults, and what a part of it changes."""

from typing import Any

from functional.recorded.support import USUAL, Client, CreateFunction, Recording, active, replays, updated

INPUTS: dict[str, Any] = USUAL | {"MemorySize": 256, "Timeout": 5}
PARTS = {
    "partial_config0": {"LogFormat": "JSON"},
    "partial_config1": {"LogFormat": "JSON", "ApplicationLogLevel": "DEBUG"},
    "partial_config3": {"LogGroup": "cool_lambda"},
}
PARTIAL = "TestLoggingConfig::test_function_partial_advanced_logging_configuration_update"


def begin(aws: Recording, client: Client, function: CreateFunction, name: str, **inputs: object) -> None:
    aws.check("create_response", function(name, **INPUTS, **inputs))
    active(client, name)
    aws.check("get_function_response", client.get_function(FunctionName=name))
    aws.check("function_config", client.get_function_configuration(FunctionName=name))


def change(aws: Recording, client: Client, name: str, config: dict[str, str], suffix: str = "") -> None:
    changed = client.update_function_configuration(FunctionName=name, LoggingConfig=config)
    aws.check(f"updated_config{suffix}", changed)
    updated(client, name)
    aws.check(f"received_config{suffix}", client.get_function_configuration(FunctionName=name))


@replays("TestLoggingConfig::test_advanced_logging_configuration_format_switch")
def test_log_levels_come_and_go_with_the_json_format(
    aws: Recording, client: Client, function: CreateFunction, name: str
) -> None:
    begin(aws, client, function, name)
    change(aws, client, name, {"LogFormat": "JSON"})
    change(aws, client, name, {"LogFormat": "Text"}, "_v2")


@replays("TestLoggingConfig::test_function_advanced_logging_configuration")
def test_a_function_is_created_with_a_logging_config(
    aws: Recording, client: Client, function: CreateFunction, name: str
) -> None:
    begin(aws, client, function, name, LoggingConfig={"LogFormat": "JSON"})
    change(aws, client, name, {"LogFormat": "JSON", "LogGroup": "cool_lambda"})


@replays(*(f"{PARTIAL}[{part}]" for part in PARTS))
def test_what_a_logging_config_does_not_name_stays(
    aws: Recording, client: Client, function: CreateFunction, name: str
) -> None:
    begin(aws, client, function, name)
    change(aws, client, name, PARTS[aws.key.partition("[")[2].removesuffix("]")])
