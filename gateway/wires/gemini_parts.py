"""The Gemini wire: the conversation of a request, part by part, with an allowlist for each.

Pure. A part says what it is by its one field. A signature is sealed here, so that it reaches no other provider; seals
of others come back from the client wrapped in base64 once more, all that Google's SDKs take in that place.
"""

import base64
import binascii
import re
from collections import OrderedDict
from collections.abc import Iterator
from itertools import groupby

from msgspec.structs import replace

from gateway.wires import seals
from gateway.wires.documents import PDF, Document
from gateway.wires.fields import objects, required, tool_name, typed, unsupported
from gateway.wires.gemini_spelling import fields, inner, needed
from gateway.wires.neutral import Call, Image, Json, Message, Part, Result, Said, Thought, compact
from gateway.wires.openai import base64_of
from kit.errors import Invalid

DIALECT = "gemini"
PICTURES = ("image/png", "image/jpeg", "image/webp", "image/heic", "image/heif", "image/gif")
ROLES = {"user": "user", "function": "user", "model": "assistant", None: "user"}
_CONTENT = frozenset({"role", "parts"})
_BESIDE = frozenset({"thought", "thoughtSignature", "mediaResolution"})
_KINDS = ("text", "inlineData", "fileData", "functionCall", "functionResponse", "executableCode", "codeExecutionResult")
_PART = _BESIDE | frozenset(_KINDS)
_ALLOWED = {
    "system": ("text",),
    "user": ("text", "inlineData", "functionResponse"),
    "assistant": ("text", "functionCall", "executableCode", "codeExecutionResult"),
}
_CODE = {
    "executableCode": frozenset({"id", "language", "code"}),
    "codeExecutionResult": frozenset({"id", "outcome", "output"}),
}
_BLOB = frozenset({"mimeType", "data", "displayName"})
_CALL = frozenset({"id", "name", "args"})
_RESULT = frozenset({"id", "name", "response", "parts"})
_SHOWN = frozenset({"inlineData"})
_BASE64 = re.compile(r"[A-Za-z0-9+/_\-\s]*={0,2}\s*", re.ASCII)
_STANDARD = str.maketrans("-_", "+/")
_WORDS = ("output", "result", "content", "error")
"""What clients call the one text that a tool's result comes to."""


class Conversation:
    """The messages of a body in order, and the names of what only Google can carry.

    Calls need no id here; where one is missing it is their place, and a result is of the first call of its name that
    has none yet.
    """

    def __init__(self, body: Json) -> None:
        self.foreign: set[str] = set()
        self._waiting: dict[str, OrderedDict[str, None]] = {}  # by name, the ids of calls without a result
        self._names: dict[str, set[str]] = {}  # of these, by id
        self._count = 0
        self.messages = (*self._system(body), *self._turns(body))

    def _system(self, body: Json) -> Iterator[Message]:
        if typed(body, "systemInstruction", dict) is not None:
            content = fields(body["systemInstruction"], _CONTENT, "in `systemInstruction`")
            typed(content, "role", str)
            yield Message(role="system", parts=tuple(self._parts(content, "system")))

    def _turns(self, body: Json) -> Iterator[Message]:
        """What a model said comes back chunk by chunk from clients that listened to a stream: it is one turn."""
        for role, contents in groupby(objects(body, "contents"), key=_role):
            found = (part for content in contents for part in self._parts(content, role))
            parts = _joined(found) if role == "assistant" else found
            for is_result, group in groupby(parts, key=lambda part: isinstance(part, Result)):
                if is_result:
                    yield from (Message(role="tool", parts=(part,)) for part in group)
                else:
                    yield Message(role=role, parts=tuple(group))  # type: ignore[arg-type]

    def _parts(self, content: Json, role: str) -> Iterator[Part]:
        for part in objects(content, "parts"):
            fields(part, _PART, "in a part")
            kinds = [name for name in _KINDS if part.get(name) is not None]
            if len(kinds) > 1:
                raise Invalid("field_invalid", f"A part is one of {', '.join(kinds)}, not both.")
            kind = kinds[0] if kinds else "text"
            if kind not in _ALLOWED[role]:
                raise unsupported(f"A part with `{kind}` in this place")
            if role != "assistant" and (part.get("thought") or part.get("thoughtSignature")):
                raise Invalid("field_invalid", "Only the model thinks.", "Leave `thought` and `thoughtSignature` out.")
            if (resolution := inner(part, "mediaResolution", frozenset({"level"}))) is not None:
                typed(resolution, "level", str)
                self.foreign.add("mediaResolution")
            yield from self._read(part, kind)

    def _read(self, part: Json, kind: str) -> Iterator[Part]:
        signature = sealed(typed(part, "thoughtSignature", str))
        thought = typed(part, "thought", bool)
        match kind:
            case "text":
                yield from _text(typed(part, "text", str) or "", signature, thought=bool(thought))
            case "inlineData":
                yield _document(part) if part[kind].get("mimeType") == PDF else self._image(part)
            case "functionCall":
                yield self._call(needed(part, kind, _CALL), signature)
            case "functionResponse":
                yield self._result(needed(part, kind, _RESULT))
            case _:
                for name in (code := needed(part, kind, _CODE[kind])):
                    typed(code, name, str)
                self.foreign.add(kind)

    def _call(self, call: Json, signature: str | None) -> Call:
        name = tool_name(call)
        self._count += 1
        id_ = typed(call, "id", str) or f"own_{self._count}"
        self._waiting.setdefault(name, OrderedDict())[id_] = None
        self._names.setdefault(id_, set()).add(name)
        return Call(id=id_, name=name, arguments=compact(typed(call, "args", dict) or {}), seal=signature)

    def _result(self, told: Json) -> Result:
        name = tool_name(told)
        id_ = typed(told, "id", str) or next(iter(self._waiting.get(name, ())), f"own_{name}")
        for called in self._names.pop(id_, ()):
            del self._waiting[called][id_]
        text, failed = _said(typed(told, "response", dict) or {})
        shown = [self._image(fields(part, _SHOWN, "in a result's part")) for part in objects(told, "parts")]
        said = (Said(text=text),) if text else ()
        return Result(call_id=id_, parts=(*said, *shown), failed=failed)

    def _image(self, part: Json) -> Image:
        blob = needed(part, "inlineData", _BLOB)
        if typed(blob, "displayName", str):
            self.foreign.add("displayName")
        media_type, data = required(blob, "mimeType", str), required(blob, "data", str)
        if media_type not in PICTURES:
            raise unsupported(f"Data of type {media_type!r}")
        if not _BASE64.fullmatch(data):
            raise Invalid("field_invalid", "The data of an image is not base64.")
        return Image(media_type=media_type, data=data.translate(_STANDARD))


