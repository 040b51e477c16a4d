"""Packages that no build makes, deployed by boto3 to a running service, as functions and as layers: what leads out of a
package, is no file, or is far larger than it looks. Each is refused in AWS's words, and nothing of it is kept."""

import io
import stat
import struct
import threading
import time
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import pytest
from botocore.exceptions import ClientError

from support.functions import PYTHON, ROLE, deploy_with
from support.service import Service

UNREADABLE = "Could not unzip uploaded file. Please check your file, then try to upload again."
TOO_LARGE = "Unzipped size must be smaller than 262144000 bytes"
MEMORY = 220  # MB that the service may have more at any moment: it reads a bomb in pieces, and unpacks none
FILE, LINK = stat.S_IFREG | 0o644, stat.S_IFLNK | 0o777
GOOD = ("app.py", b"def handler(event, context): return 'unharmed'", FILE)


def packed(*entries: tuple[str, bytes, int]) -> bytes:
    """Of name, content and mode."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as package:
        for name, content, mode in entries:
            info = zipfile.ZipInfo("placeholder")
            info.filename = info.orig_filename = name
            info.create_system, info.compress_type = 3, zipfile.ZIP_DEFLATED
            info.external_attr = mode << 16
            package.writestr(info, content)
    return buffer.getvalue()


def bomb(size: int) -> bytes:
    """One file of zeros."""
    return packed(GOOD, ("zeros", bytes(size), FILE))


def overlapping_bomb(files: int, size: int) -> bytes:
    """Of files that each hold the heads of all those behind, and share one stream of zeros: some kB in all."""
    squeeze = zlib.compressobj(9, zlib.DEFLATED, -15)
    tail, content = squeeze.compress(bytes(size)) + squeeze.flush(), bytes(size)
    placed: list[tuple[bytes, bytes, int]] = []  # name, its local head, bytes from its head to the end of the stream
    for number in range(files):
        name = b"f%d" % number
        numbers = (zlib.crc32(content), len(tail), len(content))
        head = struct.pack("<4s5H3I2H", b"PK\x03\x04", 20, 0, 8, 0, 0x21, *numbers, len(name), 0) + name
        placed.append((name, head, len(head) + len(tail)))
        content = head + content
        tail = (
            struct.pack("<BHH", 0, len(head), len(head) ^ 0xFFFF) + head + tail
        )  # a block that is stored, not squeezed
    tail = tail[5:]  # the last head needs no quotation
    central = b""
    for name, head, length in placed:
        more = struct.pack("<3H2I", 0, 0, 0, FILE << 16, len(tail) - length)
        central += struct.pack("<4sH", b"PK\x01\x02", 0x314) + head[4:30] + more + name
    end = struct.pack("<4s4H2IH", b"PK\x05\x06", 0, 0, files, files, len(central), len(tail), 0)
    return tail + central + end


HOSTILE: dict[str, Callable[[], bytes]] = {
    "a path upwards": lambda: packed(GOOD, ("../../../../../../tmp/lamplighter-escaped", b"", FILE)),
    "a path upwards behind a folder": lambda: packed(GOOD, ("a/../../escaped", b"", FILE)),
    "an absolute path": lambda: packed(GOOD, ("/tmp/lamplighter-escaped", b"", FILE)),
    "a link to the host": lambda: packed(GOOD, ("link", b"/etc/shadow", LINK)),
    "a link upwards": lambda: packed(GOOD, ("link", b"../../credentials.json", LINK)),
    "a file through a link": lambda: packed(GOOD, ("out", b"/tmp", LINK), ("out/lamplighter-escaped", b"", FILE)),
    "a link through a link": lambda: packed(GOOD, ("here", b".", LINK), ("link", b"here/../../lamplighter.db", LINK)),
    "a disk": lambda: packed(GOOD, ("disk", b"", stat.S_IFBLK | 0o666)),
    "a character device": lambda: packed(GOOD, ("zero", b"", stat.S_IFCHR | 0o666)),
    "a pipe": lambda: packed(GOOD, ("pipe", b"", stat.S_IFIFO | 0o666)),
    "a socket": lambda: packed(GOOD, ("socket", b"", stat.S_IFSOCK | 0o666)),
    "a bomb": lambda: bomb(262_144_001),
    "a bomb of many": lambda: packed(GOOD, *[(f"zeros{n}", bytes(30_000_000), FILE) for n in range(9)]),
    "a bomb that overlaps itself": lambda: overlapping_bomb(60, 5_000_000),
}
# Newer Pythons see that it overlaps before they read it.
WORDS = {"a bomb": (TOO_LARGE,), "a bomb of many": (TOO_LARGE,), "a bomb that overlaps itself": (TOO_LARGE, UNREADABLE)}


class Watched:
    """The service's resident memory at its largest, in MB, while a block runs."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._over = threading.Event()
        self.largest = 0

    def now(self) -> int:
        for line in Path(f"/proc/{self._pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) // 1024
        raise AssertionError("the service is gone")

    def __enter__(self) -> "Watched":
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._over.wait(0.01):
            self.largest = max(self.largest, self.now())


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Service, Any, str]]:
    """A service of these tests' own, a client, and a function that is to stay as it is."""
    with Service(tmp_path_factory.mktemp("hostile") / "data") as service:
        client = service.client()
        yield service, client, deploy_with(client, GOOD[1].decode())
        client.close()


