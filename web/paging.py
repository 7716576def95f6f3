"""Pages of a list: `?cursor=…&limit=…` in, `{items, next}` out.

By keyset: a cursor holds the sort key of the last item that was shown, so what comes or goes meanwhile neither repeats
nor hides anything else. It is opaque to whoever holds it, and grants nothing: every question names its account.
"""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Row
from starlette.requests import Request

from kit import asgi, canonical
from kit.db import Database
from kit.errors import Fault, Invalid
from web import inputs

USUAL, MOST = 50, 200
QUERY = ("cursor", "limit")
"""What every list takes in its address."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Up to `limit` items after the one that `cursor` names; '' begins."""

    cursor: str = ""
    limit: int = USUAL


def wanted(request: Request, usual: int = USUAL) -> Page:
    """What an address asks for; no page is empty and none is longer than 200."""
    limit = max(1, inputs.number(request, "limit", usual, most=MOST))
    return Page(cursor=request.query_params.get("cursor", ""), limit=limit)


async def read(
    db: Database, asked: sa.Select[Any], page: Page, *keys: sa.ColumnElement[str], newest_first: bool = False
) -> tuple[Sequence[Row[Any]], str | None]:
    """The rows of a page in the order of `keys`, which together are unique and are among the columns, and the cursor of
    the next page if there is one."""
    order = [key.desc() for key in keys] if newest_first else keys
    if page.cursor:
        here, after = sa.tuple_(*keys), sa.tuple_(*map(sa.literal, opened(page.cursor, len(keys))))
        asked = asked.where(here < after if newest_first else here > after)
    rows = await db.read(asked.order_by(*order).limit(page.limit + 1))
    shown = rows[: page.limit]
    return shown, sealed([shown[-1]._mapping[key] for key in keys]) if len(rows) > page.limit else None


def sealed(keys: Sequence[str]) -> str:
    """The cursor of what comes after a place in an order."""
    return base64.urlsafe_b64encode(canonical.dumps(list(keys)).encode()).decode().rstrip("=")


def opened(cursor: str, count: int) -> list[str]:
    """The place that a cursor names, by so many keys; refused when the list can't have given it out."""
    try:
        found = canonical.parse(base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True))
    except (ValueError, Invalid) as error:
        raise refused(cursor) from error
    if not (isinstance(found, list) and len(found) == count and all(isinstance(key, str) for key in found)):
        raise refused(cursor)
    return found


def refused(cursor: str) -> Fault:
    """What a cursor that is not ours is answered with."""
    return asgi.refusal(
        400,
        "cursor_invalid",
        f"cursor={cursor[:40]!r} is not one that this list gave out.",
        "Send `next` of the page before as it was, or no cursor for the first page.",
    )
