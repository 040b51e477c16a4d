"""What an operator can choose, read once at start: flag before variable before file before default.

One table (`OPTIONS`) gives every option its flag, its LAMPLIGHTER_… variable and its key in the TOML file, so the three
never differ. A value that cannot be used stops the start with one sentence that names where it came from; so does a
name that does not exist: a misspelt `isolaton = "full"` that is quietly ignored is worse than no start.
"""

import difflib
import ipaddress
import os
import re
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast, get_args

IsolationChoice = Literal["auto", "full", "user", "none"]
MissingRuntimes = Literal["refuse", "accept"]
Network = Literal["none", "internet"]
Tmp = Literal["disk", "memory"]
FunctionApi = Literal["invoke", "all", "off"]
LogFormat = Literal["console", "json"]
LogLevel = Literal["debug", "info", "warning", "error"]

PREFIX = "LAMPLIGHTER_"
FILE_NAME = "lamplighter.toml"  # looked for in the data directory
# Kubernetes sets these in every pod beside a service called "lamplighter"; they are not meant for us.
_KUBERNETES = re.compile(r"LAMPLIGHTER_(SERVICE_(HOST|PORT)(_\w+)?|PORT_\d+_\w+)")
_REGION = re.compile(r"[a-z]{2}(-gov|-iso[a-z]?)?-[a-z]+-\d")  # as in the ARN patterns of the service model
_ENDPOINT = re.compile(r"https?://([A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?(/[A-Za-z0-9._~/%-]*)?")
_HOST_NAME = re.compile(r"(?!-)[A-Za-z0-9-]{1,63}(?<!-)(\.(?!-)[A-Za-z0-9-]{1,63}(?<!-))*\.?")


class SettingsError(Exception):
    """A setting that cannot be used; the text is one sentence for the operator."""


@dataclass(frozen=True, slots=True)
class Settings:
    """The choices. `port` 0: any free one; the ready line says which. `data_dir` is absolute."""

    data_dir: Path
    host: str = "127.0.0.1"
    port: int = 4566
    auth: bool = True
    account_id: str = "000000000000"
    region: str = "us-east-1"
    isolation: IsolationChoice = "auto"
    missing_runtimes: MissingRuntimes = "refuse"
    s3_endpoint: str | None = None
    sqs_endpoint: str | None = None
    sns_endpoint: str | None = None
    events_endpoint: str | None = None
    traces_endpoint: str | None = None
    function_api: FunctionApi = "invoke"
    function_endpoint: str = "service"
    role_policies: Path | None = None
    network: Network = "internet"
    reachable_networks: tuple[str, ...] = ()
    unreachable_networks: tuple[str, ...] = ()
    tmp: Tmp = "memory"
    account_concurrency: int = 1000
    idle_timeout: int = 600
    max_environment_age: int = 7200
    memory_reserve: int = 256
    freeze: bool = True
    logs: bool = True
    metering: bool = True
    metrics: bool = True
    prometheus: tuple[str, int] | None = None
    log_format: LogFormat = "console"
    log_level: LogLevel = "info"

    @property
    def url(self) -> str:
        """How this machine reaches the service (of a wildcard address: by loopback)."""
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)
        return f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"


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


def _text(value: object) -> str:
    if not isinstance(value, str) or not value or not value.isprintable():
        raise ValueError("must be a text that is not empty")
    return value


def _host(value: object) -> str:
    host = _text(value).removeprefix("[").removesuffix("]")
    if not _is_address(host) and (not _HOST_NAME.fullmatch(host) or re.fullmatch(r"[\d.]+", host)):
        raise ValueError("must be an IP address or a host name")
    return host


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _port(value: object) -> int:
    number = int(value) if isinstance(value, str) and re.fullmatch(r"[0-9]{1,5}", value) else value
    if isinstance(number, bool) or not isinstance(number, int) or not 0 <= number <= 65535:
        hint = "; Kubernetes sets this variable: see enableServiceLinks" if str(value).startswith("tcp://") else ""
        raise ValueError("must be a number from 0 (any free port) to 65535" + hint)
    return number


