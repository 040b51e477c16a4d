"""Temporary credentials, one set for each environment: they hold while it lives and not a moment longer.

An id is random; its secret and token are derived from it, so that nothing is stored and the set of live ids is all
there is to know. Who sends the right token of an id that is not live had an environment once: expired. Any other token
was never ours: invalid. An environment never outlives them, so there is nothing to renew.
"""

import base64
import hmac
import re
import secrets
from dataclasses import dataclass, field

from lamplighter.api.http import Caller
from lamplighter.api.sigv4 import Session
from lamplighter.model.functions import FunctionVersion

_ID = re.compile("ASIA[A-Z2-7]{16}")


@dataclass(frozen=True, slots=True)
class Keys:
    access_key: str
    secret: str = field(repr=False)
    token: str = field(repr=False)


class Sessions:
    """`secret`: at least 32 random bytes. `allowed`: the actions that functions may take; None: all."""

    def __init__(self, secret: bytes, allowed: frozenset[str] | None) -> None:
        self._secret = secret
        self._allowed = allowed
        self._live: dict[str, tuple[Keys, Caller]] = {}

    def open(self, function: FunctionVersion) -> Keys:
        keys = self._derived("ASIA" + base64.b32encode(secrets.token_bytes(10)).decode())
        role = function.role.rpartition("/")[2]
        arn = f"arn:aws:sts::{function.id.account}:assumed-role/{role}/{function.id.name}"
        self._live[keys.access_key] = keys, Caller(keys.access_key, function.id.account, arn, self._allowed)
        return keys

    def close(self, keys: Keys) -> None:
        """Of no use from here on. Idempotent."""
        self._live.pop(keys.access_key, None)

    def secret_of(self, access_key: str) -> tuple[str, Caller] | None:
        """For a Verifier. Of an id that is not live it is told too, as its session is what has expired."""
        live = self._live.get(access_key)
        if live is not None:
            return live[0].secret, live[1]
        if not _ID.fullmatch(access_key):
            return None
        return self._derived(access_key).secret, Caller(access_key, "", "", frozenset())

    def session_of(self, access_key: str) -> Session | None:
        """For a Verifier."""
        live = self._live.get(access_key)
        if live is not None:
            return Session(live[0].token, float("inf"))
        return Session(self._derived(access_key).token, 0.0) if _ID.fullmatch(access_key) else None

    def _derived(self, access_key: str) -> Keys:
        return Keys(access_key, self._derive("secret", access_key)[:40], self._derive("token", access_key))

    def _derive(self, purpose: str, access_key: str) -> str:
        return base64.b64encode(hmac.digest(self._secret, f"{purpose}/{access_key}".encode(), "sha384")).decode()
