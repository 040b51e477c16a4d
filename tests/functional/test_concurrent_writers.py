"""Sixteen writers at once on the same thing: each call succeeds or gets AWS's conflict, and what succeeded is there."""

import json
import threading
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from botocore.exceptions import ClientError

from support.functions import PYTHON, ROLE, package
from support.service import Service

WRITERS = 16
SOURCE = "def handler(event, context): return event"
OK = "ok"


@pytest.fixture(scope="module")
def client(service: Service) -> Iterator[Any]:
    """boto3's clients may be shared by threads; each gets a connection of its own."""
    made = service.client(max_pool_connections=WRITERS)
    yield made
    made.close()


@pytest.fixture
def function(client: Any) -> Iterator[str]:
    """An Active function."""
    name = f"writers-{uuid.uuid4().hex[:12]}"
    _create(client, name)
    client.get_waiter("function_active_v2").wait(FunctionName=name, WaiterConfig={"Delay": 0.05, "MaxAttempts": 600})
    yield name
    client.delete_function(FunctionName=name)


def _create(client: Any, name: str) -> None:
    client.create_function(
        FunctionName=name,
        Runtime=PYTHON,
        Role=ROLE,
        Handler="app.handler",
        Code={"ZipFile": package({"app.py": SOURCE})},
    )


def at_once(write: Callable[[int], Any]) -> list[str]:
    """What became of sixteen calls at the same time: OK, or the error's code."""
    together = threading.Barrier(WRITERS)

    def one(number: int) -> str:
        together.wait(timeout=30)
        return outcome(lambda: write(number))

    with ThreadPoolExecutor(WRITERS) as threads:
        return list(threads.map(one, range(WRITERS)))


def outcome(write: Callable[[], Any]) -> str:
    try:
        write()
    except ClientError as error:
        response: Any = error.response  # botocore has no types
        assert response["ResponseMetadata"]["HTTPStatusCode"] < 500, response
        return response["Error"]["Code"]
    return OK


def test_a_name_is_created_once_and_deleted_once(client: Any) -> None:
    name = f"writers-{uuid.uuid4().hex[:12]}"
    assert Counter(at_once(lambda _: _create(client, name))) == {OK: 1, "ResourceConflictException": WRITERS - 1}
    deleted = at_once(lambda _: client.delete_function(FunctionName=name))
    assert Counter(deleted) == {OK: 1, "ResourceNotFoundException": WRITERS - 1}


def test_creating_and_deleting_one_name_leaves_a_whole_function_or_none(client: Any) -> None:
    name = f"writers-{uuid.uuid4().hex[:12]}"

    def write(number: int) -> None:
        if number % 2:
            client.delete_function(FunctionName=name)
        else:
            _create(client, name)

    for _ in range(3):
        outcomes = at_once(write)
        assert set(outcomes[::2]) <= {OK, "ResourceConflictException"}
        assert set(outcomes[1::2]) <= {OK, "ResourceNotFoundException"}
        exists = outcomes[::2].count(OK) - outcomes[1::2].count(OK)
        found = [each["Version"] for each in _versions(client, name)] if exists else []
        assert (exists, found) in ((0, []), (1, ["$LATEST"]))
        if exists:
            client.delete_function(FunctionName=name)
        assert outcome(lambda: client.get_function(FunctionName=name)) == "ResourceNotFoundException"


def test_no_update_of_a_function_that_names_its_revision_is_lost(client: Any, function: str) -> None:
    """Each adds one to a number, if it still is the one it has read: it ends as often increased as was acknowledged."""

    def add_one(_: int) -> None:
        read = client.get_function_configuration(FunctionName=function)
        client.update_function_configuration(
            FunctionName=function, Timeout=read["Timeout"] + 1, RevisionId=read["RevisionId"]
        )

    outcomes = [each for _ in range(3) for each in _after_updates(client, function, lambda: at_once(add_one))]
    assert set(outcomes) <= {OK, "ResourceConflictException", "PreconditionFailedException"}
    assert outcomes.count(OK) >= 3
    assert client.get_function_configuration(FunctionName=function)["Timeout"] == 3 + outcomes.count(OK)