def _listener(value: object) -> tuple[str, int] | None:
    """[ADDRESS:]PORT, on loopback unless it says otherwise; None: there is none."""
    if value in ("off", False):
        return None
    address, _, port = str(value).rpartition(":") if isinstance(value, str) else ("", "", value)
    try:
        return _host(address or "127.0.0.1"), _port(port)
    except ValueError:
        raise ValueError("must be off, a port, or an address and a port such as 127.0.0.1:9464") from None


def _concurrency(value: object) -> int:
    number = int(value) if isinstance(value, str) and re.fullmatch(r"[0-9]{1,7}", value) else value
    if isinstance(number, bool) or not isinstance(number, int) or not 1 <= number <= 1_000_000:
        raise ValueError("must be a number from 1 to 1000000")
    return number


def _seconds(least: int) -> Callable[[object], int]:
    def read(value: object) -> int:
        number = int(value) if isinstance(value, str) and re.fullmatch(r"[0-9]{1,7}", value) else value
        if isinstance(number, bool) or not isinstance(number, int) or not least <= number <= 1_000_000:
            raise ValueError(f"must be a number of seconds from {least} to 1000000")
        return number

    return read


def _memory(value: object) -> int:
    number = int(value) if isinstance(value, str) and re.fullmatch(r"[0-9]{1,8}", value) else value
    if isinstance(number, bool) or not isinstance(number, int) or not 0 <= number <= 10_000_000:
        raise ValueError("must be a number of MB from 0 to 10000000")
    return number


def _switch(value: object) -> bool:
    known = {"on": True, "true": True, "1": True, "off": False, "false": False, "0": False}
    answer = value if isinstance(value, bool) else known.get(value.lower()) if isinstance(value, str) else None
    if answer is None:
        raise ValueError("must be on or off")
    return answer


def _path(value: object) -> Path:
    path = Path(_text(value))
    try:
        return path.expanduser().absolute()
    except RuntimeError:
        raise ValueError("names a home directory that does not exist") from None


def _endpoint(value: object) -> str:
    text = _text(value)
    if not _ENDPOINT.fullmatch(text) or not text.isascii():
        raise ValueError("must be a URL such as http://127.0.0.1:9000")
    return text


def _function_endpoint(value: object) -> str:
    if value in ("service", "none"):
        return str(value)
    try:
        return _endpoint(value)
    except ValueError:
        raise ValueError("must be service, none or a URL such as http://10.0.0.1:4566") from None


def _networks(value: object) -> tuple[str, ...]:
    names = cast(list[object], value) if isinstance(value, list) else _text(value).split(",")
    try:
        return tuple(str(ipaddress.ip_network(_text(name).strip())) for name in names)
    except ValueError:
        raise ValueError("must be networks such as 10.1.0.0/16,192.168.7.0/24,fd12:3456::/32") from None


def _matching(pattern: str | re.Pattern[str], wanted: str) -> Callable[[object], str]:
    def read(value: object) -> str:
        if not isinstance(value, str) or not re.fullmatch(pattern, value):
            raise ValueError(f"must be {wanted}")
        return value

    return read


def _choice(of: Sequence[str]) -> Callable[[object], str]:
    return _matching("|".join(of), f"one of {', '.join(of)}")