def _role(content: Json) -> str:
    fields(content, _CONTENT, "in `contents`")
    given = typed(content, "role", str)
    if given not in ROLES:
        raise Invalid("field_invalid", f"The role {given!r} is not known.", "Send user or model.")
    return ROLES[given]


def sealed(signature: str | None) -> str | None:
    """A seal for a signature as it came: ours if it is one, else Google's."""
    if not signature:
        return None
    return wrapped(signature) or seals.seal(DIALECT, signature)


def wrapped(signature: str) -> str | None:
    """The seal of ours that a signature holds; None when it is Google's own."""
    try:
        text = base64.b64decode(signature.translate(_STANDARD), validate=True).decode("ascii")
    except (binascii.Error, ValueError):
        return None
    return text if seals.maker(text) else None


def signature_of(sealed_: str) -> str:
    """What a client of this wire keeps for a seal: Google's own signature, or any other in base64."""
    return seals.unseal(DIALECT, sealed_) or base64.b64encode(sealed_.encode()).decode()


def _text(text: str, signature: str | None, *, thought: bool) -> Iterator[Part]:
    """A signature of a text is that of the thought before it."""
    if thought:
        yield Thought(text=text, seal=signature)
        return
    if signature:
        yield Thought(seal=signature, redacted=True)
    if text:
        yield Said(text=text)


def _joined(parts: Iterator[Part]) -> list[Part]:
    """Texts and thoughts come in pieces; a signature closes a thought."""
    found: list[Part] = []
    for part in parts:
        before = found[-1] if found else None
        if isinstance(part, Thought) and not part.redacted and isinstance(before, Thought) and before.seal is None:
            found[-1] = replace(part, text=before.text + part.text)
        elif isinstance(part, Said) and isinstance(before, Said):
            found[-1] = Said(text=before.text + part.text)
        else:
            found.append(part)
    return found


def _document(part: Json) -> Document:
    blob = needed(part, "inlineData", _BLOB)
    data = base64_of(required(blob, "data", str)).translate(_STANDARD)
    return Document(data=data, name=typed(blob, "displayName", str))


def _said(response: Json) -> tuple[str, bool]:
    """The text of a result, and whether it tells of an error; what is more than a text stays JSON."""
    if len(response) == 1:
        (name, value), *_ = response.items()
        if name in _WORDS and isinstance(value, str):
            return value, name == "error"
    return (compact(response) if response else ""), list(response) == ["error"]
