"""Whatever a conversation is like: all of it arrives in order at a provider of another dialect, and only there."""

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.provider import transformed
from gateway.wires.neutral import Call, Image, Json, Message, Part, Request, Result, Said, Thought
from gateway.wires.seals import seal

PNG = "iVBORw0KGgo="
words = st.text(st.characters(min_codepoint=97, max_codepoint=122), min_size=1, max_size=8)
pictures = st.just(Image(media_type="image/png", data=PNG))
spoken = st.lists(words.map(lambda text: Said(text=text)) | pictures, min_size=1, max_size=3)
results = st.tuples(st.lists(words.map(lambda text: Said(text=text)) | pictures, max_size=2), st.booleans())
calls = st.lists(st.tuples(st.sampled_from(["look", "list"]), st.sampled_from(["{}", '{"a":1}'])), max_size=3)
thoughts = st.lists(st.tuples(words, st.sampled_from(["messages", "gemini", "responses"])), max_size=2)
turns = st.tuples(spoken, thoughts, words, calls, st.lists(results, min_size=3, max_size=3))


def _conversation(drawn: list[Any]) -> tuple[Message, ...]:
    """Turns of a user, an assistant that may call tools, and the tools' results."""
    found: list[Message] = []
    for place, (user, thought, said, called, answers) in enumerate(drawn):
        parts: list[Part] = [Thought(text=text, seal=seal(maker, f"sig-{text}")) for text, maker in thought]
        parts.append(Said(text=said))
        parts += [Call(id=f"c{place}{n}", name=name, arguments=text) for n, (name, text) in enumerate(called)]
        found += [Message(role="user", parts=tuple(user)), Message(role="assistant", parts=tuple(parts))]
        for n in range(len(called)):
            inner, failed = answers[n]
            result = Result(call_id=f"c{place}{n}", parts=tuple(inner), failed=failed)
            found.append(Message(role="tool", parts=(result,)))
    return (*found, Message(role="user", parts=(Said(text="go on"),)))


def _texts(value: Any) -> list[str]:
    """Every text of a body's conversation in order; results of Gemini are told apart by their name."""
    if isinstance(value, list):
        return [text for item in value for text in _texts(item)]
    if isinstance(value, str):
        return [value]
    if value.get("type") in ("thinking", "redacted_thinking"):
        return []
    found = [value["text"]] if value.get("text", " ") != " " else []
    if told := value.get("function_response", {}).get("response"):
        found += [text for text in [told.get("content", told.get("error"))] if text]
    for name in ("content", "parts"):
        if value.get(name):
            found += _texts(value[name])
    return found


def _said(conversation: tuple[Message, ...]) -> str:
    parts = [part for message in conversation for part in message.parts]
    return "".join(part.text for part in parts if isinstance(part, Said | Result))


@settings(deadline=None, max_examples=60)
@given(st.lists(turns, min_size=1, max_size=3))
async def test_every_word_reaches_anthropic_in_order_and_no_foreign_signature(drawn: list[Any]) -> None:
    conversation = _conversation(drawn)
    request = Request(alias="default", messages=conversation, effort="high")
    body, dropped = await transformed("messages", request, "claude-sonnet-4-5", 20_000)
    assert "".join(_texts(body["messages"])) == _said(conversation)
    signatures = [block["signature"] for block in _blocks(body) if block["type"] == "thinking"]
    own = [f"sig-{text}" for _, thought, *_ in drawn for text, maker in thought if maker == "messages"]
    assert signatures == (own if "thinking" in body else [])
    assert ("reasoning" in dropped) == (sum(len(turn[1]) for turn in drawn) > len(signatures))


@settings(deadline=None, max_examples=60)
@given(st.lists(turns, min_size=1, max_size=3))
async def test_every_word_reaches_gemini_in_order_and_no_foreign_signature(drawn: list[Any]) -> None:
    conversation = _conversation(drawn)
    request = Request(alias="default", messages=conversation)
    body, _ = await transformed("gemini", request, "gemini-2.5-flash", 900)
    assert "".join(_texts(body["contents"])) == _said(conversation)
    raw = json.dumps(body)
    foreign = [text for _, thought, *_ in drawn for text, maker in thought if maker != "gemini"]
    own = [text for _, thought, *_ in drawn for text, maker in thought if maker == "gemini"]
    assert not [text for text in foreign if text not in own and f'"sig-{text}"' in raw]
    assert "preloop" not in raw


def _blocks(body: Json) -> list[Json]:
    return [block for message in body["messages"] for block in message["content"]]
