"""What stands around every page: the places of the sidebar that somebody may open, and how many requests wait.

A place is shown where its page exists and the person's role opens it; both are asked of the routes, so that no list of
ours can promise what a page refuses.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import sqlalchemy as sa
from starlette.requests import Request

from control.identity.principals import Person, Role
from control.tables import approvals
from kit.db import Database

MOST = 99
"""Waiting requests that are counted; a sidebar that says 99+ says enough."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """An entry of the sidebar; `key` is what follows `g`, `current` what `aria-current` says, or ''."""

    href: str
    label: str
    key: str
    under: bool = False
    current: str = ""


PLACES = (
    Place(href="/", label="Dashboard", key="d"),
    Place(href="/flows", label="Flows", key="f"),
    Place(href="/executions", label="Executions", key="e", under=True),
    Place(href="/approvals", label="Approvals", key="a"),
    Place(href="/tools", label="Tools", key="t"),
    Place(href="/spend", label="Spend", key="s"),
    Place(href="/sessions", label="Sessions", key="r"),
    Place(href="/audit", label="Audit", key="u"),
    Place(href="/settings", label="Settings", key=","),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    places: Sequence[Place] = ()
    waiting: int = 0

    @property
    def count(self) -> str:
        """Of waiting requests, as it is shown: '', '3', '99+'."""
        return f"{MOST}+" if self.waiting > MOST else str(self.waiting or "")


def around(request: Request, person: Person | None) -> Frame:
    """The frame of a page for somebody; nothing for who is not signed in."""
    if person is None:
        return Frame()
    opened_by: Mapping[str, Role] = request.app.state.opened_by
    path = request.url.path
    places = [
        Place(href=its.href, label=its.label, key=its.key, under=its.under, current=_current(its.href, path))
        for its in PLACES
        if its.href in opened_by and person.may(opened_by[its.href])
    ]
    return Frame(places=places, waiting=getattr(request.state, "waiting", 0))


def _current(href: str, path: str) -> str:
    if path == href:
        return "page"
    return "true" if href != "/" and path.startswith(href + "/") else ""


async def count_waiting(db: Database, account_id: str) -> int:
    """Requests that wait for a person, at most one more than are shown; an index holds the pending ones."""
    pending = (approvals.c.account_id == account_id) & (approvals.c.status == "pending")
    some = sa.select(approvals.c.id).where(pending).limit(MOST + 1).subquery()
    return int((await db.read(sa.select(sa.func.count()).select_from(some)))[0][0])
