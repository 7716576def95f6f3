"""What OpenAI's wires share: how they say no, and the fields that look the same on each.

Pure. Nobody here follows an address: a picture's is https and the provider's to fetch, or it is the data itself.
"""

import json
import re
from collections.abc import Iterable

from gateway.wires.documents import PDF, Document
from gateway.wires.fields import only, required, typed, unsupported
from gateway.wires.neutral import Image, Json, Message, Result, Said, compact, said
from kit.errors import Fault, Invalid, Missing, Refused

ROLES = {"system": "system", "developer": "system", "user": "user", "assistant": "assistant", "tool": "tool"}
SAMPLING = frozenset({"temperature", "top_p", "presence_penalty", "frequency_penalty", "seed", "stop"})
UNNAMED = "answer"
"""What a wanted form of the answer is called where the client's wire has no name for it."""
CHOICES = ("auto", "none", "required")
_DATA = re.compile(r"data:(image/(?:png|jpeg|jpg|gif|webp));base64,", re.ASCII | re.IGNORECASE)
_BASE64 = re.compile(r"[A-Za-z0-9+/=_\s-]*", re.ASCII)
_PDF = f"data:{PDF};base64,"
_FILE = frozenset({"filename", "file_data"})
_DETAILS = ("auto", "low", "high", "original")
_MARK = frozenset({"type", "ttl"})
_SCHEMA = frozenset({"name", "schema", "strict", "description"})
_GRAMMAR = frozenset({"type", "syntax", "definition", "grammar"})
_GRAMMAR_INSIDE = frozenset({"syntax", "definition"})


def error(fault: Fault) -> Json:
    """OpenAI's error object; our sentence is its message, our code its code."""
    return {"error": {"message": said(fault), "type": kind(fault), "param": None, "code": fault.code}}


def kind(fault: Fault) -> str:
    if fault.code == "budget_exceeded":
        return "insufficient_quota"
    if fault.status == 429:
        return "rate_limit_error"
    return "server_error" if fault.status >= 500 else "invalid_request_error"


def refusal(fault: Fault) -> tuple[int, bytes]:
    """Status and body of a request that gets no answer, on Chat and Embeddings: 402 for money is asked once only."""
    kinds: dict[type[Fault], int] = {Invalid: 400, Missing: 404, Refused: 403}
    status = 402 if fault.code == "budget_exceeded" else kinds.get(type(fault), fault.status)
    return status, compact(error(fault)).encode()


def standard_tier(body: Json) -> None:
    """Refuse a tier with a price of its own: what is reserved and billed is the standard price."""
    if typed(body, "service_tier", str) not in (None, "auto", "default"):
        raise Invalid(
            "not_supported_yet",
            "A `service_tier` other than auto or default is not supported: it has another price than the one that is "
            "reserved and billed.",
            "Leave it out.",
        )


def mark(item: Json) -> Json | None:
    """A cache marker, as Anthropic writes it and OpenRouter's and LiteLLM's clients send it."""
    found: Json | None = typed(item, "cache_control", dict)
    if found is not None:
        only(found, _MARK, "in `cache_control`")
        if required(found, "type", str) != "ephemeral" or typed(found, "ttl", str) not in (None, "5m", "1h"):
            raise Invalid("field_invalid", "The field `cache_control` is neither ephemeral for 5m nor for 1h.")
    return found


def image(url: str, detail: str | None, cached: Json | None) -> Image:
    """A picture by its address or as a data URL."""
    if detail not in (None, *_DETAILS):
        raise Invalid("field_invalid", "The `detail` of an image is not known.", f"Known are: {', '.join(_DETAILS)}.")
    if data := _DATA.match(url):
        if not _BASE64.fullmatch(url, data.end()):
            raise Invalid("field_invalid", "The data of an image is not base64.")
        return Image(media_type=data[1].lower(), data=url[data.end() :], detail=detail, cached=cached)
    if url.startswith("https://"):
        return Image(url=url, detail=detail, cached=cached)
    raise unsupported("An image that is neither base64 data of a PNG, JPEG, GIF or WebP nor at an https address")


