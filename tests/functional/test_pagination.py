"""Every list, page by page: what is there all the time is seen once and in order, whatever comes and goes between two
pages, and whatever happens to the service."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from lamplighter.control import markers
from support.functions import PYTHON, ROLE, package
from support.service import Service
from support.wire_client import WireClient

CODE = {"ZipFile": package({"app.py": "def handler(event, context): return event"})}
LAYER = {"ZipFile": package({"python/x.py": ""})}
SIGNER = "arn:aws:signer:us-east-1:000000000000:/signing-profiles/tests/abcdefghij"
OPTIONS = ("--auth", "off", "--missing-runtimes", "accept")
OWNER = "paged"  # the function on which most of what is listed hangs
LASTING = range(0, 12, 2)  # numbers of what is there all the time; odd ones come and go


@dataclass(frozen=True)
class Paged:
    """A list. `put` makes the item of a number, `drop` takes away what `put` has answered; items are told apart, and
    put in order, by `key`."""

    operation: str
    items: str
    key: str
    put: Callable[[WireClient, int], Any]
    drop: Callable[[WireClient, Any], Any]
    members: Mapping[str, Any] = field(default_factory=dict[str, Any])

    def page(self, client: WireClient, marker: str | None, size: int = 3) -> tuple[list[Any], str | None]:
        more = {} if marker is None else {"Marker": marker}
        answer = done(client.call(self.operation, MaxItems=size, **self.members, **more))
        items: list[Any] = answer[self.items]
        assert len(items) <= size
        return [each if isinstance(each, str) else each[self.key] for each in items], answer.get("NextMarker")

    def all(self, client: WireClient, marker: str | None = None) -> list[Any]:
        found: list[Any] = []
        while True:
            page, marker = self.page(client, marker)
            found += page
            if marker is None:
                return found


def done(answer: dict[str, Any]) -> dict[str, Any]:
    assert "Error" not in answer, answer
    return answer


def create(client: WireClient, name: str, **members: Any) -> str:
    settings = {"Runtime": PYTHON, "Role": ROLE, "Handler": "app.handler", "Code": CODE}
    done(client.call("CreateFunction", FunctionName=name, **settings, **members))
    return name


def settle(client: WireClient) -> None:
    while "InProgress" in str(client.call("GetFunctionConfiguration", FunctionName=OWNER)):
        pass


def publish(client: WireClient, number: int) -> str:
    done(client.call("UpdateFunctionConfiguration", FunctionName=OWNER, Description=f"version {number}"))
    settle(client)
    return done(client.call("PublishVersion", FunctionName=OWNER))["Version"]


def on_owner(operation: str, **members: Any) -> Callable[[WireClient, int], dict[str, Any]]:
    """Does this to the alias of a number; answers how to address it."""

    def do(client: WireClient, number: int) -> dict[str, Any]:
        qualified = {"FunctionName": OWNER, "Qualifier": alias(number)}
        done(client.call(operation, **qualified, **members))
        return qualified

    return do


def by(operation: str, *names: str) -> Callable[[WireClient, Any], Any]:
    """Calls this with what `put` has answered, under these names if it is not a mapping."""

    def drop(client: WireClient, put: Any) -> None:
        values = put if isinstance(put, tuple) else (put,)
        done(client.call(operation, **(put if isinstance(put, dict) else dict(zip(names, values, strict=True)))))

    return drop


def alias(number: int) -> str:
    return f"a{number:02}"


def signing(client: WireClient) -> str:
    config = {"AllowedPublishers": {"SigningProfileVersionArns": [SIGNER]}}
    return done(client.call("CreateCodeSigningConfig", **config))["CodeSigningConfig"]["CodeSigningConfigArn"]


def lists(config: str) -> list[Paged]:
    """`config`: a code signing config's ARN."""
    layer, here = {"LayerName": "paged"}, {"FunctionName": OWNER}
    delete = by("DeleteFunction", "FunctionName")
    return [
        Paged(
            "ListFunctions",
            "Functions",
            "FunctionName",
            lambda client, number: create(client, f"f{number:02}"),
            delete,
        ),
        Paged(
            "ListFunctions",
            "Functions",
            "FunctionArn",
            lambda client, number: create(client, f"g{number:02}", Publish=True),
            delete,
            {"FunctionVersion": "ALL"},
        ),
        Paged(
            "ListVersionsByFunction",
            "Versions",
            "Version",
            publish,
            lambda client, version: done(client.call("DeleteFunction", FunctionName=OWNER, Qualifier=version)),
            here,
        ),
        Paged(
            "ListAliases",
            "Aliases",
            "Name",
            lambda client, number: done(
                client.call("CreateAlias", FunctionName=OWNER, Name=f"b{number:02}", FunctionVersion="1")
            )["Name"],
            lambda client, name: done(client.call("DeleteAlias", FunctionName=OWNER, Name=name)),
            here,
        ),
        Paged(
            "ListLayers",
            "Layers",
            "LayerName",
            lambda client, number: _layer(client, f"l{number:02}"),
            by("DeleteLayerVersion", "LayerName", "VersionNumber"),
        ),
        Paged(
            "ListLayerVersions",
            "LayerVersions",
            "Version",
            lambda client, _: _layer(client, "paged"),
            by("DeleteLayerVersion", "LayerName", "VersionNumber"),
            layer,
        ),
        Paged(
            "ListCodeSigningConfigs",
            "CodeSigningConfigs",
            "CodeSigningConfigArn",
            lambda client, _: signing(client),
            by("DeleteCodeSigningConfig", "CodeSigningConfigArn"),
        ),
        Paged(
            "ListFunctionsByCodeSigningConfig",
            "FunctionArns",
            "",
            lambda client, number: create(client, f"s{number:02}", CodeSigningConfigArn=config),
            delete,
            {"CodeSigningConfigArn": config},
        ),
        Paged(
            "ListFunctionEventInvokeConfigs",
            "FunctionEventInvokeConfigs",
            "FunctionArn",
            on_owner("PutFunctionEventInvokeConfig", MaximumRetryAttempts=1),
            by("DeleteFunctionEventInvokeConfig"),
            here,
        ),
        Paged(
            "ListFunctionUrlConfigs",
            "FunctionUrlConfigs",
            "FunctionArn",
            on_owner("CreateFunctionUrlConfig", AuthType="NONE"),
            by("DeleteFunctionUrlConfig"),
            here,
        ),
        Paged(
            "ListProvisionedConcurrencyConfigs",
            "ProvisionedConcurrencyConfigs",
            "FunctionArn",
            on_owner("PutProvisionedConcurrencyConfig", ProvisionedConcurrentExecutions=1),
            by("DeleteProvisionedConcurrencyConfig"),
            here,
        ),
    ]


