"""The URLs of packages: good for ten minutes, for anybody, and for nothing else."""

from pathlib import Path
from urllib.parse import urlsplit

import pytest

from lamplighter.api.downloads import Downloads
from lamplighter.api.http import Request, Response
from lamplighter.store.blobs import FileBlobs
from support.control import ManualClock, run

SECRET = b"0123456789abcdef" * 2


async def fetched(downloads: Downloads, url: str, method: str = "GET") -> Response:
    parts = urlsplit(url)
    return await downloads(Request(method, parts.path, parts.query, {}, b""))


def test_a_package_is_downloaded_without_credentials_for_ten_minutes(tmp_path: Path):
    async def main() -> None:
        clock, blobs = ManualClock(), FileBlobs(tmp_path)
        downloads = Downloads(SECRET, blobs, clock)
        url = downloads.url("http://127.0.0.1:4566", await blobs.put(b"zip"))
        answer = await fetched(downloads, url)
        assert (answer.status, answer.body) == (200, b"zip")
        assert ("Content-Type", "application/zip") in answer.headers
        clock.time += 599
        assert (await fetched(Downloads(SECRET, blobs, clock), url)).status == 200
        clock.time += 2
        expired = await fetched(downloads, url)
        assert expired.status == 403
        assert b"<Code>AccessDenied</Code><Message>Request has expired</Message>" in expired.body

    run(main)


@pytest.mark.parametrize(
    "change",
    [
        lambda url: url.replace("Expires=1", "Expires=2"),
        lambda url: url.replace("Expires=", "Expires=x"),
        lambda url: url[:-1] + ("0" if url[-1] != "0" else "1"),
        lambda url: url.split("?")[0],
        lambda url: url.split("&")[0],
        lambda url: url.replace("packages/", "packages/../packages/"),
        lambda url: url.replace("packages/", "packages/0")[:-1],
        lambda url: url + "&Signature=%C3%A9%ED%A0%80",
    ],
)
def test_a_forged_url_is_refused(tmp_path: Path, change):
    async def main() -> None:
        blobs = FileBlobs(tmp_path)
        downloads = Downloads(SECRET, blobs, ManualClock())
        url = change(downloads.url("http://localhost", await blobs.put(b"zip")))
        answer = await fetched(downloads, url)
        assert answer.status == 403
        assert b"<Code>SignatureDoesNotMatch</Code>" in answer.body

    run(main)


def test_another_secret_signs_nothing(tmp_path: Path):
    async def main() -> None:
        blobs = FileBlobs(tmp_path)
        url = Downloads(b"x" * 32, blobs, ManualClock()).url("http://localhost", await blobs.put(b"zip"))
        assert (await fetched(Downloads(SECRET, blobs, ManualClock()), url)).status == 403

    run(main)


def test_a_package_that_is_gone_or_damaged_says_so(tmp_path: Path):
    async def main() -> None:
        blobs = FileBlobs(tmp_path)
        downloads = Downloads(SECRET, blobs, ManualClock())
        digest = await blobs.put(b"zip")
        url = downloads.url("http://localhost", digest)
        (tmp_path / digest[:2] / digest).write_bytes(b"z")
        assert (await fetched(downloads, url)).status == 500
        await blobs.delete(digest)
        assert (await fetched(downloads, url)).status == 404
        assert (await fetched(downloads, url, "PUT")).status == 405

    run(main)
