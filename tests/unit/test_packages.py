"""Zips as users make them, and as attackers do: nothing leaves the folder, nothing is larger than allowed."""

import io
import os
import stat
import struct
import zipfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lamplighter.control import packages
from lamplighter.model.errors import InvalidParameterValueException, RequestEntityTooLargeException
from support.control import zipped


def entry(name: str, mode: int = stat.S_IFREG | 0o644, system: int = 3) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo("placeholder")
    info.filename = info.orig_filename = name
    info.create_system = system
    info.external_attr = mode << 16
    info.compress_type = zipfile.ZIP_DEFLATED
    return info


def made(*entries: tuple[zipfile.ZipInfo, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as package:
        for info, content in entries:
            package.writestr(info, content)
    return buffer.getvalue()


def link(name: str, target: str) -> tuple[zipfile.ZipInfo, bytes]:
    return entry(name, stat.S_IFLNK | 0o777), target.encode()


def unpacked(content: bytes, into: Path) -> Path:
    packages.check(content)
    into.mkdir()
    packages.unpack(io.BytesIO(content), into)
    return into


def refusal(content: bytes, into: Path | None = None) -> str:
    """What both the check and the unpacking say."""
    with pytest.raises(InvalidParameterValueException) as refused:
        packages.check(content)
    if into is not None:
        into.mkdir()
        with pytest.raises(InvalidParameterValueException):
            packages.unpack(io.BytesIO(content), into)
    return refused.value.message or ""


def test_files_and_folders_come_out_as_they_went_in(tmp_path: Path):
    out = unpacked(zipped({"a.py": "1", "deep/er/b.txt": b"\x00\xff", "ä/ö.txt": "ü", "empty": ""}), tmp_path / "out")
    assert (out / "a.py").read_text() == "1"
    assert (out / "deep/er/b.txt").read_bytes() == b"\x00\xff"
    assert (out / "ä/ö.txt").read_text() == "ü"
    assert (out / "empty").read_bytes() == b""


def test_the_size_is_that_of_the_content(tmp_path: Path):
    assert packages.check(zipped({"a": "12345", "b/c": "123"})) == 8


@pytest.mark.parametrize("mode, result", [(0o600, 0o644), (0o755, 0o755), (0o700, 0o755), (0o4777, 0o755), (0, 0o644)])
def test_the_execute_bit_is_kept_and_everybody_may_read(tmp_path: Path, mode: int, result: int):
    umask = os.umask(0o077)
    try:
        out = unpacked(made((entry("folder/bootstrap", stat.S_IFREG | mode), b"#!")), tmp_path / "out")
    finally:
        os.umask(umask)
    assert stat.S_IMODE((out / "folder/bootstrap").stat().st_mode) == result
    assert stat.S_IMODE((out / "folder").stat().st_mode) == 0o755
    assert stat.S_IMODE(out.stat().st_mode) == 0o755


def test_modes_of_a_zip_not_made_on_unix_mean_nothing(tmp_path: Path):
    out = unpacked(made((entry("f", 0o755, system=0), b"")), tmp_path / "out")
    assert stat.S_IMODE((out / "f").stat().st_mode) == 0o644


def test_links_inside_the_package_are_kept(tmp_path: Path):
    out = unpacked(
        made(link("bin/tool", "../lib/tool.js"), (entry("lib/tool.js"), b"x"), link("self", "bin/../lib")),
        tmp_path / "out",
    )
    assert os.readlink(out / "bin/tool") == "../lib/tool.js"
    assert (out / "bin/tool").read_bytes() == b"x"
    assert (out / "self/tool.js").read_bytes() == b"x"


@pytest.mark.parametrize(
    "entries",
    [
        [(entry("../out-of-it"), b"")],
        [(entry("a/../../out-of-it"), b"")],
        [(entry("/etc/out-of-it"), b"")],
        [(entry("a" * 256), b"")],
        [(entry("/".join(["a" * 200] * 20)), b"")],
        [link("l", "/etc/passwd")],
        [link("l", "../x")],
        [link("a/l", "../../x")],
        [link("l", "")],
        [link("a/here", "."), link("l", "a/here/../../x")],
        [link("up", "d/.."), link("d", "."), link("l", "up/../x")],
        [link("l", "target"), (entry("l/through"), b"")],
        [link("l", "target"), (entry("l"), b"")],
        [(entry("f"), b""), (entry("f/below"), b"")],
        [(entry("f/below"), b""), (entry("f"), b"")],
        [(entry("device", stat.S_IFCHR | 0o666), b"")],
        [(entry("disk", stat.S_IFBLK | 0o666), b"")],
        [(entry("pipe", stat.S_IFIFO | 0o666), b"")],
        [(entry("socket", stat.S_IFSOCK | 0o666), b"")],
    ],
)
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_what_leads_out_or_plays_tricks_is_refused_whole(tmp_path: Path, entries: list[tuple[zipfile.ZipInfo, bytes]]):
    content = made((entry("good.py"), b""), *entries)
    assert refusal(content, tmp_path / "out") == packages.UNREADABLE
    assert not (tmp_path / "out-of-it").exists()


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_the_later_of_two_files_of_one_name_wins(tmp_path: Path):
    out = unpacked(made((entry("f"), b"one"), (entry("./f"), b"two")), tmp_path / "out")
    assert (out / "f").read_bytes() == b"two"


def test_links_in_a_circle_lead_nowhere_and_do_no_harm(tmp_path: Path):
    out = unpacked(made((entry("f"), b""), link("a", "b"), link("b", "a")), tmp_path / "out")
    assert os.readlink(out / "a") == "b"


@pytest.mark.parametrize("content", [b"this is not a zip file, just a random string", b"PK\x03\x04", zipped()[:-10]])
def test_what_is_no_zip_is_refused_in_the_recorded_words(content: bytes):
    assert refusal(content) == "Could not unzip uploaded file. Please check your file, then try to upload again."


@pytest.mark.parametrize("content", [b"", made(), made((entry("folder/"), b""))])
def test_an_empty_zip_is_refused(content: bytes):
    assert refusal(content) == "Uploaded file must be a non-empty zip"


def test_a_password_or_an_odd_compression_is_refused():
    encrypted = bytearray(zipped({"a": "x"}))
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        at = encrypted.index(signature) + offset
        encrypted[at] |= 1
    assert refusal(bytes(encrypted)) == packages.UNREADABLE
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_LZMA) as package:
        package.writestr("a", "x" * 100)
    assert refusal(buffer.getvalue()) == packages.UNREADABLE


def test_sizes_are_counted_and_not_believed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(packages, "LARGEST_UNZIPPED", 100_000)
    bomb = zipped({"a": b"\0" * 60_000, "b": b"\0" * 60_000})
    assert refusal(bomb, tmp_path / "two") == "Unzipped size must be smaller than 100000 bytes"
    single = zipped({"a": b"\0" * 200_000})
    assert refusal(single, tmp_path / "one") == "Unzipped size must be smaller than 100000 bytes"
    lying = bytearray(single)
    for signature, offset in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
        at = lying.index(signature) + offset
        lying[at : at + 4] = struct.pack("<I", 10)
    assert refusal(bytes(lying), tmp_path / "lying") == packages.UNREADABLE


def test_a_wrong_checksum_is_refused():
    content = bytearray(made((entry("a"), b"content")))
    at = content.index(b"PK\x01\x02") + 16
    content[at] ^= 1
    assert refusal(bytes(content)) == packages.UNREADABLE


def test_too_many_entries_are_refused(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(packages, "MOST_ENTRIES", 3)
    assert refusal(zipped({str(i): "" for i in range(4)})) == packages.UNREADABLE


def test_the_limit_of_the_zip_itself():
    packages.check_size(52_428_800)
    with pytest.raises(RequestEntityTooLargeException, match="Zipped size must be smaller than 52428800 bytes"):
        packages.check_size(52_428_801)


def _followed(path: Path) -> Path:
    """Where a path leads, also where what it names may yet come to be; loops and ways through files lead nowhere."""
    at, links = Path("/"), 0
    rest = [*path.parts[1:]]
    while rest:
        part = rest.pop(0)
        step = at.parent if part == ".." else at / part
        if step.is_symlink():
            links += 1
            if links > 40:
                return path
            target = Path(os.readlink(step))
            rest = [*(target.parts[1:] if target.is_absolute() else target.parts), *rest]
            step = Path("/") if target.is_absolute() else at
        elif rest and step.is_file():
            return path
        at = step
    return at


def assert_nothing_leads_out(out: Path) -> None:
    """Neither the files nor the links, followed as the kernel does; `out` is alone in its folder."""
    for path in out.rglob("*"):
        assert path.is_symlink() or path.is_file() or path.is_dir()
        assert _followed(path).is_relative_to(os.path.realpath(out))
    assert [path.name for path in out.parent.iterdir()] == ["in"]


@given(data=st.data())
@settings(max_examples=300, deadline=None)
def test_no_damage_to_a_zip_makes_more_than_a_refusal(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject):
    """Whatever is changed in the bytes: it is refused, or what the check lets pass can be unpacked, inside."""
    content = bytearray(
        made(
            (entry("a.py"), b"x" * 50), link("l", "a.py"), (entry("d/"), b""), (entry("d/f"), b"yy"), link("d/m", "..")
        )
    )
    for _ in range(data.draw(st.integers(1, 6))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    try:
        packages.check(bytes(content))
    except InvalidParameterValueException:
        return
    out = tmp_path_factory.mktemp("out") / "in"
    out.mkdir()
    packages.unpack(io.BytesIO(bytes(content)), out)
    assert_nothing_leads_out(out)


names = st.lists(st.sampled_from(["a", "b", "..", ".", "", "c"]), min_size=1, max_size=4).map("/".join)
anything = st.tuples(names, st.sampled_from([stat.S_IFREG, stat.S_IFLNK, stat.S_IFDIR]), names)


@given(parts=st.lists(anything, min_size=1, max_size=6))
@settings(max_examples=300, deadline=None)
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_no_mix_of_names_and_links_gets_out(
    tmp_path_factory: pytest.TempPathFactory, parts: list[tuple[str, int, str]]
):
    content = made(*((entry(name, kind | 0o644), target.encode()) for name, kind, target in parts))
    try:
        packages.check(content)
    except InvalidParameterValueException:
        return
    out = tmp_path_factory.mktemp("out") / "in"
    out.mkdir()
    packages.unpack(io.BytesIO(content), out)
    assert_nothing_leads_out(out)
