"""Signed questions to the running service, with the credentials of its data directory."""

import http.client
import shlex
from collections.abc import Mapping

import orjson

from lamplighter.cli.options import Misuse, Refusal
from lamplighter.model.clock import SystemClock
from lamplighter.neighbours.signing import Keys, sign
from lamplighter.settings import Settings
from lamplighter.store.credentials import CredentialsUnusable, load

DEADLINE = 30.0  # seconds for an answer


class Owner:
    """Who holds the data directory of a service. Raises Misuse or Refusal."""

    def __init__(self, settings: Settings) -> None:
        if settings.port == 0:
            raise Misuse("Which port? The service was told to take any free one; give the one it printed as --port.")
        try:
            credentials = load(settings.data_dir)
        except CredentialsUnusable as error:
            raise Refusal(error) from None
        if credentials is None:
            raise Refusal(
                f"There are no credentials in {settings.data_dir}: start the service "
                f"(lamplighter serve --data-dir {shlex.quote(str(settings.data_dir))}), or name its --data-dir."
            )
        self._url = settings.url
        self._region = settings.region
        self._keys = Keys(credentials.access_key_id, credentials.secret_access_key)
        self._clock = SystemClock()

    def ask(
        self, method: str, path: str, service: str, headers: Mapping[str, str] | None = None, body: bytes = b""
    ) -> tuple[int, dict[str, object]]:
        """Status and JSON. Raises Refusal when nobody answers."""
        sent = sign(
            method, f"{self._url}{path}", headers or {}, body, self._keys, service, self._region, self._clock.now()
        )
        connection = http.client.HTTPConnection(sent["Host"], timeout=DEADLINE)
        try:
            connection.request(method, path, body, sent)
            response = connection.getresponse()
            return response.status, orjson.loads(response.read() or b"{}")
        except (OSError, http.client.HTTPException, orjson.JSONDecodeError) as error:
            reason = getattr(error, "strerror", None) or error
            raise Refusal(f"No service answers at {self._url}: {reason}. Is it running, and on that port?") from None
        finally:
            connection.close()