def test_an_update_of_code_or_configuration_is_whole_or_a_conflict(client: Any, function: str) -> None:
    packages = [package({"app.py": f"{SOURCE}, {number}"}) for number in range(WRITERS)]

    def update(number: int) -> None:
        if number % 2:
            client.update_function_configuration(FunctionName=function, Description=f"by {number}")
        else:
            client.update_function_code(FunctionName=function, ZipFile=packages[number])

    before = client.get_function_configuration(FunctionName=function)
    outcomes = _after_updates(client, function, lambda: at_once(update))
    assert set(outcomes) == {OK, "ResourceConflictException"}
    accepted = [number for number, each in enumerate(outcomes) if each == OK]
    after = client.get_function_configuration(FunctionName=function)
    descriptions = {f"by {number}" for number in accepted if number % 2} or {before["Description"]}
    sizes = {len(packages[number]) for number in accepted if not number % 2} or {before["CodeSize"]}
    assert after["Description"] in descriptions
    assert after["CodeSize"] in sizes


def test_publishing_what_has_not_changed_gives_all_the_same_version(client: Any, function: str) -> None:
    versions: list[str] = []
    outcomes = at_once(lambda _: versions.append(client.publish_version(FunctionName=function)["Version"]))
    assert set(outcomes) == {OK}
    assert set(versions) == {"1"}
    assert [each["Version"] for each in _versions(client, function)] == ["$LATEST", "1"]


def test_no_update_of_an_alias_that_names_its_revision_is_lost(client: Any, function: str) -> None:
    client.create_alias(FunctionName=function, Name="live", FunctionVersion="$LATEST", Description="0")

    def add_one(_: int) -> None:
        alias = client.get_alias(FunctionName=function, Name="live")
        client.update_alias(
            FunctionName=function,
            Name="live",
            Description=str(int(alias["Description"]) + 1),
            RevisionId=alias["RevisionId"],
        )

    outcomes = [each for _ in range(4) for each in at_once(add_one)]
    assert set(outcomes) <= {OK, "PreconditionFailedException"}
    assert outcomes.count(OK) >= 4
    assert client.get_alias(FunctionName=function, Name="live")["Description"] == str(outcomes.count(OK))


def test_an_alias_never_points_to_a_version_that_was_deleted(client: Any, function: str) -> None:
    for turn in range(3):
        client.update_function_configuration(FunctionName=function, Description=f"turn {turn}")
        _wait_until_updated(client, function)
        version = client.publish_version(FunctionName=function)["Version"]

        def write(number: int, version: str = version) -> None:
            if number % 2:
                client.delete_function(FunctionName=function, Qualifier=version)
            else:
                client.create_alias(FunctionName=function, Name=f"a{number}", FunctionVersion=version)

        outcomes = at_once(write)
        aliases = [each["Name"] for each in client.list_aliases(FunctionName=function)["Aliases"]]
        exists = version in [each["Version"] for each in _versions(client, function)]
        assert exists == bool(aliases), outcomes
        assert set(outcomes[1::2]) == ({"ResourceConflictException"} if exists else {OK})
        assert set(outcomes[::2]) == ({OK} if exists else {"ResourceNotFoundException"})
        for alias in aliases:
            client.delete_alias(FunctionName=function, Name=alias)


def test_every_statement_that_was_added_is_in_the_policy(client: Any, function: str) -> None:
    def add(number: int) -> None:
        client.add_permission(
            FunctionName=function, StatementId=f"s{number}", Action="lambda:InvokeFunction", Principal="*"
        )

    assert set(at_once(add)) == {OK}
    assert _statements(client, function) == {f"s{number}" for number in range(WRITERS)}
    again = at_once(lambda number: add(0 if number % 2 else WRITERS))
    assert Counter(again) == {OK: 1, "ResourceConflictException": WRITERS - 1}
    removed = at_once(lambda number: client.remove_permission(FunctionName=function, StatementId=f"s{number}"))
    assert set(removed) == {OK}
    assert _statements(client, function) == {f"s{WRITERS}"}


