"""One tools/call as values: who waits for it, what was asked, how far it has come, what is answered."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

import anyio
from sqlalchemy.engine import Row

from control.identity.principals import Principal
from kit.errors import Invalid
from mcp_server.answers import Result
from mcp_server.manner import PLAIN, Manner


class Report(Protocol):
    """Tells a client how its call stands; `waiting` for a person, or running."""

    async def __call__(self, message: str, *, waiting: bool) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """Who waits for a call. `report` tells a waiting client how it stands, `admitted` raises Unauthorized once the
    session is over, `manner` is how its call goes upstream."""

    principal: Principal
    report: Report
    admitted: Callable[[], Awaitable[object]]
    manner: Manner = PLAIN


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked(Waiting):
    """One tools/call. `fault` is what was wrong with its raw text, `attached` hears of the durable row."""

    name: str
    arguments: dict[str, Any]
    fault: Invalid | None
    attached: Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What the agent reads. `row` names a settled call whose delivery is to be noted, `key` says what is identical."""

    result: Result
    row: str | None = None
    key: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Begun:
    """A call that is attached to its row, which is known if we send it; or that is over before that, by an answer or
    because something `failed`. `taken` is set once somebody follows it to its end."""

    call_id: str = ""
    key: tuple[str, ...] = ()
    row: Row[Any] | None = None
    answer: Answer | None = None
    failed: Exception | None = None
    since: float = field(default_factory=anyio.current_time)
    taken: anyio.Event = field(default_factory=anyio.Event)
