"""What all wires have in common: a request, the deltas of its answer, and how a wire is spoken.

Pure. Tools have flat names here; a wire that groups them in namespaces folds and unfolds them itself. Nothing of a body
is carried that is not named in these values: that is what keeps smuggled fields away from providers.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain
from typing import Any, Literal, Protocol

from msgspec import Struct
from msgspec import field as of_struct

from gateway.wires.documents import Document
from kit.errors import Fault
from ledger.prices import Usage

Json = dict[str, Any]
StopReason = Literal["stop", "length", "tool_calls", "content_filter"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """What a request says beside its body: in its path (Gemini), and `anthropic-beta` and `-version` of its headers."""

    alias: str = ""
    stream: bool = False
    headers: Mapping[str, str] = field(default_factory=dict)


HERE = Address()
"""The body says it all."""


class Tool(Struct, frozen=True, kw_only=True):
    """One tool the client offers. `name` is flat and unique; `own` and `namespace` are what the client called it."""

    name: str
    own: str
    namespace: str | None = None
    description: str = ""
    parameters: Mapping[str, Any] = of_struct(default_factory=dict)
    strict: bool | None = None
    cached: Mapping[str, Any] | None = None
    custom: bool = False  # takes free text, not JSON: offered to the model as one argument `input`


class Said(Struct, frozen=True, kw_only=True):
    """A piece of text. `cached` is the client's cache marker, as its wire wrote it (Anthropic's `cache_control`)."""

    text: str
    cached: Mapping[str, Any] | None = None


class Image(Struct, frozen=True, kw_only=True):
    """A picture: base64 `data` of a media type, or a `url` that only the provider may follow. Never both."""

    media_type: str | None = None
    data: str | None = None
    url: str | None = None
    detail: str | None = None
    cached: Mapping[str, Any] | None = None


class Thought(Struct, frozen=True, kw_only=True):
    """What the model thought before. `seal` is the provider's signature or ciphertext: see `seals`."""

    text: str = ""
    seal: str | None = None
    redacted: bool = False  # there is only the seal


class Call(Struct, frozen=True, kw_only=True):
    """A tool call in the conversation so far; `arguments` is the JSON text as the model wrote it."""

    id: str
    name: str
    arguments: str
    seal: str | None = None


class Result(Struct, frozen=True, kw_only=True):
    """What a tool call came to."""

    call_id: str
    parts: tuple[Said | Image, ...] = ()
    failed: bool = False
    cached: Mapping[str, Any] | None = None

    @property
    def text(self) -> str:
        return "".join(part.text for part in self.parts if isinstance(part, Said))


Part = Said | Image | Document | Thought | Call | Result


class Message(Struct, frozen=True, kw_only=True):
    """One turn, its parts in order. A `tool` message holds exactly one Result; only the assistant thinks and calls."""

    role: Literal["system", "user", "assistant", "tool"]
    parts: tuple[Part, ...] = ()

    @property
    def text(self) -> str:
        """All it says, results too."""
        return "".join(part.text for part in self.parts if isinstance(part, Said | Result))

    @property
    def calls(self) -> tuple[Call, ...]:
        return tuple(part for part in self.parts if isinstance(part, Call))

    @property
    def call_id(self) -> str | None:
        """Which call a `tool` message answers."""
        return next((part.call_id for part in self.parts if isinstance(part, Result)), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What a client asks of a model.

    `body` is what it sent, checked field by field to the bottom: what a provider of the same dialect is sent. `dropped`
    names what it sent that a translation does not carry. `media` counts pictures and PDFs, `media_bytes` their base64.
    """

    alias: str
    messages: tuple[Message, ...]
    tools: tuple[Tool, ...] = ()
    tool_choice: str | None = None  # auto | none | required | the flat name of one tool
    parallel_calls: bool | None = None
    stream: bool = False
    wants_usage: bool = True
    max_output: int | None = None
    choices: int = 1
    sampling: Mapping[str, Any] = field(default_factory=dict)
    effort: str | None = None
    thinking: int | None = None  # tokens it may think, where the wire says it so (Anthropic, Gemini)
    format: Mapping[str, Any] | None = None  # as Chat's response_format
    hosted: tuple[str, ...] = ()  # tools that run at the provider
    hosted_most: int | None = None  # uses of them all that the client wants at most
    betas: tuple[str, ...] = ()  # Anthropic's, from a list of those that change no price and reach nothing
    media: int = 0
    media_bytes: int = 0
    dropped: tuple[str, ...] = ()
    body: Json = field(default_factory=dict, compare=False)

    @property
    def parts(self) -> Iterator[Part]:
        """Of all turns, in order; what is in a Result stays there."""
        return chain.from_iterable([message.parts for message in self.messages])

    def tool(self, flat: str) -> Tool:
        """The tool of a flat name; one that was not offered stands for itself."""
        return next((tool for tool in self.tools if tool.name == flat), Tool(name=flat, own=flat))


class Text(Struct, frozen=True, kw_only=True):
    """More of what the model says."""

    text: str


class Reasoning(Struct, frozen=True, kw_only=True):
    """More of what the model thinks aloud, or the seal that closes the thought (then `text` may be empty)."""

    text: str = ""
    seal: str | None = None
    redacted: bool = False


class CallBegun(Struct, frozen=True, kw_only=True):
    """The model begins to call a tool."""

    id: str
    name: str
    seal: str | None = None


class CallArguments(Struct, frozen=True, kw_only=True):
    """More of the arguments of the call that began last with this id."""

    id: str
    text: str


class Counted(Struct, frozen=True, kw_only=True):
    """What the provider says the call used; the last one counts. `cost_nano` is what it says it charges, if it does;
    `hosted` are uses of the tools that ran there, by name; `model` is which one it says answered."""

    usage: Usage
    upstream_id: str | None = None
    cost_nano: int | None = None
    hosted: Mapping[str, int] | None = None
    model: str | None = None


class Stop(Struct, frozen=True, kw_only=True):
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
    """What clients speak: how it asks, how it is answered, how it hears no. `keep_alive` is a pause it tolerates."""

    name: str
    parse: Callable[[Json, Address], Request]
    face: Callable[[Request, str, int], Face]  # request, attempt id, seconds since 1970
    refusal: Callable[[Fault], tuple[int, bytes]]
    keep_alive: bytes = b": keep-alive\n\n"


def sse(payload: object, event: str | None = None) -> bytes:
    """One server-sent event."""
    head = f"event: {event}\n" if event else ""
    return f"{head}data: {compact(payload)}\n\n".encode()


def compact(payload: object) -> str:
    return json.dumps(payload, separators=(",", ":"), ensure_ascii=False)


def said(fault: Fault) -> str:
    """What the agent's user reads."""
    return f"{fault.message} {fault.hint}".strip()
