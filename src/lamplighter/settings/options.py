"""The table that gives every option its flag, its LAMPLIGHTER_… variable and its key in the TOML file, so the three
never differ."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import get_args

from lamplighter.settings import values
from lamplighter.settings.choices import (
    FunctionApi,
    IsolationChoice,
    LogFormat,
    LogLevel,
    MissingRuntimes,
    Network,
    Tmp,
)

PREFIX = "LAMPLIGHTER_"
_REGION = re.compile(r"[a-z]{2}(-gov|-iso[a-z]?)?-[a-z]+-\d")  # as in the ARN patterns of the service model


@dataclass(frozen=True, slots=True)
class Option:
    """A row of the table. `read` takes what a flag, variable (text) or file (any TOML value) gave, or raises ValueError
    with what it should have been."""

    name: str  # of the member of Settings, and the key in the file
    metavar: str
    default: str  # as shown to people
    help: str
    read: Callable[[object], object]
    standard: tuple[str, ...] = ()  # variables that other AWS tools read too: taken when nothing else is given

    @property
    def flag(self) -> str:
        return "--" + self.name.replace("_", "-")

    @property
    def variable(self) -> str:
        return PREFIX + self.name.upper()


OPTIONS = (
    Option("host", "ADDRESS", "127.0.0.1", "Address to listen on.", values.host),
    Option("port", "PORT", "4566", "Port to listen on; 0 takes any free one.", values.port),
    Option(
        "data_dir",
        "DIR",
        "/var/lib/lamplighter for root, else ~/.local/share/lamplighter",
        "Where functions, their code and the credentials are kept.",
        values.path,
    ),
    Option(
        "auth", "on|off", "on", "Verify the signature of every call. Off is allowed on loopback only.", values.switch
    ),
    Option(
        "account_id",
        "ID",
        "000000000000",
        "Account that functions belong to.",
        values.matching(r"[0-9]{12}", "twelve digits (in a TOML file in quotes)"),
    ),
    Option(
        "region",
        "REGION",
        "us-east-1",
        "Region that functions belong to.",
        values.matching(_REGION, "the name of a region, such as eu-central-1"),
    ),
    Option(
        "isolation",
        "|".join(get_args(IsolationChoice)),
        "auto",
        "How functions are kept apart: full needs root, user needs user namespaces, none is for trusted code only; "
        "auto takes the strongest that this host can do (lamplighter doctor tells which).",
        values.choice(get_args(IsolationChoice)),
    ),
    Option(
        "missing_runtimes",
        "|".join(get_args(MissingRuntimes)),
        "refuse",
        "Whether functions may be created for runtimes that this host lacks. Accepted ones can be shown, changed and "
        "published, but not invoked until the runtime is there.",
        values.choice(get_args(MissingRuntimes)),
    ),
    Option(
        "s3_endpoint",
        "URL",
        "AWS_ENDPOINT_URL_S3 or AWS_ENDPOINT_URL, else none",
        "Where S3 is, for the code of functions and layers that is given as a bucket and a key, and for buckets as "
        "destinations.",
        values.endpoint,
        ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"),
    ),
    Option(
        "sqs_endpoint",
        "URL",
        "AWS_ENDPOINT_URL_SQS or AWS_ENDPOINT_URL, else none",
        "Where SQS is, for queues as destinations and for dead letters.",
        values.endpoint,
        ("AWS_ENDPOINT_URL_SQS", "AWS_ENDPOINT_URL"),
    ),
    Option(
        "sns_endpoint",
        "URL",
        "AWS_ENDPOINT_URL_SNS or AWS_ENDPOINT_URL, else none",
        "Where SNS is, for topics as destinations and for dead letters.",
        values.endpoint,
        ("AWS_ENDPOINT_URL_SNS", "AWS_ENDPOINT_URL"),
    ),
    Option(
        "events_endpoint",
        "URL",
        "AWS_ENDPOINT_URL_EVENTBRIDGE or AWS_ENDPOINT_URL, else none",
        "Where EventBridge is, for event buses as destinations.",
        values.endpoint,
        ("AWS_ENDPOINT_URL_EVENTBRIDGE", "AWS_ENDPOINT_URL"),
    ),
    Option(
        "traces_endpoint",
        "URL",
        "OTEL_EXPORTER_OTLP_ENDPOINT, else none",
        "Where an OpenTelemetry collector takes traces over HTTP (without the /v1/traces): the segments of functions "
        "with active tracing, and what they send to the X-Ray daemon.",
        values.endpoint,
        ("OTEL_EXPORTER_OTLP_ENDPOINT",),
    ),
    Option(
        "function_api",
        "|".join(get_args(FunctionApi)),
        "invoke",
        "What functions may do with the credentials they are given: call functions and write logs; all that the "
        "account's owner may, which is to own it; or nothing, and they are given none.",
        values.choice(get_args(FunctionApi)),
    ),
    Option(
        "function_endpoint",
        "service|none|URL",
        "service",
        "What functions find in AWS_ENDPOINT_URL: this service, nothing, or another endpoint.",
        values.function_endpoint,
    ),
    Option(
        "role_policies",
        "FILE",
        "none",
        "What execution roles may do: a JSON file with IAM policy documents by role, asked when a function is given "
        "destinations or a dead-letter queue. Roles that are not in it may do anything.",
        values.path,
    ),
    Option(
        "network",
        "|".join(get_args(Network)),
        "internet",
        "What functions reach beside this service: nothing, or the internet; never this host or private networks.",
        values.choice(get_args(Network)),
    ),
    Option(
        "reachable_networks",
        "NETWORKS",
        "none",
        "Private networks that functions reach as they do the internet, separated by commas.",
        values.networks,
    ),
    Option(
        "unreachable_networks",
        "NETWORKS",
        "none",
        "Networks that functions never reach, separated by commas: public addresses that lead back to you.",
        values.networks,
    ),
    Option(
        "tmp",
        "|".join(get_args(Tmp)),
        "auto",
        "Where /tmp of functions is: on the disk of the data directory, as isolation full can have it, or in memory, "
        "where it counts as the function's; auto takes the disk where it can.",
        values.choice(get_args(Tmp)),
    ),
    Option(
        "account_concurrency",
        "NUMBER",
        "1000",
        "How many invocations of all functions together may run at once.",
        values.whole(1, 1_000_000),
    ),
    Option(
        "idle_timeout",
        "SECONDS",
        "600",
        "How long an environment is kept without an invocation.",
        values.whole(1, 1_000_000, "seconds"),
    ),
    Option(
        "max_environment_age",
        "SECONDS",
        "7200",
        "How old an environment may become; a new one takes its place, between invocations.",
        values.whole(60, 1_000_000, "seconds"),
    ),
    Option(
        "memory_reserve",
        "MB",
        "256",
        "How much of the host's memory is left alone: below twice of it idle environments end, and below it calls that "
        "need a new one are throttled. 0 looks at no memory.",
        values.whole(0, 10_000_000, "MB"),
    ),
    Option("freeze", "on|off", "on", "Give functions no processor time between their invocations.", values.switch),
    Option("logs", "on|off", "on", "Keep what functions write, to be read through CloudWatch Logs.", values.switch),
    Option("metering", "on|off", "on", "Count what runs, for lamplighter bill.", values.switch),
    Option("metrics", "on|off", "on", "Keep metrics, to be read through CloudWatch.", values.switch),
    Option(
        "prometheus",
        "off|[ADDRESS:]PORT",
        "off",
        "Where Prometheus scrapes metrics (/metrics, not signed); on loopback if no address is given.",
        values.listener,
    ),
    Option(
        "log_format",
        "|".join(get_args(LogFormat)),
        "console",
        "How the service writes its own log to standard error: for people, or as one JSON object a line.",
        values.choice(get_args(LogFormat)),
    ),
    Option(
        "log_level",
        "|".join(get_args(LogLevel)),
        "info",
        "What of the service's own log is written: from this level up.",
        values.choice(get_args(LogLevel)),
    ),
)
