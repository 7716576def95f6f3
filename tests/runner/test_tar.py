"""What an agent left, as a tar: made of a folder, read piece by piece, refused where it could be read in two ways."""

import io
import os
import tarfile
from pathlib import Path

import pytest

from runner.packing import packed
from runner.tar import Entry, Kind, Malformed, TarReader


def read(packed: bytes, step: int = 7) -> list[tuple[str, Kind, bytes]]:
    """Entries with their content, the stream fed in small pieces."""
    reader, found = TarReader(), list[tuple[str, Kind, bytes]]()
    for start in range(0, len(packed), step):
        for each in reader.feed(packed[start : start + step]):
            if isinstance(each, Entry):
                found.append((each.name, each.kind, b""))
            else:
                name, kind, before = found[-1]
                found[-1] = (name, kind, before + each)
    return found


def tar(*entries: tuple[tarfile.TarInfo, bytes], how: int = tarfile.PAX_FORMAT) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=how) as out:
        for info, content in entries:
            out.addfile(info, io.BytesIO(content))
    return file.getvalue()


def entry(
    name: str, content: bytes = b"", kind: bytes = tarfile.REGTYPE, **more: object
) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.type, info.size = kind, len(content)
    for key, value in more.items():
        setattr(info, key, value)
    return info, content


async def pack(root: Path, path: str) -> bytes:
    return b"".join([piece async for piece in packed(root, path)])


@pytest.mark.parametrize("how", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
@pytest.mark.parametrize("step", [1, 511, 512, 100_000])
def test_every_spelling_of_a_plain_tar_is_read_in_pieces_of_any_size(how: int, step: int) -> None:
    long = "/".join(["folder" * 5] * 4) + "/file"
    made = tar(entry("a", b"x" * 513), entry("empty"), entry("f", kind=tarfile.DIRTYPE), entry(long, b"deep"), how=how)
    assert [(name, kind, len(content)) for name, kind, content in read(made, step)] == [
        ("a", Kind.FILE, 513),
        ("empty", Kind.FILE, 0),
        ("f", Kind.FOLDER, 0),
        (long, Kind.FILE, 4),
    ]


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE])
def test_what_is_no_file_is_told_as_other_and_what_follows_is_read(kind: bytes) -> None:
    made = tar(entry("odd", kind=kind, linkname="/etc/passwd"), entry("a", b"after"))
    assert read(made) == [("odd", Kind.OTHER, b""), ("a", Kind.FILE, b"after")]


def with_field(made: bytes, start: int, value: bytes) -> bytes:
    """The first header with another field, and its sum made right."""
    header = bytearray(made[:512])
    header[start : start + len(value)] = value
    header[148:156] = b"%06o\0 " % (sum(header[:148]) + 256 + sum(header[156:]))
    return bytes(header) + made[512:]


HOSTILE = {
    "no tar": b"x" * 1024,
    "a wrong sum": b"y" + tar(entry("a", b"1"))[1:],
    "a size that is none": with_field(tar(entry("a", b"1")), 124, b"9999999999\0"),
    "a binary size": with_field(tar(entry("a", b"1")), 124, b"\x80" + bytes(10) + b"\1"),
    "a negative size": with_field(tar(entry("a", b"1")), 124, b"-0000000001\0"),
    "a link with content": with_field(tar(entry("a", b"x" * 512)), 156, b"2"),
    "a folder with content": with_field(tar(entry("a", b"x" * 512)), 156, b"5"),
    "an old sparse file": with_field(tar(entry("a", b"x" * 512)), 156, b"S"),
    "a global pax record": with_field(tar(entry("a", b"x" * 512)), 156, b"g"),
    "an unknown type": with_field(tar(entry("a")), 156, b"z"),
    "another size in a pax record": tar(entry("a", b"x" * 512, pax_headers={"size": "0"})),
    "a sparse file by pax records": tar(entry("a", b"x", pax_headers={"GNU.sparse.major": "1"})),
    "a pax record longer than it is": with_field(tar(entry("a", b"99 path=b\n")), 156, b"x"),
    "a pax record of no length": with_field(tar(entry("a", b"0 path=b\n0 path=c\n")), 156, b"x"),
    "a name without an end": with_field(tar(entry("a", b"n" * 70_000)), 156, b"L"),
}


def test_a_size_that_no_header_can_hold_is_told() -> None:
    info, _ = entry("a")
    info.size = 1 << 40
    assert list(TarReader().feed(info.tobuf())) == [Entry(name="a", kind=Kind.FILE, size=1 << 40)]


@pytest.mark.parametrize("made", HOSTILE.values(), ids=HOSTILE)
def test_what_could_be_read_in_two_ways_ends_the_reading(made: bytes) -> None:
    with pytest.raises(Malformed):
        read(made)


def test_nothing_counts_after_the_end() -> None:
    reader = TarReader()
    assert [each for each in reader.feed(bytes(1024) + tar(entry("a", b"1")))] == []
    assert reader.ended


async def test_a_folder_comes_with_its_files_and_no_link_is_followed(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("not yours")
    work = tmp_path / "work"
    (work / "artifacts" / "żółć").mkdir(parents=True)
    (work / "artifacts" / "żółć" / ("n" * 200)).write_bytes(b"x" * 300_000)
    (work / "artifacts" / "link").symlink_to(tmp_path / "secret")
    (work / "artifacts" / "door").symlink_to(tmp_path)
    os.mkfifo(work / "artifacts" / "pipe")
    (work / "artifacts" / "hidden").write_text("h")
    (work / "artifacts" / "hidden").chmod(0)
    found = {name: (kind, content) for name, kind, content in read(await pack(work, "artifacts"), 100_000)}
    assert found.pop("artifacts/hidden", (Kind.FILE, b"h")) == (Kind.FILE, b"h")  # root may read it
    assert found == {
        "artifacts": (Kind.FOLDER, b""),
        "artifacts/żółć": (Kind.FOLDER, b""),
        f"artifacts/żółć/{'n' * 200}": (Kind.FILE, b"x" * 300_000),
        "artifacts/link": (Kind.OTHER, b""),
        "artifacts/door": (Kind.OTHER, b""),
        "artifacts/pipe": (Kind.OTHER, b""),
    }


async def test_no_part_of_the_path_is_a_link(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "file").write_text("not yours")
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "door").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "work" / "sub").mkdir()
    (tmp_path / "work" / "sub" / "file").write_text("mine")
    assert read(await pack(tmp_path / "work", "door/file")) == []
    assert read(await pack(tmp_path / "work", "sub/file")) == [("file", Kind.FILE, b"mine")]
    assert read(await pack(tmp_path / "work", "absent")) == []
    assert read(await pack(tmp_path / "absent", "sub")) == []


async def test_a_tree_without_a_bottom_ends(tmp_path: Path) -> None:
    at = os.open(tmp_path, os.O_RDONLY)
    os.mkdir("d", dir_fd=at)
    for _ in range(500):
        inner = os.open("d", os.O_RDONLY, dir_fd=at)
        os.close(at)
        at = inner
        os.mkdir("d", dir_fd=at)
    os.close(at)
    assert len(read(await pack(tmp_path, "d"), 100_000)) == 65