def kept(service: Service) -> set[str]:
    """What there is of packages, wherever it is."""
    parts = [service.data_dir / "blobs", service.data_dir / "code"]
    return {str(path) for part in parts for path in part.rglob("*")} | {
        str(path) for path in service.data_dir.iterdir()
    }


def refusal(call: Callable[..., Any], **members: Any) -> tuple[int, str, str]:
    with pytest.raises(ClientError) as refused:
        call(**members)
    answer = cast("dict[str, Any]", refused.value.response)
    return answer["ResponseMetadata"]["HTTPStatusCode"], answer["Error"]["Code"], answer["Error"]["Message"]


@pytest.mark.parametrize("what", HOSTILE)
def test_it_is_refused_as_function_and_as_layer_and_nothing_of_it_is_kept(
    own: tuple[Service, Any, str], what: str
) -> None:
    service, client, name = own
    content = HOSTILE[what]()
    before, watched = kept(service), Watched(service.process.pid)
    least = watched.now()
    members = {"Runtime": PYTHON, "Role": ROLE, "Handler": "app.handler", "Code": {"ZipFile": content}}
    with watched:
        for told in (
            refusal(client.create_function, FunctionName="hostile", **members),
            refusal(client.update_function_code, FunctionName=name, ZipFile=content),
            refusal(client.publish_layer_version, LayerName="hostile", Content={"ZipFile": content}),
        ):
            assert told[:2] == (400, "InvalidParameterValueException")
            assert told[2] in WORDS.get(what, (UNREADABLE,))
    assert watched.largest < least + MEMORY
    deadline = time.monotonic() + 10
    while kept(service) != before:  # what a request kept until it was refused goes behind its answer
        assert time.monotonic() < deadline, kept(service) - before
        time.sleep(0.05)
    assert not Path("/tmp/lamplighter-escaped").exists()
    assert refusal(client.get_function, FunctionName="hostile")[1] == "ResourceNotFoundException"
    assert client.list_layers()["Layers"] == []
    assert client.invoke(FunctionName=name)["Payload"].read() == b'"unharmed"'


def test_links_within_a_package_lead_where_they_would_inside_and_no_file_has_another_users_rights(
    own: tuple[Service, Any, str],
) -> None:
    _, client, _ = own
    source = b"""
import os, stat
def handler(event, context):
    found = os.stat("/var/task/tool")
    return [open("/var/task/link").read(), stat.S_IMODE(found.st_mode), os.path.realpath("/var/task/link")]
"""
    content = packed(
        ("app.py", source, FILE),
        ("data/file", b"content", stat.S_IFREG | 0o600),
        ("link", b"data/../data/file", LINK),
        ("round", b"round", LINK),
        ("tool", b"#!/bin/sh\n", stat.S_IFREG | 0o6777),
    )
    name = deploy_with(client, "", Code={"ZipFile": content})
    answer = client.invoke(FunctionName=name)["Payload"].read()
    assert answer == b'["content", 493, "/var/task/data/file"]', "0755, without setuid and setgid"