def test_of_statements_that_name_the_policys_revision_one_is_added(client: Any, function: str) -> None:
    statement = {"FunctionName": function, "Action": "lambda:InvokeFunction", "Principal": "*"}
    client.add_permission(StatementId="first", **statement)
    revision = client.get_policy(FunctionName=function)["RevisionId"]
    added = at_once(lambda number: client.add_permission(StatementId=f"s{number}", RevisionId=revision, **statement))
    assert Counter(added) == {OK: 1, "PreconditionFailedException": WRITERS - 1}
    assert len(_statements(client, function)) == 2


def test_every_tag_that_was_set_is_there(client: Any, function: str) -> None:
    arn = client.get_function(FunctionName=function)["Configuration"]["FunctionArn"]
    assert set(at_once(lambda number: client.tag_resource(Resource=arn, Tags={f"k{number}": "v"}))) == {OK}
    assert client.list_tags(Resource=arn)["Tags"] == {f"k{number}": "v" for number in range(WRITERS)}
    more = {f"more{number}": "" for number in range(30)}
    client.tag_resource(Resource=arn, Tags=more)
    outcomes = at_once(lambda number: client.tag_resource(Resource=arn, Tags={f"last{number}": ""}))
    assert Counter(outcomes) == {OK: 4, "InvalidParameterValueException": WRITERS - 4}  # 50 are allowed


def test_layer_versions_have_numbers_of_their_own(client: Any) -> None:
    name = f"writers-{uuid.uuid4().hex[:12]}"
    numbers: list[int] = []

    def publish(number: int) -> None:
        content = {"ZipFile": package({"python/x.py": f"X = {number}"})}
        numbers.append(client.publish_layer_version(LayerName=name, Content=content)["Version"])

    assert set(at_once(publish)) == {OK}
    assert sorted(numbers) == list(range(1, WRITERS + 1))
    assert set(at_once(lambda number: client.delete_layer_version(LayerName=name, VersionNumber=number + 1))) == {OK}
    assert client.list_layer_versions(LayerName=name)["LayerVersions"] == []


def test_what_is_reserved_never_passes_what_there_is(client: Any) -> None:
    names = [f"writers-{uuid.uuid4().hex[:12]}" for _ in range(WRITERS)]
    for name in names:
        _create(client, name)
    try:
        outcomes = at_once(
            lambda number: client.put_function_concurrency(FunctionName=names[number], ReservedConcurrentExecutions=100)
        )
        assert Counter(outcomes) == {OK: 9, "InvalidParameterValueException": WRITERS - 9}  # 100 stay for the others
        assert client.get_account_settings()["AccountLimit"]["UnreservedConcurrentExecutions"] == 100
    finally:
        for name in names:
            client.delete_function(FunctionName=name)
    assert client.get_account_settings()["AccountLimit"]["UnreservedConcurrentExecutions"] == 1000


def _versions(client: Any, name: str) -> list[dict[str, Any]]:
    return client.list_versions_by_function(FunctionName=name)["Versions"]


def _statements(client: Any, name: str) -> set[str]:
    return {each["Sid"] for each in json.loads(client.get_policy(FunctionName=name)["Policy"])["Statement"]}


def _after_updates(client: Any, name: str, write: Callable[[], list[str]]) -> list[str]:
    outcomes = write()
    _wait_until_updated(client, name)
    return outcomes


def _wait_until_updated(client: Any, name: str) -> None:
    polling = {"Delay": 0.05, "MaxAttempts": 600}
    client.get_waiter("function_updated_v2").wait(FunctionName=name, WaiterConfig=polling)