def document(file: Json, where: str, *beside: str, cached: Json | None = None) -> Document:
    """A PDF as a data URL in `file_data`, with a `filename`; no id and no address. `beside` are its other fields."""
    only(file, _FILE | {*beside}, where)
    name, url = typed(file, "filename", str), required(file, "file_data", str)
    if not url.startswith(_PDF):
        raise unsupported("A file that is not a PDF as a base64 data URL")
    return Document(data=base64_of(url[len(_PDF) :]), name=name, cached=cached)


def base64_of(data: str) -> str:
    if not _BASE64.fullmatch(data):
        raise Invalid("field_invalid", "The data of a file is not base64.")
    return data


def pictures(messages: Iterable[Message]) -> tuple[int, int]:
    """How many pictures and PDFs there are, and the characters of their data."""
    found: list[Image | Document] = []
    for message in messages:
        for part in message.parts:
            if type(part) is Image or type(part) is Document:
                found.append(part)
            elif type(part) is Result:
                found += [inner for inner in part.parts if isinstance(inner, Image)]
    return len(found), sum(len(picture.data or "") for picture in found)


def format_of(wanted: Json | None, where: str) -> Json | None:
    """A wanted form of the answer, checked, as Chat's `response_format`; plain text is none."""
    if wanted is None:
        return None
    name = required(wanted, "type", str)
    if name in ("text", "json_object"):
        only(wanted, frozenset({"type"}), f"in `{where}`")
        return None if name == "text" else wanted
    if name != "json_schema":
        raise unsupported(f"A `{where}` of type {name!r}")
    return {"type": name, "json_schema": schema(wanted, where)}


def schema(wanted: Json, where: str) -> Json:
    """Chat nests the schema's fields, Responses does not; the fields are the same. The schema itself is data."""
    inner: Json = wanted
    if where == "response_format":
        only(wanted, frozenset({"type", "json_schema"}), f"in `{where}`")
        inner = required(wanted, "json_schema", dict)
    only(inner, _SCHEMA | ({"type"} if inner is wanted else set()), f"in `{where}`")
    required(inner, "name", str)
    for name, type_ in (("schema", dict), ("strict", bool), ("description", str)):
        typed(inner, name, type_)
    return {name: inner[name] for name in ("name", "schema", "strict", "description") if inner.get(name) is not None}


def grammar(item: Json) -> None:
    """The `format` of a custom tool: free text, or a grammar that the provider holds the model to."""
    given = typed(item, "format", dict)
    if given is None:
        return
    only(given, _GRAMMAR, "in a tool's `format`")
    if inner := typed(given, "grammar", dict):
        only(inner, _GRAMMAR_INSIDE, "in a tool's grammar")
    for holder in (given, inner or {}):
        texts(holder, "type", *_GRAMMAR_INSIDE)


def chosen(choice: str) -> str:
    if choice not in CHOICES:
        raise Invalid(
            "field_invalid", f"The `tool_choice` {choice!r} is not known.", f"Known are: {', '.join(CHOICES)}."
        )
    return choice


def texts(body: Json, *names: str) -> None:
    """Fields that are texts, if they are there."""
    for name in names:
        if name in body:
            typed(body, name, str)


def text_parts(text: str) -> tuple[Said, ...]:
    """Text as parts; nothing is none."""
    return (Said(text=text),) if text else ()


def sampling(body: Json) -> Json:
    """The sampling fields that were sent, checked."""
    sent = SAMPLING.intersection(body)
    for name in sent:
        typed(body, name, *((str, list) if name == "stop" else (int, float)))
    if isinstance(body.get("stop"), list) and not all(isinstance(word, str) for word in body["stop"]):
        raise Invalid("field_invalid", "The field `stop` is not a text or a list of texts.")
    return {name: body[name] for name in sorted(sent) if body[name] is not None}


def free_text(arguments: str) -> str:
    """What the model put into the one argument of a custom tool; anything else is passed on as it is."""
    try:
        return str(json.loads(arguments)["input"])
    except (ValueError, KeyError, TypeError):
        return arguments
