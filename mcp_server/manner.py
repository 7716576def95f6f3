"""How a request goes upstream for one client: what that client offers, what it adds, how it hears back. Pure.

An upstream learns of a client's capabilities only as far as its settings let it ask for them, so that it never asks
what nobody would answer; everything else of the client's envelope stays here and is built anew.
"""

from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from mcp_types import LOG_LEVEL_META_KEY

Message = dict[str, Any]
Heard = Callable[[Message], Awaitable[Message | None]]
"""Takes what an upstream tells on the way to its answer: progress, log messages. A message with an id asks something
of the client: what is returned for it ({"result": …} or {"error": …}) is its answer, None refuses it."""
ROUNDS = ("inputResponses", "requestState")
"""What a client of 2026-07-28 adds when it makes a call again because the answer asked something of it."""
ASKS = {"sampling/createMessage": "sampling", "elicitation/create": "elicitation", "roots/list": "roots"}
"""What an upstream may ask in mid-call on the older wire, and the capability that allows it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Manner:
    """`older`: the client is asked in mid-call, not by an answer that requires input. `tasks`: it knows tasks."""

    capabilities: Mapping[str, Any] = field(default_factory=dict)
    rounds: Mapping[str, Any] = field(default_factory=dict)
    log_level: str | None = None
    progress: bool = False
    older: bool = True
    tasks: bool = False
    heard: Heard | None = None

    @property
    def form(self) -> str:
        """What a wait is for this client: a task, a stream of the older wire, one that hears progress, or silence."""
        if self.tasks:
            return "task"
        if self.older:
            return "older"
        return "progress" if self.progress else "silent"

    def offered(self, may_ask: Collection[str]) -> Message:
        """The client's capabilities that an upstream may know of."""
        return {name: self.capabilities[name] for name in sorted(may_ask) if name in self.capabilities}

    def meta(self, token: str) -> Message:
        """`_meta` of the request upstream; `token` names its progress."""
        meta: Message = {"progressToken": token} if self.progress else {}
        return meta | ({LOG_LEVEL_META_KEY: self.log_level} if self.log_level else {})


PLAIN = Manner()


def asks(message: Message, capabilities: Mapping[str, Any]) -> bool:
    """Is this something the upstream may say to the client, given what it was told of it?"""
    return "id" not in message or ASKS.get(str(message.get("method"))) in capabilities
