"""Which functions start with AWS's SDK imported: those that name it and bring nothing that would stand in its way."""

from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path

import pytest

from lamplighter.runtimes.sdk import own_sdk, starts_with_sdk

USES = {"app.py": "import boto3\n"}


def directory(place: Path, files: Mapping[str, str]) -> Path:
    place.mkdir(parents=True)
    for name, text in files.items():
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_text(text)
    return place


@pytest.mark.parametrize(
    "files",
    [
        USES,
        {"app.py": "from handlers import x\n", "handlers/x.py": "from botocore.config import Config\n"},
        {"app.py": "import boto3\n", "pandas/__init__.py": "", "notes.txt": ""},
    ],
)
def test_a_package_that_names_the_sdk_starts_with_it(files: dict[str, str], tmp_path: Path) -> None:
    assert starts_with_sdk([directory(tmp_path / "task", files)])


@pytest.mark.parametrize(
    "files",
    [
        {"app.py": "import json\n"},
        {"app.py": "import myboto3x\n"},
        {"app.txt": "import boto3\n"},
        {**USES, "boto3/__init__.py": ""},
        {**USES, "urllib3/__init__.py": ""},
        {**USES, "dateutil/__init__.py": ""},
        {**USES, "six.py": ""},
        {**USES, "queue.py": ""},
        {**USES, "_bisect.cpython-311-x86_64-linux-gnu.so": ""},
        {**USES, "extra.pth": "elsewhere\n"},
    ],
)
def test_one_that_does_not_or_has_a_module_of_its_own_that_comes_first_does_not(
    files: dict[str, str], tmp_path: Path
) -> None:
    assert not starts_with_sdk([directory(tmp_path / "task", files)])


def test_layers_count_as_the_package_does(tmp_path: Path) -> None:
    task = directory(tmp_path / "task", USES)
    assert starts_with_sdk([task, tmp_path / "no-such-layer"])
    assert not starts_with_sdk([task, directory(tmp_path / "layer", {"botocore/__init__.py": ""})])
    plain = directory(tmp_path / "plain", {"app.py": "import powertools\n"})
    assert starts_with_sdk([plain, directory(tmp_path / "powertools", {"powertools.py": "import boto3\n"})])


def test_links_of_a_package_are_not_followed(tmp_path: Path) -> None:
    outside = directory(tmp_path / "outside", USES)
    task = directory(tmp_path / "task", {"app.py": "import json\n"})
    (task / "other.py").symlink_to(outside / "app.py")
    (task / "loop").symlink_to(task)
    assert not starts_with_sdk([task])


def test_the_sdk_is_those_packages_that_boto3_needs_and_nothing_beside_them() -> None:
    sdk = own_sdk()
    assert sdk is not None
    names = {Path(part).name for part in sdk.parts}
    modules = {name for name in names if not name.endswith(".dist-info")}
    assert modules == {"boto3", "botocore", "s3transfer", "jmespath", "dateutil", "six.py", "urllib3"}
    assert f"boto3-{version('boto3')}.dist-info" in names
    assert all(Path(part).exists() for part in sdk.parts)
    assert sdk.least >= (3, 10)
