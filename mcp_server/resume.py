"""A wait that survives us, on the older wire: event ids that carry the call's durable row, and streams taken up again.

A client whose stream broke asks `GET` with the last id it saw, perhaps of a process that was killed and under a session
of the transport nobody knows any more. The row is all that is needed to go on: it is waited for anew, and its answer
goes out under the JSON-RPC id the call had. Revision 2026-07-28 has no such streams: there the call itself comes again.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

RETRY_MS = 1000
"""How soon a client dials again."""
_NUMBER = re.compile(r"[0-9]{1,9}")
MAX_ID = 400
"""Characters of an event id; a longer one is not given, so such a call is not resumed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trail:
    """What an event id says: the call's row, the id its request had, and the token its progress goes by."""

    call: str
    request_id: int | str
    progress: int | str | None = None
    seen: int = 0
    """The number of the event it was read from."""

    def event_id(self, number: int) -> str | None:
        """`tcl_….3.[7,"p"]`: unique within the call's streams, printable ASCII."""
        text = f"{self.call}.{number}.{json.dumps([self.request_id, self.progress], separators=(',', ':'))}"
        return text if len(text) <= MAX_ID and text.isprintable() else None

    def result(self, result: Mapping[str, Any]) -> str:
        return _compact({"jsonrpc": "2.0", "id": self.request_id, "result": result})

    def report(self, count: int, message: str) -> str | None:
        """A progress notification, where the call asked for such."""
        if self.progress is None:
            return None
        params = {"progressToken": self.progress, "progress": count, "message": message}
        return _compact({"jsonrpc": "2.0", "method": "notifications/progress", "params": params})


def trail(event_id: str) -> Trail | None:
    """What a `Last-Event-ID` names, or None when it is not one of ours."""
    call, _, rest = event_id.partition(".")
    number, _, names = rest.partition(".")
    try:
        request_id, progress = json.loads(names)
    except (ValueError, TypeError):
        return None
    if not call.startswith("tcl_") or not _NUMBER.fullmatch(number) or not _name(request_id):
        return None
    return Trail(call=call, request_id=request_id, progress=progress if _name(progress) else None, seen=int(number))


def event(data: str, event_id: str | None = None) -> bytes:
    """One event on the wire. Empty data primes a stream: it only tells the id and the interval."""
    kind = "event: message\r\n" if data else ""
    return f"{kind}{mark(event_id)}data: {data}\r\n\r\n".encode()


def mark(event_id: str | None) -> str:
    """The lines of an event that make its stream resumable."""
    return f"id: {event_id}\r\nretry: {RETRY_MS}\r\n" if event_id is not None else ""


def _name(value: object) -> bool:
    return isinstance(value, int | str) and not isinstance(value, bool)


def _compact(message: Mapping[str, Any]) -> str:
    return json.dumps(message, ensure_ascii=False, separators=(",", ":"))
