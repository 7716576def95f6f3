"""What others' schemas make long is done in a thread, one thing at a time, so that nobody else waits for it.

The work itself is bounded where it is done (`schema`, `kit/work`).
"""

from collections.abc import Mapping, Sequence
from typing import Any

import anyio
from anyio.lowlevel import RunVar

from kit import canonical
from kit.errors import Invalid
from kit.work import LITTLE, TooMuch
from mcp_server import schema
from mcp_server.schema import Definition, Unusable

_TURN: RunVar[anyio.CapacityLimiter] = RunVar("turn")


async def complaints(definition: Definition, arguments: Mapping[str, Any]) -> str:
    """What is wrong with the arguments, '' when nothing is. Nearly always that is known at once."""
    try:
        return schema.complaints(definition, arguments, LITTLE)
    except TooMuch:
        return await anyio.to_thread.run_sync(schema.complaints, definition, arguments, limiter=_turn())


class Reader:
    """Of one server's lists. What is as it was in the last one is not read again."""

    def __init__(self, server: str) -> None:
        self._server = server
        self._last: dict[str, Definition | Unusable] = {}  # by digest

    async def read(self, raws: Sequence[Mapping[str, Any]]) -> tuple[dict[str, Definition], dict[str, Unusable]]:
        """By name: the tools that can be checked, and those that cannot."""
        learned: dict[str, Definition] = {}
        left_out: dict[str, Unusable] = {}
        self._last = await anyio.to_thread.run_sync(self._read, raws, limiter=_turn(), abandon_on_cancel=True)
        for each in self._last.values():
            if isinstance(each, Definition):
                learned[each.tool] = each
            else:
                left_out[each.tool] = each
        return learned, left_out

    def _read(self, raws: Sequence[Mapping[str, Any]]) -> dict[str, Definition | Unusable]:
        found: dict[str, Definition | Unusable] = {}
        for number, raw in enumerate(raws):
            digest = _digest(raw)
            found[digest or f"no {number}"] = self._last.get(digest or "") or self._define(raw)
        return found

    def _define(self, raw: Mapping[str, Any]) -> Definition | Unusable:
        try:
            return schema.define(self._server, raw)
        except Invalid as error:
            return schema.unusable(raw, error.message)


def _digest(raw: Mapping[str, Any]) -> str | None:
    """None for what has none."""
    try:
        canonical.check(raw)
        return canonical.digest(raw)
    except (Invalid, ValueError):
        return None


def _turn() -> anyio.CapacityLimiter:
    try:
        return _TURN.get()
    except LookupError:
        _TURN.set(turn := anyio.CapacityLimiter(1))
        return turn
