"""Which service a command speaks to: one of this machine, or the one that the shell's AWS tools speak to."""

import pytest

from lamplighter.cli.options import Misuse
from lamplighter.cli.owner import Access, elsewhere
from lamplighter.neighbours.signing import Keys

SHELL = {
    "AWS_ENDPOINT_URL": "http://there:4566",
    "AWS_REGION": "eu-west-1",
    "AWS_ACCESS_KEY_ID": "LKIA",
    "AWS_SECRET_ACCESS_KEY": "s3cret",
}
THERE = Access("http://there:4566", "eu-west-1", Keys("LKIA", "s3cret"))


@pytest.mark.parametrize(
    ("flags", "more", "found"),
    [
        ({}, {}, THERE),
        ({"data_dir": None, "port": None}, {}, THERE),
        ({"data_dir": "/srv"}, {}, None),
        ({"port": "99"}, {}, None),
        ({}, {"LAMPLIGHTER_DATA_DIR": "/srv"}, None),
        ({}, {"AWS_ACCESS_KEY_ID": ""}, None),
        ({}, {"AWS_ENDPOINT_URL": ""}, None),
        ({"endpoint_url": "https://other"}, {}, THERE._replace(url="https://other")),
        ({"endpoint_url": "https://other/"}, {"LAMPLIGHTER_DATA_DIR": "/"}, THERE._replace(url="https://other")),
        ({"region": "us-west-2"}, {}, THERE._replace(region="us-west-2")),
        ({}, {"AWS_REGION": "", "AWS_DEFAULT_REGION": "us-west-1"}, THERE._replace(region="us-west-1")),
        ({}, {"AWS_SESSION_TOKEN": "t"}, THERE._replace(keys=Keys("LKIA", "s3cret", "t"))),
    ],
)
def test_what_is_nearest_to_the_command_decides(
    flags: dict[str, str | None], more: dict[str, str], found: Access | None
) -> None:
    assert elsewhere(flags, {**SHELL, **more}) == found


@pytest.mark.parametrize(
    ("flags", "variables", "said"),
    [
        ({"endpoint_url": "http://there"}, {}, "takes credentials"),
        ({"endpoint_url": "there:4566"}, SHELL, "no address of a service"),
        ({"endpoint_url": "https://there/path"}, SHELL, "no address of a service"),
        ({"endpoint_url": "http://there", "data_dir": "/srv"}, SHELL, "for a service elsewhere"),
    ],
)
def test_what_cannot_be_meant_is_refused(flags: dict[str, str | None], variables: dict[str, str], said: str) -> None:
    with pytest.raises(Misuse, match=said):
        elsewhere(flags, variables)
