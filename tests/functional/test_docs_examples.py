"""What the documentation shows is what happens: its blocks are run, its links and the tests it names exist.

In a page, blocks of sh and python are run in order, as by somebody who pastes them into one shell; a block of text has
lines that the block before it must have printed, among others.
"""

import os
import re
import signal
import subprocess
import sys
import sysconfig
import tomllib
from pathlib import Path

import pytest

from lamplighter.api.unavailable import UNAVAILABLE
from lamplighter.settings.options import OPTIONS
from lamplighter.settings.reading import read_settings
from support.service import Service, clean_environment

CHECKOUT = Path(__file__).parents[2]
PAGES = sorted([*CHECKOUT.glob("*.md"), *CHECKOUT.glob("docs/**/*.md")])
WALKS = ("README.md docs/metrics.md docs/bill.md", "docs/getting-started.md", "docs/watching.md docs/logs.md")
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\((?!https?:|#)([^)#\s]+)(?:#[^)\s]*)?\)")
TEST = re.compile(r"((?:tests|bench)/[\w/]+\.py)::(\w+)")
DEADLINE = 120


@pytest.mark.parametrize("pages", WALKS)
def test_the_examples_of_pages_do_what_they_say(pages: str, data_dir: Path, tmp_path: Path) -> None:
    (tmp_path / ".lamplighter").symlink_to(data_dir)
    (tmp_path / ".venv" / "bin").parent.mkdir()
    (tmp_path / ".venv" / "bin").symlink_to(sysconfig.get_path("scripts"))
    with Service(data_dir) as service:
        variables = clean_environment(LAMPLIGHTER_PORT=str(service.port), AWS_PAGER="")
        for page in pages.split():
            variables = _walk(page, tmp_path, variables)


def _walk(page: str, directory: Path, variables: dict[str, str]) -> dict[str, str]:
    """The variables that the page leaves in the shell."""
    kept = directory / "variables"
    printed = ""
    for kind, text in BLOCK.findall((CHECKOUT / page).read_text()):
        if kind == "sh":
            # Each block is a shell of its own, so a failure is known by its block; variables go from one to the next.
            printed = _run(["sh", "-euc", f"{text}\nenv -0 > '{kept}'"], directory, variables)
            variables = dict(line.split("=", 1) for line in kept.read_text().split("\0") if line)
        elif kind == "python":
            printed = _run([sys.executable, "-c", text], directory, variables)
        elif kind == "text" and printed:
            for line in text.splitlines():
                assert line in printed, f"{page} says {line!r}, but this was printed:\n{printed}"
    return variables


def _run(command: list[str], directory: Path, variables: dict[str, str]) -> str:
    done = subprocess.run(
        command,
        cwd=directory,
        env=variables,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=DEADLINE,
    )
    assert done.returncode == 0, f"{command[-1]}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def test_make_run_deploys_the_example_calls_it_and_ends_on_ctrl_c(data_dir: Path) -> None:
    command = [sys.executable, str(CHECKOUT / "examples" / "run.py"), "--port", "0", "--data-dir", str(data_dir)]
    for deployed in (True, False):  # the second start finds the function of the first
        said: list[str] = []
        with subprocess.Popen(
            command, env=clean_environment(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout
            for line in process.stdout:
                said.append(line)
                if line.startswith("Ctrl-C ends it"):
                    process.send_signal(signal.SIGINT)
            assert process.wait(DEADLINE) == 0
        text = "".join(said)
        assert ("Deployed examples/hello" in text) == deployed
        assert '"greeting": "Hello, Lamplighter!"' in text
        assert "First call" in text and "Warm calls" in text
        assert "aws lambda invoke --function-name hello" in text and "import boto3" in text


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(CHECKOUT)))
def test_links_lead_somewhere_and_named_tests_exist(page: Path) -> None:
    text = page.read_text()
    for target in LINK.findall(text):
        assert (page.parent / target).exists(), target
    for file, name in TEST.findall(text):
        assert re.search(rf"^(async )?def {name}\(", (CHECKOUT / file).read_text(), re.MULTILINE), f"{file}::{name}"


def test_the_readme_names_what_is_refused_as_the_table_has_it() -> None:
    text = (CHECKOUT / "README.md").read_text()
    _, _, rest = text.partition("a test holds this list to it. -->\n")
    assert " ".join(rest.partition(".\n")[0].split()) == ", ".join(UNAVAILABLE)


def test_the_page_about_configuration_has_every_option_as_it_is(tmp_path: Path) -> None:
    text = (CHECKOUT / "docs" / "configuration.md").read_text()
    for option in OPTIONS:
        assert f"`{option.flag} " in text and f"`{option.variable}`" in text
    (complete,) = (body for kind, body in BLOCK.findall(text) if kind == "toml")
    assert tomllib.loads(complete).keys() == {option.name for option in OPTIONS}
    file = tmp_path / "complete.toml"
    file.write_text(complete)
    assert read_settings({"config": str(file)}, {}).isolation == "full"


def test_nothing_shipped_names_this_machine_or_where_packages_come_from() -> None:
    for name in ("Makefile", "requirements.lock", ".ci/run", "README.md"):
        text = (CHECKOUT / name).read_text()
        assert str(CHECKOUT) not in text or os.fspath(CHECKOUT) == "/"
        assert not re.search(r"https?://|index-url |find-links |file://", text.replace("fileb://", "")), name