OPTIONS = (
    Option("host", "ADDRESS", "127.0.0.1", "Address to listen on.", _host),
    Option("port", "PORT", "4566", "Port to listen on; 0 takes any free one.", _port),
    Option(
        "data_dir",
        "DIR",
        "/var/lib/lamplighter for root, else ~/.local/share/lamplighter",
        "Where functions, their code and the credentials are kept.",
        _path,
    ),
    Option("auth", "on|off", "on", "Verify the signature of every call. Off is allowed on loopback only.", _switch),
    Option(
        "account_id",
        "ID",
        "000000000000",
        "Account that functions belong to.",
        _matching(r"[0-9]{12}", "twelve digits (in a TOML file in quotes)"),
    ),
    Option(
        "region",
        "REGION",
        "us-east-1",
        "Region that functions belong to.",
        _matching(_REGION, "the name of a region, such as eu-central-1"),
    ),
    Option(
        "isolation",
        "|".join(get_args(IsolationChoice)),
        "auto",
        "How functions are kept apart: full needs root, user needs user namespaces, none is for trusted code only; "
        "auto takes the strongest that this host can do (lamplighter doctor tells which).",
        _choice(get_args(IsolationChoice)),
    ),
    Option(
        "missing_runtimes",
        "|".join(get_args(MissingRuntimes)),
        "refuse",
        "Whether functions may be created for runtimes that this host lacks. Accepted ones can be shown, changed and "
        "published, but not invoked until the runtime is there.",
        _choice(get_args(MissingRuntimes)),
    ),
    Option(
        "s3_endpoint",
        "URL",
        "AWS_ENDPOINT_URL_S3 or AWS_ENDPOINT_URL, else none",
        "Where S3 is, for the code of functions and layers that is given as a bucket and a key, and for buckets as "
        "destinations.",
        _endpoint,
        ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"),
    ),
    Option(
        "sqs_endpoint",
        "URL",
        "AWS_ENDPOINT_URL_SQS or AWS_ENDPOINT_URL, else none",
        "Where SQS is, for queues as destinations and for dead letters.",
        _endpoint,
        ("AWS_ENDPOINT_URL_SQS", "AWS_ENDPOINT_URL"),
    ),
    Option(
        "sns_endpoint",
        "URL",
        "AWS_ENDPOINT_URL_SNS or AWS_ENDPOINT_URL, else none",
        "Where SNS is, for topics as destinations and for dead letters.",
        _endpoint,
        ("AWS_ENDPOINT_URL_SNS", "AWS_ENDPOINT_URL"),
    ),
    Option(
        "events_endpoint",
        "URL",
        "AWS_ENDPOINT_URL_EVENTBRIDGE or AWS_ENDPOINT_URL, else none",
        "Where EventBridge is, for event buses as destinations.",
        _endpoint,
        ("AWS_ENDPOINT_URL_EVENTBRIDGE", "AWS_ENDPOINT_URL"),
    ),
    Option(
        "traces_endpoint",
        "URL",
        "OTEL_EXPORTER_OTLP_ENDPOINT, else none",
        "Where an OpenTelemetry collector takes traces over HTTP (without the /v1/traces): the segments of functions "
        "with active tracing, and what they send to the X-Ray daemon.",
        _endpoint,
        ("OTEL_EXPORTER_OTLP_ENDPOINT",),
    ),
    Option(
        "function_api",
        "|".join(get_args(FunctionApi)),
        "invoke",
        "What functions may do with the credentials they are given: call functions and write logs; all that the "
        "account's owner may, which is to own it; or nothing, and they are given none.",
        _choice(get_args(FunctionApi)),
    ),
    Option(
        "function_endpoint",
        "service|none|URL",
        "service",
        "What functions find in AWS_ENDPOINT_URL: this service, nothing, or another endpoint.",
        _function_endpoint,
    ),
    Option(
        "role_policies",
        "FILE",
        "none",
        "What execution roles may do: a JSON file with IAM policy documents by role, asked when a function is given "
        "destinations or a dead-letter queue. Roles that are not in it may do anything.",
        _path,
    ),
    Option(
        "network",
        "|".join(get_args(Network)),
        "internet",
        "What functions reach beside this service: nothing, or the internet; never this host or private networks.",
        _choice(get_args(Network)),
    ),
    Option(
        "reachable_networks",
        "NETWORKS",
        "none",
        "Private networks that functions reach as they do the internet, separated by commas.",
        _networks,
    ),
    Option(
        "unreachable_networks",
        "NETWORKS",
        "none",
        "Networks that functions never reach, separated by commas: public addresses that lead back to you.",
        _networks,
    ),
    Option(
        "tmp",
        "|".join(get_args(Tmp)),
        "memory",
        "Where /tmp of functions is: on the disk of the data directory, as isolation full can have it, or in memory, "
        "where it counts as the function's.",
        _choice(get_args(Tmp)),
    ),
    Option(
        "account_concurrency",
        "NUMBER",
        "1000",
        "How many invocations of all functions together may run at once.",
        _concurrency,
    ),
    Option(
        "idle_timeout",
        "SECONDS",
        "600",
        "How long an environment is kept without an invocation.",
        _seconds(1),
    ),
    Option(
        "max_environment_age",
        "SECONDS",
        "7200",
        "How old an environment may become; a new one takes its place, between invocations.",
        _seconds(60),
    ),
    Option(
        "memory_reserve",
        "MB",
        "256",
        "How much of the host's memory is left alone: below twice of it idle environments end, and below it calls that "
        "need a new one are throttled. 0 looks at no memory.",
        _memory,
    ),
    Option("freeze", "on|off", "on", "Give functions no processor time between their invocations.", _switch),
    Option("logs", "on|off", "on", "Keep what functions write, to be read through CloudWatch Logs.", _switch),
    Option("metering", "on|off", "on", "Count what runs, for lamplighter bill.", _switch),
    Option("metrics", "on|off", "on", "Keep metrics, to be read through CloudWatch.", _switch),
    Option(
        "prometheus",
        "off|[ADDRESS:]PORT",
        "off",
        "Where Prometheus scrapes metrics (/metrics, not signed); on loopback if no address is given.",
        _listener,
    ),
    Option(
        "log_format",
        "|".join(get_args(LogFormat)),
        "console",
        "How the service writes its own log to standard error: for people, or as one JSON object a line.",
        _choice(get_args(LogFormat)),
    ),
    Option(
        "log_level",
        "|".join(get_args(LogLevel)),
        "info",
        "What of the service's own log is written: from this level up.",
        _choice(get_args(LogLevel)),
    ),
)
_BY_NAME = {option.name: option for option in OPTIONS}
_PATHS = ("data_dir", "role_policies")  # relative ones start from where the file is that names them
CONFIG_FLAG, CONFIG_VARIABLE = "--config", PREFIX + "CONFIG"


