"""The credentials file: made once, nobody else's to read, never half written."""

import re
from pathlib import Path

import pytest

from lamplighter.store.credentials import FILE_NAME, CredentialsUnusable, generate, load, load_or_make


def test_they_look_like_awss_own() -> None:
    made = generate()
    assert re.fullmatch("LKIA[A-Z2-7]{16}", made.access_key_id)
    assert re.fullmatch("[A-Za-z0-9+/]{40}", made.secret_access_key)
    assert generate() != made


def test_the_first_start_makes_them_and_the_next_finds_them(tmp_path: Path) -> None:
    assert load(tmp_path) is None
    made = load_or_make(tmp_path)
    assert load_or_make(tmp_path) == load(tmp_path) == made
    assert [path.name for path in tmp_path.iterdir()] == [FILE_NAME]


def test_only_their_owner_may_read_them(tmp_path: Path) -> None:
    load_or_make(tmp_path)
    file = tmp_path / FILE_NAME
    assert file.stat().st_mode & 0o777 == 0o600
    file.chmod(0o644)
    with pytest.raises(CredentialsUnusable, match="chmod 600"):
        load(tmp_path)


def test_the_secret_is_not_in_the_repr() -> None:
    made = generate()
    assert made.secret_access_key not in repr(made)


def test_what_a_crash_left_of_an_earlier_try_does_not_matter(tmp_path: Path) -> None:
    (tmp_path / (FILE_NAME + ".new")).write_text("{")
    assert load_or_make(tmp_path) == load(tmp_path)


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        "{}",
        '{"access_key_id": 1, "secret_access_key": 2}',
        '{"access_key_id": "x", "secret_access_key": "y"}',
    ],
)
def test_a_damaged_file_is_told_and_left_alone(content: str, tmp_path: Path) -> None:
    file = tmp_path / FILE_NAME
    file.write_text(content)
    file.chmod(0o600)
    with pytest.raises(CredentialsUnusable, match="does not hold credentials"):
        load_or_make(tmp_path)
    assert file.read_text() == content
