"""What an agent left in its work folder, into blobs of ours before the engine forgets it. Read with distrust: regular
files with plain names only, so many of them, so large and so deep; what is left out is said in the execution's log.

The files are kept byte for byte. What pages show of them, the diff and `result.json`, is kept without known secrets.
"""

import hashlib
import secrets
from collections import Counter
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import aclosing
from functools import partial
from typing import Any

import anyio
import anyio.to_thread
from sqlalchemy.engine import Row

from control.executions import results, storage
from control.executions.results import CHANGES, FOLDER, RESULT, Artifact
from control.flows.quantities import size
from kit import canonical, json_schema
from kit.errors import Fault, Invalid, Unavailable
from kit.redaction import Redactor
from runner.agents.script import WORK
from runner.parts import Parts
from runner.tar import Entry, Kind, Malformed, TarReader

ENTRIES = 1000
"""Files and folders of one execution that are looked at."""
BYTES = 100 << 20
"""Of all its files together."""
DEPTH = 16
"""Folders below each other, `artifacts` included."""
LONGEST = 255
"""Characters of a name with its folders."""
CHANGES_BYTES = 4 << 20
AWAY_S, AGAIN_S = 300.0, 0.5
RESULT_BYTES = 1 << 20
FOLDER_PATH, RESULT_PATH = f"{WORK}/{FOLDER}", f"{WORK}/{RESULT}"
CHANGES_PATH = ".preloop/changes.patch"
"""Where the entry script leaves the diff."""
SHARED = "the roles mcp and runner need one data folder, or [storage]"
HANDED_OVER = {FOLDER_PATH: FOLDER, RESULT_PATH: RESULT, CHANGES_PATH: CHANGES}


def left(parts: Parts, execution_id: str, handle: str, path: str) -> AsyncGenerator[bytes]:
    """A tar of one path of a job: out of its engine, or as the job itself handed it over."""
    if parts.engine.gives_files:
        return parts.engine.archive(handle, path)
    return _handed(parts, results.handed_of(execution_id, HANDED_OVER[path]))


async def _handed(parts: Parts, name: str) -> AsyncGenerator[bytes]:
    """An object store that is away is waited for: what is there must not be missing in a verdict."""
    until = anyio.current_time() + AWAY_S
    while True:
        try:
            found = await parts.blobs.open(name)
            break
        except Unavailable:
            if anyio.current_time() >= until:
                raise
        await anyio.sleep(AGAIN_S)
    if found:
        async for piece in found.pieces:
            yield piece


async def forget_handed(parts: Parts, execution_id: str) -> None:
    """Once what is to be kept of it is kept."""
    if not parts.engine.gives_files:
        for name in results.HANDED:
            await parts.blobs.delete(results.handed_of(execution_id, name))


async def keep(parts: Parts, row: Row[Any], handle: str) -> None:
    """Of a job that has ended. May run twice."""
    if row.results_deleted_at is not None:
        return
    gathering = _Gathering(parts, row.id)
    limit = await parts.db.write(lambda tx: storage.full(tx, row.account_id))
    if limit is None:
        await gathering.folder(handle)
        await gathering.file(handle, RESULT_PATH, RESULT, RESULT_BYTES)
        await gathering.file(handle, CHANGES_PATH, CHANGES, CHANGES_BYTES)
    else:
        gathering.notes.append(f"Storage of the plan is full ({size(limit)}): what the agent left is not kept.")
    notes = [*gathering.notes, *gathering.left_out()]
    if gathering.kept or notes:
        await parts.db.write(partial(results.keep, row=row, left=gathering.kept, notes=notes))


async def checked(
    parts: Parts, execution_id: str, handle: str, schema: dict[str, Any]
) -> tuple[str, Sequence[Artifact]]:
    """What is wrong with the result of an agent that ended well, '' when nothing is, and the result to keep; of a job
    that may still run. Without a schema nothing is looked at."""
    if not schema:
        return "", ()
    try:
        content = await read(left(parts, execution_id, handle, RESULT_PATH), RESULT_BYTES)
    except Unavailable:
        raise
    except Fault as refused:
        return f"{RESULT} can't be taken: {refused.message}.", ()
    if content is None:
        unseen = "" if parts.engine.gives_files else f" None was handed over that this runner sees: {SHARED}."
        return f"The agent left no {RESULT}, which its flow asks for.{unseen}", ()
    wrong = await anyio.to_thread.run_sync(_wrong, content, schema)
    return parts.redactor.text(wrong), [await store(parts, execution_id, RESULT, content)]


def _wrong(content: bytes, schema: dict[str, Any]) -> str:
    try:
        value = canonical.parse(content)
    except Invalid as refused:
        return f"{RESULT} can't be read. {refused.message}"
    said = json_schema.complaint(json_schema.validator("the result", schema), value)
    return f"{RESULT} is not what the flow's result_schema says: {said}" if said else ""


async def store(parts: Parts, execution_id: str, name: str, content: bytes) -> Artifact:
    """One that is small and shown, without known secrets."""
    shown = _redacted(parts.redactor, content)
    sha256 = hashlib.sha256(shown).hexdigest()
    await parts.blobs.put(results.file_of(execution_id, sha256), shown)
    return Artifact(name=name, size=len(shown), sha256=sha256)