def _layer(client: WireClient, name: str) -> tuple[str, int]:
    return name, done(client.call("PublishLayerVersion", LayerName=name, Content=LAYER))["Version"]


def prepare(client: WireClient) -> list[Paged]:
    create(client, OWNER, Publish=True)
    for number in range(40):
        done(client.call("CreateAlias", FunctionName=OWNER, Name=alias(number), FunctionVersion="1"))
    found = lists(signing(client))
    for paged in found:
        for number in LASTING:
            paged.put(client, number)
    return found


def test_what_comes_and_goes_between_pages_neither_hides_nor_repeats_anything(data_dir: Path) -> None:
    with Service(data_dir, *OPTIONS) as service, WireClient(service.port) as client:
        for paged in prepare(client):
            lasting, seen = paged.all(client), list[Any]()
            assert len(lasting) >= len(LASTING), paged
            assert len(set(lasting)) == len(lasting), paged
            marker, passing, number = None, None, 1
            while number == 1 or marker is not None:
                page, marker = paged.page(client, marker)
                seen += page
                if passing is not None:
                    paged.drop(client, passing)
                passing = paged.put(client, number)
                number += 2
                assert number < 80, f"{paged.operation} does not end"
            assert len(set(seen)) == len(seen), (paged, seen)
            assert [each for each in seen if each in lasting] == lasting, (paged, seen)


def test_markers_are_good_after_kill_9_and_after_what_they_name_is_gone(data_dir: Path) -> None:
    left: list[tuple[Paged, str, list[Any]]] = []
    with Service(data_dir, *OPTIONS) as service, WireClient(service.port) as client:
        for paged in prepare(client):
            passing = paged.put(client, 1)
            everything = paged.all(client)
            # The page that ends with what is about to go; where its place is not known, one from the middle.
            size = everything.index(passing) + 1 if passing in everything[:-1] else 3
            _, marker = paged.page(client, None, size)
            assert marker is not None, paged
            paged.drop(client, passing)
            left.append((paged, marker, [each for each in everything[size:] if each in paged.all(client)]))
        service.kill()
    with Service(data_dir, *OPTIONS) as service, WireClient(service.port) as client:
        for paged, marker, rest in left:
            assert rest and paged.all(client, marker) == rest, paged


def test_a_marker_of_another_list_is_refused(client: Any) -> None:
    marker = markers.make("ListAliases", "live")
    with pytest.raises(client.exceptions.InvalidParameterValueException):
        client.list_functions(Marker=marker)
