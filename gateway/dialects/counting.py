"""Counting a request's tokens without answering it: Anthropic's `count_tokens` and Gemini's `countTokens`.

Pure. A provider of the same dialect is asked itself: it alone knows its tokenizer. For any other model the answer is
our estimate, one token for three bytes and so many for a picture, which is a little more than English comes to.
"""

from collections.abc import Callable
from dataclasses import dataclass

from gateway.dialects import gemini as google
from gateway.dialects import messages as provider
from gateway.dialects import pictures
from gateway.dialects.dialect import Dialect
from gateway.dialects.events import decoded
from gateway.wires import gemini, messages
from gateway.wires.documents import Document
from gateway.wires.fields import only
from gateway.wires.gemini_face import GEMINI as GEMINI_WIRE
from gateway.wires.gemini_spelling import fields, inner
from gateway.wires.messages_face import MESSAGES as MESSAGES_WIRE
from gateway.wires.neutral import Address, Call, Image, Json, Part, Request, Result, Said, Thought, Wire, compact
from kit.errors import Invalid

BYTES_PER_TOKEN = 3
TURN_TOKENS = 4
"""What a provider puts around a message or a tool."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Counting:
    """One wire's way to ask for a count. `wire` says how it hears no, `dialect` how its provider is addressed."""

    wire: Wire
    dialect: Dialect
    parse: Callable[[Json, Address], Request]
    path: Callable[[str], str]  # model → path below the base URL of a provider of the same dialect
    passed: Callable[[Request, str], Json]  # the body for it
    named: str  # what the count is called

    def answer(self, tokens: int) -> bytes:
        """Our own answer."""
        return compact({self.named: tokens}).encode()

    def counts(self, body: bytes) -> bool:
        """Is this an answer with a count?"""
        try:
            told = decoded(body).get(self.named)
        except ValueError:
            return False
        return type(told) is int and told >= 0


def estimate(request: Request) -> int:
    """Tokens that a request probably has."""
    size = sum(_size(part) for part in request.parts)
    size += sum(len(compact([tool.name, tool.description, dict(tool.parameters)]).encode()) for tool in request.tools)
    framed = len(request.messages) + len(request.tools)
    return -(-size // BYTES_PER_TOKEN) + framed * TURN_TOKENS + request.media * pictures.PROBABLY


def _size(part: Part) -> int:
    """Bytes of text in a part."""
    match part:
        case Said(text=text) | Thought(text=text):
            return len(text.encode())
        case Call(name=name, arguments=arguments):
            return len(name.encode()) + len(arguments.encode())
        case Result(parts=parts):
            return sum(_size(inner) for inner in parts)
        case Image() | Document():
            return 0


def _messages(body: Json, address: Address) -> Request:
    only(body, messages.COUNTED)
    return messages.parse(body, address)


def _gemini(body: Json, address: Address) -> Request:
    """The conversation alone, or a whole request inside."""
    fields(body, frozenset({"contents", "generateContentRequest"}), "here")
    asked = inner(body, "generateContentRequest", gemini.FIELDS)
    if asked is not None and body.get("contents") is not None:
        raise Invalid("field_invalid", "There are two requests.", "Send `contents` or `generateContentRequest`.")
    return gemini.parse(body if asked is None else asked, address)


MESSAGES = Counting(
    wire=MESSAGES_WIRE,
    dialect=provider.MESSAGES,
    parse=_messages,
    path=lambda model: "/v1/messages/count_tokens",
    passed=provider.counted,
    named="input_tokens",
)
GEMINI = Counting(
    wire=GEMINI_WIRE,
    dialect=google.GEMINI,
    parse=_gemini,
    path=google.counting,
    passed=google.counted,
    named="totalTokens",
)