@dataclass(frozen=True, slots=True)
class _Given:
    """A value with its source, for the sentences. `base`: what relative paths start from."""

    value: object
    source: str
    base: Path | None = None


def read_settings(
    flags: Mapping[str, str | None] | None = None,
    environ: Mapping[str, str] = os.environ,
    default_data_dir: Path | None = None,
) -> Settings:
    """Settings from flags (by option name; "config" beside them; None: not given), variables and the file.

    Raises SettingsError."""
    flags = flags or {}
    _refuse_unknown_variables(environ)
    given: dict[str, _Given] = {}
    for option in OPTIONS:
        flag, variable = flags.get(option.name), environ.get(option.variable)
        if flag is not None:
            given[option.name] = _Given(flag, option.flag)
        elif variable:  # an empty one is what compose files make of a variable that is not set
            given[option.name] = _Given(variable, option.variable)
    config, source = flags.get("config"), CONFIG_FLAG
    if config is None:
        config, source = environ.get(CONFIG_VARIABLE) or None, CONFIG_VARIABLE
    if config is not None:
        path = cast(Path, _value("config", _path, _Given(config, source)))
        for name, found in _read_file(path, source).items():
            given.setdefault(name, found)
    data_dir = default_data_dir or standard_data_dir(environ)
    if "data_dir" in given:
        data_dir = cast(Path, _value("data_dir", _BY_NAME["data_dir"].read, given["data_dir"]))
    beside = data_dir / FILE_NAME
    if config is None and _exists(beside):
        _refuse_foreign(beside)
        found = _read_file(beside, "the data directory")
        if "data_dir" in found:
            raise SettingsError(
                f"data_dir in {beside} has no effect, because the file is found through it; "
                f"move the file elsewhere and name it with {CONFIG_FLAG}."
            )
        for name, entry in found.items():
            given.setdefault(name, entry)
    for option in OPTIONS:
        for variable in option.standard:
            if option.name not in given and environ.get(variable):
                given[option.name] = _Given(environ[variable], variable)
    values = {name: _value(name, _BY_NAME[name].read, entry) for name, entry in given.items()}
    settings = Settings(**cast(dict[str, Any], values | {"data_dir": data_dir}))
    _refuse_open_door(settings, given)
    return settings