async def read(packed: AsyncGenerator[bytes], most: int) -> bytes | None:
    """The file of a tar, None when there is none; Invalid when it is no file, or larger than `most` bytes."""
    reader, entry, content = TarReader(), None, bytearray()
    async with aclosing(packed) as chunks:
        async for chunk in chunks:
            for each in _fed(reader, chunk):
                if isinstance(each, bytes):
                    content += each
                elif each.kind is not Kind.FILE:
                    raise Invalid("artifact_refused", "it is no regular file")
                elif each.size > most:
                    raise Invalid("artifact_refused", f"it is larger than {most >> 20} MB")
                else:
                    entry = each
    if entry is not None and len(content) != entry.size:
        raise Invalid("artifact_refused", "it could not be read to its end")
    return bytes(content) if entry else None


def _fed(reader: TarReader, chunk: bytes) -> Iterator[Entry | bytes]:
    try:
        yield from reader.feed(chunk)
    except Malformed as malformed:
        raise Invalid("artifact_refused", f"its tar can't be read: {malformed}") from malformed


def _redacted(redactor: Redactor, content: bytes) -> bytes:
    return redactor.text(content.decode(errors="surrogateescape")).encode(errors="surrogateescape")


class _Enough(Exception):
    """No more of this folder."""


class _Gathering:
    """What one execution left, as far as it was read."""

    def __init__(self, parts: Parts, execution_id: str) -> None:
        self._parts = parts
        self._execution_id = execution_id
        self._draft: _Draft | None = None
        self._entries = ENTRIES
        self._room = BYTES
        self._odd: Counter[str] = Counter()
        self.kept: list[Artifact] = []
        self.notes: list[str] = []

    async def file(self, handle: str, path: str, name: str, most: int) -> None:
        try:
            content = await read(left(self._parts, self._execution_id, handle, path), most)
        except Unavailable:
            raise
        except Fault as refused:
            self.notes.append(f"{name} is not kept: {refused.message}.")
            return
        if content:
            self.kept.append(await store(self._parts, self._execution_id, name, content))
        if name == CHANGES and content and len(content) == most:
            self.notes.append(f"{name} is cut: the first {most >> 20} MB of it are kept.")

    async def folder(self, handle: str) -> None:
        try:
            async with aclosing(left(self._parts, self._execution_id, handle, FOLDER_PATH)) as chunks:
                await self._read(chunks)
        except Unavailable:
            raise
        except (_Enough, Fault) as stopped:
            self.notes.append(f"Not all of {FOLDER}/ is kept: {stopped}.")
        finally:
            if self._draft:
                await self._draft.drop()

    async def _read(self, chunks: AsyncGenerator[bytes]) -> None:
        reader = TarReader()
        async for chunk in chunks:
            for each in _fed(reader, chunk):
                if isinstance(each, bytes):
                    if self._draft:
                        await self._draft.append(each)
                        await self._finish()
                else:
                    await self._begin(each)

    async def _begin(self, entry: Entry) -> None:
        self._entries -= 1
        if self._entries < 0:
            raise _Enough(f"it has more than {ENTRIES} files and folders")
        if entry.size > self._room:  # also of what is left out: it comes all the same
            name = self._parts.redactor.text(entry.name)
            raise _Enough(f"{name} does not fit into {BYTES >> 20} MB together with what came before it")
        self._room -= entry.size
        if why := _odd(entry) or ("a name holds a known secret" if self._secret(entry.name) else ""):
            self._odd[why] += 1
        elif entry.kind is Kind.FILE:
            self._draft = _Draft(self._parts, self._execution_id, entry)
            await self._draft.append(b"")
            await self._finish()

    def _secret(self, name: str) -> bool:
        return self._parts.redactor.text(name) != name

    async def _finish(self) -> None:
        if self._draft and self._draft.whole:
            self.kept.append(await self._draft.keep())
            self._draft = None

    def left_out(self) -> list[str]:
        """What was passed over, by reason."""
        return [f"{count} in {FOLDER}/ left out: {why}." for why, count in sorted(self._odd.items())]


class _Draft:
    """A file that comes in pieces."""

    def __init__(self, parts: Parts, execution_id: str, entry: Entry) -> None:
        self._blobs = parts.blobs
        self._execution_id = execution_id
        self._entry = entry
        self._name = f"{results.folder_of(execution_id)}/{secrets.token_hex(8)}.new"
        self._sum = hashlib.sha256()
        self._size = 0

    @property
    def whole(self) -> bool:
        return self._size == self._entry.size

    async def append(self, piece: bytes) -> None:
        await self._blobs.append(self._name, piece)
        self._sum.update(piece)
        self._size += len(piece)

    async def keep(self) -> Artifact:
        sha256 = self._sum.hexdigest()
        await self._blobs.move(self._name, results.file_of(self._execution_id, sha256))
        return Artifact(name=self._entry.name, size=self._size, sha256=sha256)

    async def drop(self) -> None:
        await self._blobs.delete(self._name)


def _odd(entry: Entry) -> str:
    """Why an entry is left out; '' when it is a folder, or a file below `artifacts/` whose name can be shown as it is:
    nothing in it leads elsewhere, breaks a line or turns its direction."""
    name, parts = entry.name, entry.name.split("/")
    if entry.kind is Kind.OTHER:
        return "a link, a device or a pipe"
    if len(parts) > DEPTH:
        return f"more than {DEPTH} folders deep"
    shown = len(name) <= LONGEST and name.isprintable() and "\\" not in name and "\ufffd" not in name
    inside = parts[0] == FOLDER and not {"", ".", ".."} & set(parts)
    if shown and inside and (len(parts) > 1 or entry.kind is Kind.FOLDER):
        return ""
    return "an odd name"
