"""What the model thought before, in a Chat Completions conversation: the fields that its neighbours made for it.

Pure. `reasoning_content` and `reasoning` are words alone (DeepSeek, OpenRouter). With signatures there are LiteLLM's
`thinking_blocks` and OpenRouter's `reasoning_details`: the same thoughts once more, so one of the fields is read. What
is signed and not sealed by us is of the provider that is spoken to in this dialect.
"""

from collections.abc import Mapping

from gateway.wires.fields import objects, only, required, typed, unsupported
from gateway.wires.neutral import Json, Thought
from gateway.wires.openai import mark, texts
from gateway.wires.seals import maker, seal, unseal

THOUGHTS = ("reasoning_content", "reasoning", "thinking_blocks", "reasoning_details")
_BLOCKS: Mapping[str, frozenset[str]] = {
    "thinking": frozenset({"type", "thinking", "signature", "cache_control", "index"}),
    "redacted_thinking": frozenset({"type", "data", "cache_control", "index"}),
}
_DETAIL = frozenset({"type", "id", "format", "index"})
_DETAILS: Mapping[str, str] = {
    "reasoning.text": "text",
    "reasoning.summary": "summary",
    "reasoning.encrypted": "data",
}
_SIGNED = ("signature", "data")


def thoughts(item: Json) -> tuple[Thought, ...]:
    """Of an assistant's message, in order; the fullest field that it has."""
    if item.get("thinking_blocks"):
        return tuple(map(_block, objects(item, "thinking_blocks")))
    if item.get("reasoning_details"):
        return tuple(map(_detail, objects(item, "reasoning_details")))
    words = item.get("reasoning_content") or item.get("reasoning")
    return (Thought(text=words),) if words else ()


def own(item: Json) -> Json:
    """A message without the signed thoughts of other providers than the one that is spoken to in this dialect."""
    if not (item.get("thinking_blocks") or item.get("reasoning_details")):
        return item
    kept = {name: value for name, value in item.items() if name not in ("thinking_blocks", "reasoning_details")}
    for name in ("thinking_blocks", "reasoning_details"):
        if bare := [block for given in item.get(name) or () if (block := _own(given))]:
            kept[name] = bare
    return kept


def _block(block: Json) -> Thought:
    kind = required(block, "type", str)
    if kind not in _BLOCKS:
        raise unsupported(f"A thinking block of type {kind!r}")
    only(block, _BLOCKS[kind], "in a thinking block")
    mark(block)
    typed(block, "index", int)
    if kind == "redacted_thinking":
        return Thought(seal=_sealed(required(block, "data", str)), redacted=True)
    return Thought(text=required(block, "thinking", str), seal=_sealed(typed(block, "signature", str)))


def _detail(detail: Json) -> Thought:
    kind = required(detail, "type", str)
    if kind not in _DETAILS:
        raise unsupported(f"A reasoning detail of type {kind!r}")
    said = _DETAILS[kind]
    only(detail, _DETAIL | {said} | ({"signature"} if said == "text" else set()), "in `reasoning_details`")
    texts(detail, "id", "format", said)
    typed(detail, "index", int)
    if said == "data":
        return Thought(seal=_sealed(required(detail, "data", str)), redacted=True)
    return Thought(text=detail.get(said) or "", seal=_sealed(typed(detail, "signature", str)))


def _sealed(signature: str | None) -> str | None:
    if not signature or maker(signature):
        return signature or None
    return seal("chat", signature)


def _own(block: Json) -> Json | None:
    """A block with what its own provider signed; None for another's."""
    for name in _SIGNED:
        if maker(block.get(name)) is not None:
            opened = unseal("chat", block[name])
            return block | {name: opened} if opened else None
    return block
