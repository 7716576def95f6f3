"""What all wires have in common: a request, the deltas of its answer, and how a wire is spoken.

Pure. Tools have flat names here; a wire that groups them in namespaces (Codex on Responses) folds and unfolds them
itself. Nothing of an inbound body is carried that is not named in these values: that is what keeps smuggled fields away
from providers.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from kit.errors import Fault, Invalid
from ledger.prices import Usage

Json = dict[str, Any]
StopReason = Literal["stop", "length", "tool_calls", "content_filter"]
SAMPLING = frozenset({"temperature", "top_p", "presence_penalty", "frequency_penalty", "seed", "stop"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool:
    """One tool the client offers. `name` is flat and unique; `own` and `namespace` are what the client called it."""

    name: str
    own: str
    namespace: str | None = None
    description: str = ""
    parameters: Mapping[str, Any] = field(default_factory=dict)
    strict: bool | None = None
    custom: bool = False  # takes free text, not JSON: offered to the model as one argument `input`


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A tool call in the conversation so far; `arguments` is the JSON text as the model wrote it."""

    id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One turn. A `tool` message answers `call_id`."""

    role: Literal["system", "user", "assistant", "tool"]
    text: str = ""
    calls: tuple[Call, ...] = ()
    call_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What a client asks of a model. `dropped` names what it sent and we do not pass on."""

    alias: str
    messages: tuple[Message, ...]
    tools: tuple[Tool, ...] = ()
    tool_choice: str | None = None  # auto | none | required | the flat name of one tool
    parallel_calls: bool | None = None
    stream: bool = False
    wants_usage: bool = True
    max_output: int | None = None
    sampling: Mapping[str, Any] = field(default_factory=dict)
    effort: str | None = None
    format: Mapping[str, Any] | None = None  # as Chat's response_format
    dropped: tuple[str, ...] = ()

    def tool(self, flat: str) -> Tool:
        """The tool of a flat name; one that was not offered stands for itself."""
        return next((tool for tool in self.tools if tool.name == flat), Tool(name=flat, own=flat))


@dataclass(frozen=True, slots=True, kw_only=True)
class Text:
    """More of what the model says."""

    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Reasoning:
    """More of what the model thinks aloud."""

    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CallBegun:
    """The model begins to call a tool."""

    id: str
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CallArguments:
    """More of the arguments of the call that began last with this id."""

    id: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted:
    """What the provider says the call used; the last one counts."""

    usage: Usage
    upstream_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Stop:
    """The model has ended. A stream without one was cut."""

    reason: StopReason


Delta = Text | Reasoning | CallBegun | CallArguments | Counted | Stop


class Face(Protocol):
    """One answer in the making, in the words of a wire."""

    def begin(self) -> bytes:
        """The first bytes of a stream."""

    def render(self, delta: Delta) -> bytes:
        """The bytes for one delta, possibly none. Also remembers it for `end` and `body`."""

    def end(self) -> bytes:
        """The terminal event of an answer that is complete."""

    def fail(self, fault: Fault) -> bytes:
        """The terminal event of an answer that is not."""

    def body(self) -> bytes:
        """The whole answer as one JSON body."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wire:
    """A dialect: how it asks, how it is answered, how it hears no."""

    name: str
    parse: Callable[[Json], Request]
    face: Callable[[Request, str, int], Face]  # request, attempt id, seconds since 1970
    refusal: Callable[[Fault], tuple[int, bytes]]


def only(body: Json, allowed: frozenset[str]) -> None:
    """Refuse a field that is not on the list, by its name. A field that is null was not sent."""
    for name, value in body.items():
        if name not in allowed and value is not None:
            raise Invalid("field_not_allowed", f"The field `{name}` is not allowed here.", "Leave it out.")


def typed(body: Json, name: str, *kinds: type) -> Any:  # noqa: ANN401 - a JSON value of one of `kinds`
    """A field's value, or None when absent; of another type than `kinds` it is refused by name."""
    value = body.get(name)
    if value is not None and (not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds)):
        raise Invalid("field_invalid", f"The field `{name}` has the wrong type.")
    return value


def required(body: Json, name: str, *kinds: type) -> Any:  # noqa: ANN401 - a JSON value of one of `kinds`
    value = typed(body, name, *kinds)
    if value is None:
        raise Invalid("field_missing", f"The field `{name}` is missing.")
    return value


def objects(body: Json, name: str) -> list[Json]:
    """A field that is a list of objects; absent is empty."""
    value: list[object] = typed(body, name, list) or []
    if not all(isinstance(item, dict) for item in value):
        raise Invalid("field_invalid", f"The field `{name}` is not a list of objects.")
    return [item for item in value if isinstance(item, dict)]


def unsupported(what: str) -> Invalid:
    return Invalid("not_supported_yet", f"{what} is not supported yet.", "Leave it out.")


def sampling(body: Json) -> Json:
    """The sampling fields that were sent, checked."""
    for name in SAMPLING:
        typed(body, name, *((str, list) if name == "stop" else (int, float)))
    return {name: body[name] for name in sorted(SAMPLING) if body.get(name) is not None}


def positive(body: Json, *names: str) -> int | None:
    """The first of some fields that was sent, a whole number above zero."""
    for name in names:
        value: int | None = typed(body, name, int)
        if value is not None:
            if value < 1:
                raise Invalid("field_invalid", f"The field `{name}` must be at least 1.")
            return value
    return None


def sse(payload: object, event: str | None = None) -> bytes:
    """One server-sent event."""
    head = f"event: {event}\n" if event else ""
    return f"{head}data: {compact(payload)}\n\n".encode()


def compact(payload: object) -> str:
    return json.dumps(payload, separators=(",", ":"), ensure_ascii=False)


def said(fault: Fault) -> str:
    """What the agent's user reads."""
    return f"{fault.message} {fault.hint}".strip()
