"""Reading a request takes as long as it is: whatever is sent many times is looked at once each."""

import time
from collections.abc import Callable

import pytest

from gateway.dialects.params import Conversation
from gateway.wires import chat, gemini, messages, responses
from gateway.wires.neutral import Address, Json

FEW, MANY = 500, 8_000
LINEAR = 3
"""Times as long for each as before; what looks at all for each takes 16 times as long here."""


def _functions(name: str, count: int) -> list[Json]:
    return [{"type": "function", "name": f"{name}{number}"} for number in range(count)]


def tools_that_come_later(count: int) -> None:
    later = {"type": "additional_tools", "tools": _functions("b", count)}
    responses.parse({"model": "a", "tools": _functions("a", count), "input": [later]})


def allowed_tools(count: int) -> None:
    allowed = {"type": "allowed_tools", "mode": "auto", "tools": _functions("b", count)}
    responses.parse({"model": "a", "input": "x", "tools": _functions("a", count), "tool_choice": allowed})


def results_in_another_order(count: int) -> None:
    calls = [{"functionCall": {"name": f"f{number}"}} for number in range(count)]
    results = [{"functionResponse": {"name": f"f{number}", "response": {}}} for number in reversed(range(count))]
    gemini.parse(
        {"contents": [{"role": "model", "parts": calls}, {"role": "user", "parts": results}]}, Address(alias="a")
    )


def results_of_one_name(count: int) -> None:
    calls = [{"functionCall": {"name": "f"}}] * count
    results = [{"functionResponse": {"name": "f", "response": {}}}] * count
    gemini.parse(
        {"contents": [{"role": "model", "parts": calls}, {"role": "user", "parts": results}]}, Address(alias="a")
    )


def calls_of_chat(count: int) -> None:
    """In turns of as many as one may have."""
    calls: list[Json] = [
        {"id": f"c{number}", "type": "function", "function": {"name": "f", "arguments": f'{{"a":{number}}}'}}
        for number in range(count)
    ]
    turns = [
        turn
        for start in range(0, count, 250)
        for turn in ({"role": "assistant", "tool_calls": calls[start : start + 250]}, {"role": "user", "content": "x"})
    ]
    Conversation(chat.parse({"model": "a", "messages": turns}), "gemini")


def calls_of_messages(count: int) -> None:
    calls = [{"type": "tool_use", "id": f"c{number}", "name": "f", "input": {}} for number in range(count)]
    results = [{"type": "tool_result", "tool_use_id": f"c{number}"} for number in range(count)]
    turns = [{"role": "assistant", "content": calls}, {"role": "user", "content": results}]
    messages.parse({"model": "a", "max_tokens": 9, "messages": turns})


@pytest.mark.parametrize(
    "read",
    [
        tools_that_come_later,
        allowed_tools,
        results_in_another_order,
        results_of_one_name,
        calls_of_chat,
        calls_of_messages,
    ],
)
def test_reading_takes_as_long_as_the_request_is(read: Callable[[int], None]) -> None:
    assert _took(read, MANY) < LINEAR * (MANY / FEW) * _took(read, FEW)


def _took(read: Callable[[int], None], count: int) -> float:
    """Seconds of the processor, the best of some."""
    best = float("inf")
    for _ in range(5):
        started = time.process_time()
        read(count)
        best = min(best, time.process_time() - started)
    return best
