"""Assistant messages that follow each other are one turn to Gemini's transform: their calls are counted together, and
two that are alike are told apart, also where they stand in different messages."""

import pytest

from gateway.dialects.params import MOST_CALLS, Conversation
from gateway.wires import chat
from gateway.wires.neutral import Json
from kit.errors import Invalid


def _asked(*turns: Json) -> Conversation:
    return Conversation(chat.parse({"model": "a", "messages": list(turns)}), "gemini")


def _calls(first: int, count: int, arguments: str = "{}") -> Json:
    its = [
        {
            "id": f"c{first + number}",
            "type": "function",
            "function": {"name": f"f{first + number}", "arguments": arguments},
        }
        for number in range(count)
    ]
    return {"role": "assistant", "tool_calls": its}


def _arguments(found: Conversation) -> list[str]:
    return [call["function"]["arguments"] for made in found.messages for call in made.get("tool_calls", ())]


def test_alike_calls_of_two_messages_in_a_row_are_told_apart() -> None:
    call = {"type": "function", "function": {"name": "f", "arguments": "{}"}}
    first, second = ({"role": "assistant", "tool_calls": [call | {"id": id_}]} for id_ in ("a", "b"))
    apart = _arguments(_asked(first, {"role": "assistant", "content": "mid"}, second))
    assert len(set(apart)) == 2
    between = {"role": "tool", "tool_call_id": "a", "content": "1"}
    assert _arguments(_asked(first, between, second)) == ["{}", "{}"]


def test_the_calls_of_messages_in_a_row_count_together() -> None:
    half = MOST_CALLS // 2 + 1
    with pytest.raises(Invalid, match="can't be put to this model"):
        _asked(_calls(0, half), _calls(half, half))
    said = {"role": "user", "content": "go on"}
    assert len(_arguments(_asked(_calls(0, half), said, _calls(half, half)))) == 2 * half


def test_an_argument_that_is_called_as_our_mark_is_refused() -> None:
    with pytest.raises(Invalid, match="preloop again"):
        _asked(_calls(0, 1, '{"preloop again": 7}'))
