"""The account's first credentials: made once, by the first start, and kept in the data directory for its owner's eyes.

They look like AWS's (an id of 20 capitals and digits, a secret of 40 characters), since tools check that. The id starts
with LKIA, so that nobody takes a leaked one for a key of AWS.
"""

import base64
import contextlib
import hashlib
import json
import os
import re
import secrets
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

FILE_NAME = "credentials.json"
_ID = re.compile(r"[A-Z0-9]{16,128}")
_SECRET = re.compile(r"[!-~]{16,256}")


class CredentialsUnusable(Exception):
    """The file is there, but can't be used; the text is a sentence with the remedy."""


@dataclass(frozen=True, slots=True)
class Credentials:
    access_key_id: str
    secret_access_key: str = field(repr=False)

    def derived(self, purpose: str) -> bytes:
        """A secret for one purpose, as lasting as these, from which they can't be told back."""
        return hashlib.blake2b(purpose.encode(), key=self.secret_access_key.encode()[:64]).digest()


def generate() -> Credentials:
    """Random ones: 80 bits of id, 240 bits of secret."""
    return Credentials(
        "LKIA" + base64.b32encode(secrets.token_bytes(10)).decode(), base64.b64encode(secrets.token_bytes(30)).decode()
    )


def load(directory: Path) -> Credentials | None:
    """Those of this data directory; None before its first start. Raises CredentialsUnusable."""
    path = directory / FILE_NAME
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            content = file.read(4096)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise CredentialsUnusable(
            f"The credentials in {path} cannot be read: {error.strerror} (errno {error.errno}); "
            "do this as root or as the user who runs the service."
        ) from None
    if mode & 0o077:
        raise CredentialsUnusable(f"Others may read or change the credentials in {path}; chmod 600 it.")
    return _parsed(content, path)


def load_or_make(directory: Path) -> Credentials:
    """As `load`, and made if there are none yet. The caller holds the data directory, so nobody else makes them too.

    Raises CredentialsUnusable, or OSError if the disk refuses."""
    known = load(directory)
    if known:
        return known
    made = generate()
    _write(directory, made)
    return made


def _parsed(content: bytes, path: Path) -> Credentials:
    with contextlib.suppress(ValueError):
        body = json.loads(content)
        if isinstance(body, dict):
            members = cast(dict[str, Any], body)
            name, secret = members.get("access_key_id"), members.get("secret_access_key")
            if isinstance(name, str) and isinstance(secret, str) and _ID.fullmatch(name) and _SECRET.fullmatch(secret):
                return Credentials(name, secret)
    raise CredentialsUnusable(
        f"{path} does not hold credentials (access_key_id and secret_access_key, as JSON); "
        "restore it, or remove it and the next start makes new ones."
    )


def _write(directory: Path, made: Credentials) -> None:
    """Whole or not at all: a crash leaves a stray temporary file at worst, which the next try overwrites."""
    path, temporary = directory / FILE_NAME, directory / (FILE_NAME + ".new")
    content = {"access_key_id": made.access_key_id, "secret_access_key": made.secret_access_key}
    with contextlib.suppress(FileNotFoundError):
        temporary.unlink()
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(json.dumps(content) + "\n")
        file.flush()
        os.fsync(descriptor)
    temporary.rename(path)
    parent = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(parent)
    finally:
        os.close(parent)
