"""What a turn script says: its shape, which turn it is, and the turn's words with their gaps filled.

Pure. `{name}` in a script is a capture of the prompt, `{name:number}` alone in a text becomes a JSON number,
`{result.a.b}` is a field of the last tool result, `{result}` all of it.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from gateway.wires.neutral import Message, Request, Tool, compact

_GAP = re.compile(r"\{([a-z_][a-z0-9_.]*)(:number)?\}")
_STRICT = ConfigDict(extra="forbid", frozen=True)
THE_END = "The script has no further turn."


class Tokens(BaseModel):
    """What a turn claims to have used."""

    model_config = _STRICT

    input: int = Field(default=0, ge=0)
    cache_read: int = Field(default=0, ge=0)
    cache_write: int = Field(default=0, ge=0)
    output: int = Field(default=0, ge=0)
    reasoning: int = Field(default=0, ge=0)


class ToolUse(BaseModel):
    """A tool to call, by its own name; the client may have put a prefix before it.

    `if_asked` are arguments that are given only when the offered tool has a property of that name.
    """

    model_config = _STRICT

    tool: str
    arguments: dict[str, Any] = Field(default_factory=dict)
    if_asked: dict[str, Any] = Field(default_factory=dict)


class Turn(BaseModel):
    """One answer, or one fault. `otherwise` is said, and nothing called, when a gap of `say` can't be filled."""

    model_config = _STRICT

    think: str = ""
    say: str = ""
    otherwise: str | None = None
    call: tuple[ToolUse, ...] = ()
    usage: Tokens = Tokens()
    delay_ms: int = Field(default=0, ge=0)  # before the first word
    status: int | None = Field(default=None, ge=400, le=599)  # instead of an answer
    cut: bool = False  # after the first word


class Script(BaseModel):
    """A whole play. `capture` are regular expressions with named groups over what the user said."""

    model_config = _STRICT

    version: Literal[1]
    pace_ms: int = Field(default=0, ge=0)  # between two words
    capture: tuple[str, ...] = ()
    turns: tuple[Turn, ...] = Field(min_length=1)

    @field_validator("capture")
    @classmethod
    def _compile(cls, patterns: tuple[str, ...]) -> tuple[str, ...]:
        for pattern in patterns:
            try:
                re.compile(pattern)
            except re.error as error:
                raise ValueError(f"not a regular expression: {error}") from error
        return patterns


@dataclass(frozen=True, slots=True, kw_only=True)
class Lines:
    """A turn with its gaps filled. Calls are (flat name as offered, JSON text)."""

    think: str = ""
    say: str = ""
    calls: tuple[tuple[str, str], ...] = ()


def lines(script: Script, request: Request) -> tuple[Turn, Lines]:
    """The turn whose time it is, and its words."""
    number = sum(message.role == "assistant" for message in request.messages)
    if number >= len(script.turns):
        return Turn(), Lines(say=THE_END)
    turn = script.turns[number]
    known = _captures(script, request.messages) | _result(request.messages)
    say = _fill(turn.say.strip("\n"), known)
    if say is None:
        return turn, Lines(say=_fill(turn.otherwise or "", known) or THE_END)
    calls = []
    for use in turn.call:
        name = offered(use.tool, [tool.name for tool in request.tools])
        if name is None:
            return turn, Lines(say=f"{say}\nI was offered no tool named {use.tool}.".strip())
        calls.append((name, compact(_filled(_arguments(use, request.tool(name)), known))))
    return turn, Lines(think=_fill(turn.think, known) or "", say=say, calls=tuple(calls))


def offered(wanted: str, names: list[str]) -> str | None:
    """The offered name that means a tool: itself, or with any client's prefix (`mcp__x__pay`, `x-pay`, `x_pay`)."""
    if wanted in names:
        return wanted
    endings = [f"{mark}{wanted}" for mark in ("__", "-", "_")]
    return next((name for ending in endings for name in names if name.endswith(ending)), None)


def _arguments(use: ToolUse, tool: Tool) -> dict[str, Any]:
    asked = tool.parameters.get("properties", {})
    return use.arguments | {name: value for name, value in use.if_asked.items() if name in asked}


def _captures(script: Script, messages: tuple[Message, ...]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for message in messages:
        if message.role == "user":
            for pattern in script.capture:
                if match := re.search(pattern, message.text):
                    found |= {name: value for name, value in match.groupdict().items() if value is not None}
    return found


def _result(messages: tuple[Message, ...]) -> dict[str, Any]:
    results = [message.text for message in messages if message.role == "tool"]
    if not results:
        return {}
    return {"result": _object(results[-1]) or results[-1]}


def _object(text: str) -> dict[str, Any] | None:
    """The first JSON object in a text: clients put words of their own around a tool's result."""
    start = text.find("{")
    while start >= 0:
        try:
            value, _ = json.JSONDecoder().raw_decode(text[start:])
        except ValueError:
            start = text.find("{", start + 1)
        else:
            return value if isinstance(value, dict) else None
    return None


def _fill(text: str, known: Mapping[str, Any]) -> str | None:
    """The text with every gap filled, or None when one can't be."""
    gaps = {match[1]: _look(match[1], known) for match in _GAP.finditer(text)}
    if None in gaps.values():
        return None
    return _GAP.sub(lambda match: _plain(gaps[match[1]]), text)


def _filled(value: Any, known: Mapping[str, Any]) -> Any:  # noqa: ANN401 - JSON in, JSON out
    if isinstance(value, dict):
        return {name: _filled(item, known) for name, item in value.items()}
    if isinstance(value, list):
        return [_filled(item, known) for item in value]
    if not isinstance(value, str):
        return value
    whole = _GAP.fullmatch(value)
    if whole and whole[2]:
        return _number(_look(whole[1], known))
    return _fill(value, known) or ""


def _look(path: str, known: Mapping[str, Any]) -> Any:  # noqa: ANN401 - a JSON value
    value: Any = known
    for part in path.split("."):
        if not isinstance(value, Mapping) or part not in value:
            return None
        value = value[part]
    return value


def _number(value: object) -> int | float | None:
    try:
        exact = Decimal(str(value))
    except InvalidOperation:
        return None
    return int(exact) if exact == exact.to_integral_value() else float(exact)


def _plain(value: object) -> str:
    return value if isinstance(value, str) else compact(value)
