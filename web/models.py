"""Models: the upstreams behind each alias, how they fare, and asking them now."""

from collections.abc import Sequence

from pydantic import BaseModel, TypeAdapter
from starlette.requests import Request
from starlette.routing import Route

from control.identity.principals import Person, Role
from kit.errors import Unavailable
from web import paging
from web.openapi import Operation
from web.parts import Upstreams, parts
from web.shapes import Listed


class Upstream(BaseModel):
    """One model at a provider. `state`: closed, or open while it is left alone after failures, or half_open when the
    next call tries it. Counts are of this process since its start. `probe`: ok, failed or skipped, if it was asked."""

    alias: str
    place: int
    order: int
    weight: int
    provider: str
    model: str
    dialects: list[str]
    priced: bool
    state: str
    answered: int
    failed: int
    last_error: str | None
    last_error_at: str | None
    probe: str | None
    probe_error: str | None


_SHAPE = TypeAdapter(list[Upstream])


async def list_upstreams(request: Request, person: Person) -> Listed[Upstream]:
    """By alias, in the order in which they are written."""
    page = paging.wanted(request)
    found = _listed(_upstreams(request).standings()).items
    if page.cursor:
        here = paging.opened(page.cursor, 2)
        found = [one for one in found if _key(one) > here]
    shown = found[: page.limit]
    return Listed(items=shown, next=paging.sealed(_key(shown[-1])) if len(found) > page.limit else None)


async def check_upstreams(request: Request, person: Person) -> Listed[Upstream]:
    """Each is asked for its list of models, which costs nothing."""
    return _listed(await _upstreams(request).check())


def _key(upstream: Upstream) -> list[str]:
    """Where it stands in the list."""
    return [upstream.alias, f"{upstream.place:04}"]


def _listed(found: Sequence[object]) -> Listed[Upstream]:
    items = _SHAPE.validate_python(found, from_attributes=True)
    return Listed(items=sorted(items, key=_key))


def _upstreams(request: Request) -> Upstreams:
    upstreams = parts(request).upstreams
    if upstreams is None:
        raise Unavailable("no_gateway", "No model gateway runs in this process.", "Ask the process that serves it.")
    return upstreams


operations = [
    Operation(
        method="GET",
        path="/models",
        summary="The upstreams behind each alias, and how they fare",
        run=list_upstreams,
        answers=Listed[Upstream],
        query=paging.QUERY,
        refuses=(503,),
    ),
    Operation(
        method="POST",
        path="/models/check",
        summary="Ask every upstream now whether it answers and takes its key",
        run=check_upstreams,
        answers=Listed[Upstream],
        refuses=(503,),
        role=Role.OPERATOR,
    ),
]
routes: list[Route] = []
"""There is no page of them."""
