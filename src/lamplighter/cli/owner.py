"""The service that a command speaks to: where it is and with which credentials, and signed questions to it.

It is the one of a data directory on this machine, or the one that this shell's AWS tools speak to (`lamplighter env`
printed their variables), which may be on another machine.
"""

import http.client
import os
import shlex
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeVar, cast
from urllib.parse import urlsplit

import click
import orjson

from lamplighter.cli.options import Misuse, Refusal, settings_of, settings_options
from lamplighter.model.clock import SystemClock
from lamplighter.neighbours.signing import Keys, sign
from lamplighter.settings.choices import Settings
from lamplighter.store.credentials import CredentialsUnusable, load

DEADLINE = 30.0  # seconds for an answer

_LOCAL = ("data_dir", "host", "port")  # flags that name a service of this machine
F = TypeVar("F", bound=Callable[..., object])
Flags = Mapping[str, str | None]


class Access(NamedTuple):
    url: str
    region: str
    keys: Keys


def service_options(*names: str) -> Callable[[F], F]:
    """The flags of these settings, and the one that names a service elsewhere; both for `elsewhere` and `owner_of`."""

    def decorate(command: F) -> F:
        click.option(
            "--endpoint-url",
            metavar="URL",
            help="A service on another machine, with AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY of this shell. "
            "[AWS_ENDPOINT_URL, unless --data-dir or LAMPLIGHTER_DATA_DIR says which]",
        )(command)
        return settings_options(*names)(command)

    return decorate


def access(settings: Settings) -> Access:
    """To the service of a data directory. Raises Misuse or Refusal."""
    if settings.port == 0:
        raise Misuse("Which port? The service was told to take any free one; give the one it printed as --port.")
    try:
        credentials = load(settings.data_dir)
    except CredentialsUnusable as error:
        raise Refusal(error) from None
    if credentials is None:
        raise Refusal(
            f"There are no credentials in {settings.data_dir} yet; the first start of the service makes them: "
            f"lamplighter serve --data-dir {shlex.quote(str(settings.data_dir))}, "
            "or name the directory that it uses with --data-dir."
        )
    return Access(settings.url, settings.region, Keys(credentials.access_key_id, credentials.secret_access_key))


def elsewhere(flags: Flags, variables: Mapping[str, str] = os.environ) -> Access | None:
    """To the service that --endpoint-url or the shell's variables name; None: the flags or their absence mean one of
    this machine. Raises Misuse."""
    named = flags.get("endpoint_url")
    here = any(flags.get(name) for name in _LOCAL)
    if named and here:
        raise Misuse("--endpoint-url is for a service elsewhere; --data-dir, --host and --port are for one here.")
    url = named or ("" if here or variables.get("LAMPLIGHTER_DATA_DIR") else variables.get("AWS_ENDPOINT_URL", ""))
    key, secret = variables.get("AWS_ACCESS_KEY_ID"), variables.get("AWS_SECRET_ACCESS_KEY")
    if not url or (not named and not (key and secret)):
        return None
    if not (key and secret):
        raise Misuse(
            "--endpoint-url takes credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY to those that "
            "`lamplighter env` prints where the service runs."
        )
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.path.strip("/"):
        raise Misuse(f"{url!r} is no address of a service, such as https://lambda.example:4566.")
    region = flags.get("region") or variables.get("AWS_REGION") or variables.get("AWS_DEFAULT_REGION") or "us-east-1"
    keys = Keys(key, secret, variables.get("AWS_SESSION_TOKEN") or None)
    return Access(f"{parts.scheme}://{parts.netloc}", region, keys)


def owner_of(flags: Flags) -> "Owner":
    """Of the service that the flags or the shell name. Raises Misuse or Refusal."""
    return Owner(elsewhere(flags) or access(settings_of(without_endpoint(flags))))


def without_endpoint(flags: Flags) -> dict[str, str | None]:
    """The flags that are settings."""
    return {name: value for name, value in flags.items() if name != "endpoint_url"}


class Owner:
    """Who holds the credentials that the service made at its first start."""

    def __init__(self, access: Access) -> None:
        self._access = access
        self._clock = SystemClock()

    def ask(
        self, method: str, path: str, service: str, headers: Mapping[str, str] | None = None, body: bytes = b""
    ) -> tuple[int, dict[str, object]]:
        """Status and JSON. Raises Refusal when nobody answers."""
        url, region, keys = self._access
        sent = sign(method, f"{url}{path}", headers or {}, body, keys, service, region, self._clock.now())
        kind = http.client.HTTPSConnection if url.startswith("https:") else http.client.HTTPConnection
        connection = kind(sent["Host"], timeout=DEADLINE)
        try:
            connection.request(method, path, body, sent)
            response = connection.getresponse()
            answer = orjson.loads(response.read() or b"{}")
            if not isinstance(answer, dict):
                raise ValueError("what answers is something else")
            return response.status, cast(dict[str, object], answer)
        except (OSError, http.client.HTTPException, ValueError) as error:
            reason = "it does not speak JSON" if isinstance(error, orjson.JSONDecodeError) else error
            reason = getattr(error, "strerror", None) or reason
            raise Refusal(f"No service answers at {url}: {reason}. Is it running, and on that port?") from None
        finally:
            connection.close()

    def page(self, path: str) -> dict[str, Any]:
        """One that only the service's owner may read. Raises Refusal."""
        status, answer = self.ask("GET", path, "lambda")
        if status == 200:
            return answer
        url, said = self._access.url, str(answer.get("Message") or answer.get("message") or f"status {status}")
        if status == 403:
            raise Refusal(
                f"The service at {url} refuses these credentials: {said} Take those that `lamplighter env` prints "
                "where it runs, and its region."
            )
        if status == 404:
            raise Refusal(f"What answers at {url} does not know {path}: it is another service, or another release.")
        raise Refusal(f"The service at {url} does not tell: {said}")