def standard_data_dir(environ: Mapping[str, str] = os.environ) -> Path:
    """/var/lib/lamplighter for root, else lamplighter in the user's own data directory (XDG)."""
    if os.geteuid() == 0:
        return Path("/var/lib/lamplighter")
    base = environ.get("XDG_DATA_HOME", "")
    if base.startswith("/"):  # XDG: a relative path is to be ignored
        return Path(base) / "lamplighter"
    try:
        return Path.home() / ".local" / "share" / "lamplighter"
    except RuntimeError:
        raise SettingsError("This user has no home directory; name one for the data with --data-dir.") from None


def is_loopback(host: str) -> bool:
    """Names other than localhost may mean anything tomorrow, so they don't count."""
    if _is_address(host):
        return ipaddress.ip_address(host).is_loopback
    return host.lower().rstrip(".") in ("localhost", "ip6-localhost")


def _refuse_open_door(settings: Settings, given: Mapping[str, _Given]) -> None:
    if not settings.auth and not is_loopback(settings.host):
        host = given["host"]
        raise SettingsError(
            f"{given['auth'].source}: authentication can't be off while the service listens on {settings.host} "
            f"({host.source}), because whoever reaches that port could run code here; "
            "leave it on, or listen on 127.0.0.1."
        )


def _refuse_foreign(path: Path) -> None:
    """The service, which gives root away, owns the data directory: what it may have written there is not root's to
    obey."""
    if os.geteuid() == 0 and path.stat().st_uid != 0:
        raise SettingsError(
            f"{path} does not belong to root, so root does not read it; chown it, or name a file elsewhere."
        )


def _refuse_unknown_variables(environ: Mapping[str, str]) -> None:
    known = [option.variable for option in OPTIONS] + [CONFIG_VARIABLE]
    for name in sorted(environ):
        if name.startswith(PREFIX) and name not in known and not _KUBERNETES.fullmatch(name):
            raise SettingsError(f"{name} (environment variable) is not a setting; {_meant(name, known)}.")


def _meant(name: str, known: Sequence[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    return f"did you mean {close[0]}" if close else f"there are {', '.join(known)}"


def _value(name: str, read: Callable[[object], object], given: _Given) -> object:
    value = given.value
    if given.base and name in _PATHS and isinstance(value, str) and value and not value.startswith("~"):
        value = str(given.base / value)
    try:
        return read(value)
    except ValueError as error:
        shown = f'"{given.value}"' if isinstance(given.value, str) else given.value
        raise SettingsError(f"{given.source}: {shown} {error}.") from None


def _exists(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:
        return False  # an unreadable data directory is told better by whoever opens it


def _read_file(path: Path, source: str) -> dict[str, _Given]:
    try:
        content = tomllib.loads(path.read_text())
    except OSError as error:
        raise SettingsError(f"{source}: {path} cannot be read: {error.strerror} (errno {error.errno}).") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path} is not valid TOML: {error}.") from None
    for name in content:
        if name not in _BY_NAME:
            raise SettingsError(f'"{name}" in {path} is not a setting; {_meant(name, list(_BY_NAME))}.')
    return {name: _Given(value, f"{name} in {path}", path.parent) for name, value in content.items()}
