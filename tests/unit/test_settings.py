"""Where a setting comes from, which one wins, and what is said about one that can't be used."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lamplighter.settings.choices import Settings
from lamplighter.settings.options import OPTIONS
from lamplighter.settings.reading import SettingsError, is_loopback, read_settings, standard_data_dir

EXAMPLES = {
    "host": ("127.0.0.2", "127.0.0.2"),
    "port": ("4567", 4567),
    "data_dir": ("/somewhere/else", Path("/somewhere/else")),
    "auth": ("off", False),
    "account_id": ("123456789012", "123456789012"),
    "region": ("eu-central-1", "eu-central-1"),
    "isolation": ("user", "user"),
    "missing_runtimes": ("accept", "accept"),
    "traces_endpoint": ("http://127.0.0.1:4318", "http://127.0.0.1:4318"),
    "function_api": ("all", "all"),
    "function_endpoint": ("none", "none"),
    "role_policies": ("/etc/roles.json", Path("/etc/roles.json")),
    "network": ("internet", "internet"),
    "reachable_networks": ("10.1.0.0/16,fd12::/32", ("10.1.0.0/16", "fd12::/32")),
    "tmp": ("disk", "disk"),
    "unreachable_networks": ("198.51.7.0/24", ("198.51.7.0/24",)),
    "account_concurrency": ("250", 250),
    "idle_timeout": ("90", 90),
    "max_environment_age": ("3600", 3600),
    "memory_reserve": ("512", 512),
    "freeze": ("off", False),
    "logs": ("off", False),
    "metering": ("off", False),
    "metrics": ("off", False),
    "prometheus": ("[::1]:9464", ("::1", 9464)),
    "log_format": ("json", "json"),
    "log_level": ("debug", "debug"),
    "s3_endpoint": ("https://s3.eu-central-1.amazonaws.com", "https://s3.eu-central-1.amazonaws.com"),
    "sqs_endpoint": ("http://127.0.0.1:9324", "http://127.0.0.1:9324"),
    "sns_endpoint": ("http://[::1]:9911", "http://[::1]:9911"),
    "events_endpoint": ("http://events.internal/prefix", "http://events.internal/prefix"),
}
ALL_OPTIONS = pytest.mark.parametrize("option", OPTIONS, ids=lambda option: option.name)


def refusal(flags: dict[str, str | None] | None = None, **environ: str) -> str:
    with pytest.raises(SettingsError) as caught:
        read_settings(flags, environ)
    sentence = str(caught.value)
    assert sentence.endswith(".") and "\n" not in sentence
    return sentence


def test_without_anything_given_the_defaults_are_the_documented_ones(tmp_path: Path) -> None:
    assert read_settings({}, {}, tmp_path) == Settings(
        tmp_path, "127.0.0.1", 4566, True, "000000000000", "us-east-1", "auto"
    )


@ALL_OPTIONS
def test_every_option_is_a_flag_a_variable_and_a_key_in_the_file(option, tmp_path: Path) -> None:
    text, value = EXAMPLES[option.name]
    file = tmp_path / "settings.toml"
    file.write_text(f'{option.name} = "{text}"\n')
    by_flag = read_settings({option.name: text}, {}, tmp_path)
    by_variable = read_settings({}, {option.variable: text}, tmp_path)
    by_file = read_settings({"config": str(file)}, {}, tmp_path)
    assert getattr(by_flag, option.name) == value
    assert by_flag == by_variable == by_file


def test_a_flag_wins_over_a_variable_over_the_file_over_the_default(tmp_path: Path) -> None:
    (tmp_path / "lamplighter.toml").write_text("port = 1\n")
    variables = {"LAMPLIGHTER_PORT": "2"}
    assert read_settings({}, {}, tmp_path).port == 1
    assert read_settings({}, variables, tmp_path).port == 2
    assert read_settings({"port": "3"}, variables, tmp_path).port == 3


def test_where_s3_is_may_be_told_as_to_other_aws_tools(tmp_path: Path) -> None:
    variables = {"AWS_ENDPOINT_URL": "http://127.0.0.1:1"}
    assert read_settings({}, {}, tmp_path).s3_endpoint is None
    assert read_settings({}, variables, tmp_path).s3_endpoint == "http://127.0.0.1:1"
    variables["AWS_ENDPOINT_URL_S3"] = "http://127.0.0.1:2"
    assert read_settings({}, variables, tmp_path).s3_endpoint == "http://127.0.0.1:2"
    (tmp_path / "lamplighter.toml").write_text('s3_endpoint = "http://127.0.0.1:3"\n')
    assert read_settings({}, variables, tmp_path).s3_endpoint == "http://127.0.0.1:3"
    assert "AWS_ENDPOINT_URL" in refusal(AWS_ENDPOINT_URL="localhost:4566")


def test_a_variable_that_is_empty_is_not_given(tmp_path: Path) -> None:
    assert read_settings({}, {"LAMPLIGHTER_PORT": "", "LAMPLIGHTER_CONFIG": ""}, tmp_path).port == 4566


def test_the_file_in_the_data_directory_is_read_unless_another_is_named(tmp_path: Path) -> None:
    (tmp_path / "lamplighter.toml").write_text('region = "eu-west-1"\n')
    other = tmp_path / "other.toml"
    other.write_text("auth = false\nport = 99\n")
    assert read_settings({"data_dir": str(tmp_path)}, {}).region == "eu-west-1"
    named = read_settings({"data_dir": str(tmp_path)}, {"LAMPLIGHTER_CONFIG": str(other)})
    assert (named.region, named.auth, named.port) == ("us-east-1", False, 99)


def test_a_relative_path_starts_from_the_file_that_names_it(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir("/")
    (tmp_path / "it.toml").write_text('data_dir = "data"\nrole_policies = "roles.json"\n')
    read = read_settings({"config": str(tmp_path / "it.toml")}, {})
    assert (read.data_dir, read.role_policies) == (tmp_path / "data", tmp_path / "roles.json")
    monkeypatch.chdir(tmp_path)
    assert read_settings({"data_dir": "data"}, {}).data_dir == tmp_path / "data"


def test_the_data_directory_is_roots_or_the_users_own(monkeypatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 0)
    assert standard_data_dir({}) == Path("/var/lib/lamplighter")
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    monkeypatch.setenv("HOME", "/home/ada")
    assert standard_data_dir({}) == Path("/home/ada/.local/share/lamplighter")
    assert standard_data_dir({"XDG_DATA_HOME": "/data"}) == Path("/data/lamplighter")
    assert standard_data_dir({"XDG_DATA_HOME": "data"}) == Path("/home/ada/.local/share/lamplighter")


@pytest.mark.parametrize(
    ("name", "bad"),
    [
        ("host", "not a host"),
        ("host", "1.2.3"),
        ("host", ""),
        ("port", "http"),
        ("port", "65536"),
        ("port", "-1"),
        ("port", "tcp://10.0.0.1:4566"),
        ("auth", "maybe"),
        ("account_id", "12345"),
        ("region", "nowhere"),
        ("isolation", "strong"),
        ("missing_runtimes", "maybe"),
        ("data_dir", ""),
        ("data_dir", "a\0b"),
    ],
)
def test_a_bad_value_is_refused_with_its_source(name: str, bad: str, tmp_path: Path) -> None:
    flag, variable = "--" + name.replace("_", "-"), "LAMPLIGHTER_" + name.upper()
    assert refusal({name: bad}).startswith(f'{flag}: "{bad}" must be')
    if bad:
        assert refusal(**{variable: bad}).startswith(f'{variable}: "{bad}" must be')


@pytest.mark.parametrize(
    "line", ["port = true", "port = 1.5", "port = []", "account_id = 123456789012", "auth = 3", "host = 127"]
)
def test_a_value_of_the_wrong_kind_in_the_file_is_refused(line: str, tmp_path: Path) -> None:
    (tmp_path / "lamplighter.toml").write_text(line)
    name = line.split()[0]
    assert refusal({"data_dir": str(tmp_path)}).startswith(f"{name} in {tmp_path / 'lamplighter.toml'}: ")


def test_an_unknown_name_is_refused_with_what_may_have_been_meant(tmp_path: Path) -> None:
    (tmp_path / "lamplighter.toml").write_text('isolaton = "full"\n')
    assert refusal({"data_dir": str(tmp_path)}) == (
        f'"isolaton" in {tmp_path / "lamplighter.toml"} is not a setting; did you mean isolation.'
    )
    assert refusal(LAMPLIGHTER_PROT="1").endswith("is not a setting; did you mean LAMPLIGHTER_PORT.")


def test_the_variables_that_kubernetes_sets_for_a_service_are_left_alone(tmp_path: Path) -> None:
    variables = dict.fromkeys(("LAMPLIGHTER_SERVICE_HOST", "LAMPLIGHTER_PORT_4566_TCP_ADDR"), "10.0.0.1")
    assert read_settings({}, variables, tmp_path).port == 4566


def test_a_file_that_is_missing_or_broken_is_refused(tmp_path: Path) -> None:
    assert "No such file" in refusal({"config": str(tmp_path / "none.toml")})
    broken = tmp_path / "broken.toml"
    broken.write_text("port = ")
    assert refusal(LAMPLIGHTER_CONFIG=str(broken)).startswith(f"{broken} is not valid TOML: ")
    broken.write_bytes(b"\xff\xfe")
    assert refusal(LAMPLIGHTER_CONFIG=str(broken)).startswith(f"{broken} is not valid TOML: ")


def test_the_file_in_the_data_directory_cannot_name_another_one(tmp_path: Path) -> None:
    (tmp_path / "lamplighter.toml").write_text('data_dir = "/elsewhere"\n')
    assert "has no effect" in refusal({"data_dir": str(tmp_path)})


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.com"])
def test_authentication_can_only_be_off_on_loopback(host: str) -> None:
    sentence = refusal({"auth": "off"}, LAMPLIGHTER_HOST=host)
    assert sentence.startswith("--auth: authentication can't be off")
    assert f"{host} (LAMPLIGHTER_HOST)" in sentence


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.1", "::1", "[::1]", "localhost"])
def test_loopback_hosts_may_switch_it_off(host: str, tmp_path: Path) -> None:
    assert not read_settings({"auth": "off", "host": host}, {}, tmp_path).auth


def test_the_url_is_one_that_this_machine_can_use(tmp_path: Path) -> None:
    assert Settings(tmp_path).url == "http://127.0.0.1:4566"
    assert Settings(tmp_path, "0.0.0.0", 80).url == "http://127.0.0.1:80"
    assert Settings(tmp_path, "::", 80).url == "http://[::1]:80"


@pytest.mark.parametrize(("name", "service"), [("sqs", "SQS"), ("sns", "SNS"), ("events", "EVENTBRIDGE"), ("s3", "S3")])
def test_each_service_has_the_endpoint_that_aws_tools_would_use(name: str, service: str, tmp_path: Path) -> None:
    variables = {"AWS_ENDPOINT_URL": "http://127.0.0.1:1", f"AWS_ENDPOINT_URL_{service}": "http://127.0.0.1:2"}
    settings = read_settings({}, variables, tmp_path)
    endpoints = {each: getattr(settings, f"{each}_endpoint") for each in ("sqs", "sns", "events", "s3")}
    assert endpoints == dict.fromkeys(endpoints, "http://127.0.0.1:1") | {name: "http://127.0.0.1:2"}


@given(st.text(), st.sampled_from([option for option in OPTIONS if option.name != "data_dir"]))
def test_whatever_a_variable_holds_the_answer_is_settings_or_a_sentence(text: str, option) -> None:
    try:
        settings = read_settings({}, {option.variable: text}, Path("/nowhere"))
    except SettingsError as error:
        assert str(error).startswith(option.variable)
    else:
        assert settings.auth or is_loopback(settings.host)
