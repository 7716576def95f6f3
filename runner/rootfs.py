"""A file system put together from parts of this machine, as the tar that an image is made of.

The same parts give the same bytes: times are zero, order is by path, owners are what is said here. Programs bring the
shared libraries they are linked with. Knows no image and no engine.
"""

import hashlib
import io
import re
import stat
import subprocess
import tarfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO

_LINKED = re.compile(r"^\s+(?:(\S+) => )?(/\S+) \(0x", re.MULTILINE)
_SYSTEM = ("/lib", "/usr/lib")
"""Where every loader looks; a library from elsewhere goes to the last of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Entry:
    kind: bytes
    mode: int
    owner: int = 0
    target: str = ""
    source: Path | None = None
    content: bytes = b""

    def bytes_of(self) -> bytes:
        return self.source.read_bytes() if self.source else self.content


class Rootfs:
    """Paths are absolute; parents appear by themselves; the last word on a path counts."""

    def __init__(self) -> None:
        self._entries: dict[str, _Entry] = {}

    def folder(self, path: str, *, mode: int = 0o755, owner: int = 0) -> None:
        self._entries[path] = _Entry(kind=tarfile.DIRTYPE, mode=mode, owner=owner)

    def link(self, path: str, target: str) -> None:
        self._entries[path] = _Entry(kind=tarfile.SYMTYPE, mode=0o777, target=target)

    def text(self, path: str, content: str, *, mode: int = 0o644) -> None:
        self._entries[path] = _Entry(kind=tarfile.REGTYPE, mode=mode, content=content.encode())

    def file(self, source: Path, path: str) -> None:
        """Readable for everybody, and executable if it is here."""
        mode = 0o755 if source.stat().st_mode & stat.S_IXUSR else 0o644
        self._entries[path] = _Entry(kind=tarfile.REGTYPE, mode=mode, source=source.resolve())

    def program(self, source: Path, path: str) -> None:
        self.file(source, path)
        self.libraries_of([source])

    def libraries_of(self, linked: Iterable[Path]) -> None:
        for library in _libraries(linked):
            known = str(library).startswith(_SYSTEM)
            self.file(library, str(library) if known else f"/usr/lib/{library.name}")

    def tree(self, source: Path, path: str, *, leave_out: Callable[[Path], bool]) -> None:
        """Everything below `source`, with the libraries of its extension modules."""
        found = [file for file in _files(source, leave_out) if file.is_file()]
        for file in found:
            self.file(file, f"{path}/{file.relative_to(source)}")
        self.libraries_of(file for file in found if ".so" in file.suffixes)

    def sources(self) -> dict[str, Path]:
        """Where the content of each file was taken from; what was written here is not in it."""
        return {path: entry.source for path, entry in sorted(self._entries.items()) if entry.source}

    def digest(self) -> str:
        """Of everything that `write` would write."""
        total = hashlib.sha256()
        for path, entry in self._complete():
            head = f"{path}\0{entry.kind!r}\0{entry.mode:o}\0{entry.owner}\0{entry.target}\0"
            total.update(head.encode() + hashlib.sha256(entry.bytes_of()).digest())
        return total.hexdigest()

    def write(self, target: BinaryIO) -> None:
        with tarfile.open(fileobj=target, mode="w", format=tarfile.GNU_FORMAT) as tar:
            for path, entry in self._complete():
                content = entry.bytes_of()
                info = tarfile.TarInfo(path.removeprefix("/"))
                info.type, info.mode, info.linkname, info.size = entry.kind, entry.mode, entry.target, len(content)
                info.uid = info.gid = entry.owner
                tar.addfile(info, io.BytesIO(content))

    def _complete(self) -> Iterator[tuple[str, _Entry]]:
        """With the folders nobody named, in an order in which each has its parent before it."""
        parents = {str(parent) for path in self._entries for parent in PurePosixPath(path).parents} - {"/"}
        plain = _Entry(kind=tarfile.DIRTYPE, mode=0o755)
        return iter(sorted((dict.fromkeys(parents, plain) | self._entries).items()))


def _files(folder: Path, leave_out: Callable[[Path], bool]) -> Iterator[Path]:
    for path in sorted(folder.iterdir()):
        if leave_out(path):
            continue
        if path.is_dir():
            yield from _files(path, leave_out)
        else:
            yield path


def _libraries(linked: Iterable[Path]) -> set[Path]:
    """What ldd finds, the loader included; a static program has none."""
    paths = [str(path) for path in linked]
    if not paths:
        return set()
    told = subprocess.run(["ldd", *paths], capture_output=True, text=True, check=False)
    return {Path(path) for _, path in _LINKED.findall(told.stdout)}
