"""The commands as a person meets them: help, lines to copy, and a sentence when something can't be."""

import os
import shlex
import stat
import subprocess
import sysconfig
from pathlib import Path

import pytest

from lamplighter.cli.commands import COMMANDS
from lamplighter.settings.options import OPTIONS
from lamplighter.store.credentials import load_or_make
from support.functions import PYTHON
from support.service import clean_environment, run


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_examples(command: str) -> None:
    done = run(command, "--help")
    assert done.returncode == 0
    assert "Examples:" in done.stdout
    assert f"lamplighter {command}" in done.stdout


def test_the_help_of_all_lists_the_commands_and_imports_none() -> None:
    done = run("--help", PYTHONPROFILEIMPORTTIME="1")
    assert done.returncode == 0
    assert all(f"  {name}" in done.stdout for name in COMMANDS)
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert not imported & {"lamplighter.app", "uvloop", "botocore", "sqlalchemy", "rich"}


def test_serve_has_a_flag_for_every_setting_and_names_its_variable() -> None:
    shown = " ".join(run("serve", "--help").stdout.split())
    assert all(option.flag in shown and option.variable in shown for option in OPTIONS)
    assert "LAMPLIGHTER_CONFIG" in shown


def test_a_wrong_setting_is_one_sentence_and_exit_code_2() -> None:
    done = run("serve", LAMPLIGHTER_PORT="http")
    assert done.returncode == 2
    assert done.stderr == 'lamplighter: LAMPLIGHTER_PORT: "http" must be a number from 0 (any free port) to 65535.\n'


def test_auth_off_is_refused_off_loopback() -> None:
    done = run("serve", "--auth", "off", "--host", "0.0.0.0")
    assert done.returncode == 2
    assert done.stderr.startswith("lamplighter: --auth: authentication can't be off while")


def test_env_prints_lines_that_a_shell_takes_as_they_are(tmp_path: Path) -> None:
    directory = tmp_path / "it's here"
    directory.mkdir()
    made = load_or_make(directory)
    script = f'eval "$(lamplighter env --data-dir {shlex.quote(str(directory))} --port 99 --region eu-west-1)"; env'
    done = subprocess.run(
        ["sh", "-euc", script],
        env=clean_environment(PATH=f"{_bin()}:{os.environ['PATH']}"),
        capture_output=True,
        text=True,
        timeout=60,
    )
    variables = dict(line.split("=", 1) for line in done.stdout.splitlines() if line.startswith("AWS_"))
    assert variables == {
        "AWS_ENDPOINT_URL": "http://127.0.0.1:99",
        "AWS_REGION": "eu-west-1",
        "AWS_DEFAULT_REGION": "eu-west-1",
        "AWS_ACCESS_KEY_ID": made.access_key_id,
        "AWS_SECRET_ACCESS_KEY": made.secret_access_key,
    }


def test_env_before_the_first_start_says_what_to_do(tmp_path: Path) -> None:
    done = run("env", "--data-dir", str(tmp_path))
    assert done.returncode == 1
    assert done.stdout == ""
    assert f"There are no credentials in {tmp_path} yet" in done.stderr
    assert "lamplighter serve --data-dir" in done.stderr


def test_env_cannot_know_a_port_that_was_any() -> None:
    done = run("env", LAMPLIGHTER_PORT="0")
    assert (done.returncode, done.stdout) == (2, "")
    assert "--port" in done.stderr


def test_the_credentials_of_a_running_service_are_for_its_owner_only(service) -> None:
    mode = (service.data_dir / "credentials.json").stat().st_mode
    assert stat.S_IMODE(mode) == 0o600
    done = run("env", "--data-dir", str(service.data_dir), "--port", str(service.port))
    assert f"export AWS_ENDPOINT_URL={service.url}\n" in done.stdout


def test_doctor_tells_what_this_host_can_do_and_which_isolation_auto_takes() -> None:
    done = run("doctor")
    assert done.returncode == 0, done.stderr
    told = ("namespace", "cgroups", "overlayfs", "seccomp", "python3.", "freezing", "open files", "room in", "clock")
    for word in told:
        assert word in done.stdout
    assert "--isolation auto" in done.stdout


def test_installing_what_is_not_nodejs_says_how_to_get_it_or_that_it_is_here() -> None:
    here = run("runtimes", "install", PYTHON)
    assert here.returncode == 0
    assert here.stdout.startswith(f"{PYTHON} is here already: 3.")
    for runtime, how in (
        ("ruby4.0", "apt install ruby"),
        ("dotnet8", "does not run on this host yet"),
        ("ruby2.5", "AWS has retired ruby2.5"),
        ("cobol85", "cobol85 is not a runtime of AWS Lambda."),
    ):
        done = run("runtimes", "install", runtime)
        assert (done.returncode, done.stdout) == (1, "")
        assert how in done.stderr


def test_runtimes_lists_the_interpreters_found_here() -> None:
    done = run("runtimes")
    assert done.returncode == 0
    assert "python3." in done.stdout


def _bin() -> Path:
    return Path(sysconfig.get_path("scripts"))
