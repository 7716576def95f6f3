"""What an agent left: the list, each file as a download that no browser opens, and the diff as a page shows it.

An agent wrote every byte of it: files go out as attachments of no type, sandboxed, and never as a part of our pages.
"""

from datetime import datetime
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import quote

import sqlalchemy as sa
from pydantic import BaseModel
from sqlalchemy.engine import Row
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from control.executions import results
from control.identity.principals import Person
from control.tables import artifacts
from kit.blobs import Content
from kit.errors import Missing, Unavailable
from web import paging, reading, shapes
from web.openapi import Operation
from web.paging import Page
from web.parts import parts

LISTED = 100
"""As many as a page has."""
SHOWN = 100_000
"""Characters of a diff that a page has."""
KEPT_FROM_BROWSERS = {
    "content-security-policy": "default-src 'none'; sandbox",
    "x-content-type-options": "nosniff",
    "cross-origin-resource-policy": "same-origin",
}
OCTETS = "application/octet-stream"


class Artifact(BaseModel):
    """A file that an agent left: below `artifacts/`, `result.json`, or `changes.patch`, which git made."""

    name: str
    size: int
    """Bytes."""
    sha256: str
    at: datetime
    url: str


class Left(BaseModel):
    """What a page shows of it."""

    files: list[Artifact]
    more: bool
    diff: str
    cut: bool
    away: str
    """Why the diff can't be read now; '' when it can."""


async def list_artifacts(request: Request, person: Person) -> shapes.Listed[Artifact]:
    return await _listed(request, person, paging.wanted(request))


async def _listed(request: Request, person: Person, page: Page) -> shapes.Listed[Artifact]:
    given = parts(request)
    run = await reading.execution(given.db, person.account_id, request.path_params["id"], given.clock.now())
    its = (artifacts.c.account_id == person.account_id) & (artifacts.c.execution_id == run.id)
    rows, further = await paging.read(given.db, sa.select(artifacts).where(its), page, artifacts.c.name)
    return shapes.Listed(items=[_artifact(row) for row in rows], next=further)


def _artifact(row: Row[Any]) -> Artifact:
    url = f"/api/v1/executions/{row.execution_id}/artifacts/{quote(row.name)}"
    return Artifact(name=row.name, size=row.size, sha256=row.sha256, at=row.at, url=url)


async def get_artifact(request: Request, person: Person) -> Response:
    given, execution_id = parts(request), request.path_params["id"]
    row = await results.one(given.db, person.account_id, execution_id, request.path_params["name"])
    found = await given.blobs.open(results.file_of(row.execution_id, row.sha256))
    if found is None:
        raise Missing(
            "artifact_gone", "Its bytes are not here.", "The runner that kept it has another folder: see [storage]."
        )
    return download(found, PurePosixPath(row.name).name)


def download(content: Content, name: str) -> Response:
    """As an attachment that no browser opens, wherever it is kept."""
    named = f'filename="{name}"' if quote(name) == name else f"filename*=utf-8''{quote(name)}"
    headers = {"content-disposition": f"attachment; {named}", "content-length": str(content.size)}
    return StreamingResponse(content.pieces, media_type=OCTETS, headers=KEPT_FROM_BROWSERS | headers)


async def shown(request: Request, person: Person) -> Left:
    """The first of the files, and the beginning of the diff."""
    listed = await _listed(request, person, Page(limit=LISTED))
    try:
        diff, away = await _diff(request, person), ""
    except Unavailable as fault:
        diff, away = "", fault.message
    more, cut = listed.next is not None, len(diff) > SHOWN
    return Left(files=listed.items, more=more, diff=diff[:SHOWN], cut=cut, away=away)


async def _diff(request: Request, person: Person) -> str:
    given, execution_id = parts(request), request.path_params["id"]
    try:
        found = await results.one(given.db, person.account_id, execution_id, results.CHANGES)
    except Missing:
        return ""
    content = await given.blobs.get(results.file_of(execution_id, found.sha256))
    return (content or b"").decode(errors="replace")


routes: list[Route] = []
operations = [
    Operation(
        method="GET",
        path="/executions/{id}/artifacts",
        summary="What the agent of one execution left",
        run=list_artifacts,
        answers=shapes.Listed[Artifact],
        query=paging.QUERY,
    ),
    Operation(
        method="GET",
        path="/executions/{id}/artifacts/{name:path}",
        summary="One file that an agent left, as an attachment",
        run=get_artifact,
        answers=None,
        files=(OCTETS,),
    ),
]
