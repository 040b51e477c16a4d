"""What every blob store promises."""

import hashlib
from pathlib import Path

import pytest

from lamplighter.store.blobs import UNFINISHED, FileBlobs
from lamplighter.store.contract import BlobDamaged, StoreFailed
from support.control import run


def test_content_comes_back_under_its_digest(tmp_path: Path):
    async def main() -> None:
        blobs = FileBlobs(tmp_path)
        digest = await blobs.put(b"content")
        assert digest == hashlib.sha256(b"content").hexdigest() == await blobs.put(b"content")
        assert await blobs.read(digest) == b"content"
        with blobs.open(digest) as file:
            assert file.read() == b"content"
        assert await FileBlobs(tmp_path).digests() == {digest}
        await blobs.delete(digest)
        await blobs.delete(digest)
        assert await blobs.digests() == frozenset()
        with pytest.raises(FileNotFoundError):
            await blobs.read(digest)

    run(main)


@pytest.mark.parametrize("name", ["../../etc/passwd", "", "A" * 64, "a" * 63, "a" * 65])
def test_what_is_no_digest_names_no_file(tmp_path: Path, name: str):
    async def main() -> None:
        with pytest.raises(FileNotFoundError):
            await FileBlobs(tmp_path).read(name)

    run(main)


def test_a_damaged_blob_is_noticed_and_mended_by_putting_it_again(tmp_path: Path):
    async def main() -> None:
        blobs = FileBlobs(tmp_path)
        digest = await blobs.put(b"content")
        (tmp_path / digest[:2] / digest).write_bytes(b"cOntent")
        with pytest.raises(BlobDamaged):
            await blobs.read(digest)
        await blobs.put(b"content")
        assert await blobs.read(digest) == b"content"

    run(main)


def test_leftovers_of_crashed_writes_are_swept_at_the_start(tmp_path: Path):
    FileBlobs(tmp_path)
    (tmp_path / f"{UNFINISHED}x").write_bytes(b"half")
    FileBlobs(tmp_path)
    assert not list(tmp_path.glob(f"{UNFINISHED}*"))


def test_a_disk_that_fails_is_a_5xx_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    async def main() -> None:
        blobs = FileBlobs(tmp_path)

        def full(_: int) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr("os.fsync", full)
        with pytest.raises(StoreFailed):
            await blobs.put(b"content")
        assert await blobs.digests() == frozenset()

    run(main)
    assert not list(tmp_path.glob(f"{UNFINISHED}*"))
