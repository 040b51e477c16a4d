"""AWS's SDK, imported ahead: called in a fork server, whose forks then have boto3 without importing it.

Clients are made once, so that what the SDK imports, compiles and reads only then is there too. Nothing of it stays that
could tell one environment of another: no client, session, credential, socket or thread, and no name of the host.
"""

from __future__ import annotations

import os
import sys
import warnings
from importlib import import_module
from types import FunctionType
from typing import Any

# What most functions talk to. The parsed models of these wait in memory, some megabytes for all.
_SERVICES = ("s3", "dynamodb", "sqs", "sns", "sts", "lambda", "secretsmanager", "ssm")
# Imported by the SDK only when they are used.
_MODULES = (
    "boto3.s3.inject", "boto3.s3.transfer", "boto3.dynamodb.conditions", "boto3.dynamodb.table",
    "boto3.dynamodb.transform", "boto3.dynamodb.types", "botocore.retries.adaptive", "botocore.retries.standard",
)  # fmt: skip
_NOBODY = {"aws_access_key_id": "-", "aws_secret_access_key": "-", "region_name": "us-east-1"}
_FILES = ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE")  # those of whoever runs the service are not read


def preload(directory: str) -> None:
    """Import the SDK that is in the directory."""
    sys.path.append(directory)
    os.environ.update(dict.fromkeys(_FILES, os.devnull))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # they are for the function to see, in its log
            import_module("boto3")
            for name in _MODULES:
                import_module(name)
            _make_clients()
    finally:
        for name in _FILES:
            del os.environ[name]
        sys.path.remove(directory)
    _forget_host()


def _make_clients() -> None:
    """Once for each service, and have what that took time to find out known for all sessions to come."""
    sessions, hooks = import_module("boto3.session"), import_module("botocore.hooks")
    loaders = import_module("botocore.loaders")
    models = _Models(loaders.JSONFileLoader)
    with models, _Aliases(hooks.EventAliaser), _Signatures(hooks):
        made = sessions.Session(**_NOBODY)
        for service in _SERVICES:
            made.client(service)
    _Rules(import_module("botocore.endpoint_provider").RuleSet).know(models.parsed)
    _Listings(loaders.Loader).know(made._loader)  # pyright: ignore  # boto3 puts its own models into its search path


class _Remembered:
    """A function of the SDK's that answers from memory what it was asked while this was entered, in forks too."""

    name: str  # of the attribute

    def __init__(self, owner: Any) -> None:
        self._owner = owner
        self._ask = getattr(owner, self.name)
        self._answers: dict[Any, Any] = {}

    def __enter__(self) -> None:
        setattr(self._owner, self.name, self._noting())

    def __exit__(self, *_: object) -> None:
        setattr(self._owner, self.name, self._remembering())

    def _noting(self) -> Any:
        raise NotImplementedError

    def _remembering(self) -> Any:
        raise NotImplementedError


class _Models(_Remembered):
    """Parsed files. Each is given out once, to the first session that asks: sessions may write into their own."""

    name = "load_file"

    @property
    def parsed(self) -> dict[str, Any]:
        """By path."""
        return self._answers

    def _noting(self) -> Any:
        def load_file(loader: Any, path: str) -> Any:
            found = self._ask(loader, path)
            if found is not None and path not in self._answers:
                self._answers[path] = self._ask(loader, path)
            return found

        return load_file

    def _remembering(self) -> Any:
        def load_file(loader: Any, path: str) -> Any:
            return self._answers.pop(path) if path in self._answers else self._ask(loader, path)

        return load_file


class _Rules(_Remembered):
    """What was made of rules by which endpoints are found, with the parsed file that they are from."""

    name = "__init__"

    def know(self, files: dict[str, Any]) -> None:
        (partitions,) = [found for path, found in files.items() if os.path.basename(path) == "partitions"]
        for path, found in files.items():
            if "endpoint-rule-set" in os.path.basename(path):
                made = self._owner(**found, partitions=partitions)
                self._answers[id(found["rules"])] = found["rules"], partitions, vars(made)
        self.__exit__()

    def _remembering(self) -> Any:
        def __init__(made: Any, *args: Any, **given: Any) -> None:
            rules, partitions, known = self._answers.pop(id(given.get("rules")), (None, None, {}))
            if known and given["rules"] is rules and given.get("partitions") is partitions:
                made.__dict__ = known
            else:
                self._ask(made, *args, **given)

        return __init__


class _Aliases(_Remembered):
    """Of event names, as the SDK's own table has them."""

    name = "_alias_event_name"

    def _noting(self) -> Any:
        def alias(emitter: Any, event: str) -> Any:
            self._answers[event] = self._ask(emitter, event)
            return self._answers[event]

        return alias

    def _remembering(self) -> Any:
        own = vars(import_module("botocore.hooks"))["EVENT_ALIASES"]

        def alias(emitter: Any, event: str) -> Any:
            if event in self._answers and emitter._event_aliases is own:
                return self._answers[event]
            return self._ask(emitter, event)

        return alias


class _Signatures(_Remembered):
    """Whether the SDK's own functions take keywords."""

    name = "accepts_kwargs"

    def _noting(self) -> Any:
        def accepts_kwargs(called: Any) -> Any:
            answer, function = self._ask(called), getattr(called, "__func__", called)
            if type(function) is FunctionType and function.__closure__ is None:  # or it would keep a session
                self._answers[function] = answer
            return answer

        return accepts_kwargs

    def _remembering(self) -> Any:
        def accepts_kwargs(called: Any) -> Any:
            function = getattr(called, "__func__", called)
            is_known = type(function) is FunctionType and function in self._answers
            return self._answers[function] if is_known else self._ask(called)

        return accepts_kwargs


class _Listings(_Remembered):
    """Which services there are models of, where they are searched for in the SDK alone: looking takes 25 ms."""

    name = "list_available_services"

    def know(self, loader: Any) -> None:
        for kind in ("service-2", "endpoint-rule-set-1", "resources-1"):
            self._answers[self._key(loader, kind)] = self._ask(loader, kind)
        self.__exit__()

    def _remembering(self) -> Any:
        def list_available_services(loader: Any, type_name: str) -> Any:
            listed = self._answers.get(self._key(loader, type_name))
            return self._ask(loader, type_name) if listed is None else list(listed)

        return list_available_services

    def _key(self, loader: Any, kind: str) -> Any:
        return (kind, *(path for path in loader.search_paths if os.path.isdir(path)))


def _forget_host() -> None:
    """`platform` keeps what it was told of the host, whose name sandboxes don't have."""
    platform = import_module("platform")
    vars(platform)["_uname_cache"] = None
    vars(platform).get("_platform_cache", {}).clear()
