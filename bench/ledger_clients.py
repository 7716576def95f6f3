"""Clients that ask over every wire, for models that answer, are silent, break off or refuse; some leave on the way."""

import random
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import aiohttp
import anyio

ENDS_S = 40.0
"""How long a gateway may take to stop when it is asked to, and a client to hear something."""
ALIASES = {  # how often a provider does what, and which wires may ask it
    "chat-echo": 30, "chat-pause": 15, "chat-cut": 8, "chat-busy": 8, "chat-broken": 4, "responses-echo": 6,
    "responses-pause": 4, "messages-echo": 6, "messages-pause": 4, "messages-cut": 3, "gemini-echo": 6,
    "gemini-pause": 3, "gemini-busy": 3,
}  # fmt: skip
ABORTING = "abort-"
"""Aliases with this before them stop the provider when their client leaves; the others read on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """One request: over which wire, for which alias, and when its client leaves."""

    number: int
    token: str
    path: str
    body: dict[str, Any]
    leaves: str  # never | after_a_word | early
    early_s: float

    @classmethod
    def drawn(cls, number: int, token: str, chance: random.Random) -> "Plan":
        (alias,) = chance.choices(list(ALIASES), list(ALIASES.values()))
        dialect = alias.split("-")[0]
        wire = (
            chance.choice(["chat", "responses", "messages", "gemini"]) if dialect in ("chat", "responses") else dialect
        )
        alias = chance.choice(["", ABORTING]) + alias
        path, body = _asked(wire, alias, f"request {number:06} of many words", chance.random() < 0.7)
        leaves = chance.choices(["never", "after_a_word", "early"], [6, 2, 2])[0]
        early_s = chance.random() * 0.1
        return cls(number=number, token=token, path=path, body=body, leaves=leaves, early_s=early_s)


def _asked(wire: str, alias: str, text: str, stream: bool) -> tuple[str, dict[str, Any]]:
    talk = [{"role": "user", "content": text}]
    match wire:
        case "chat":
            return "/openai/v1/chat/completions", {"model": alias, "messages": talk, "stream": stream}
        case "responses":
            return "/openai/v1/responses", {"model": alias, "input": text, "stream": stream}
        case "messages":
            return "/anthropic/v1/messages", {"model": alias, "messages": talk, "max_tokens": 100, "stream": stream}
    method = "streamGenerateContent?alt=sse" if stream else "generateContent"
    return f"/gemini/v1beta/models/{alias}:{method}", {"contents": [{"role": "user", "parts": [{"text": text}]}]}


async def ask(http: aiohttp.ClientSession, origin: str, plan: Plan) -> bool:
    """One client, whatever becomes of its gateway. Was it heard, or did it leave by itself?"""
    with anyio.move_on_after(ENDS_S) as patience, suppress(aiohttp.ClientError, ConnectionError):
        await _talk(http, origin + plan.path, {"x-api-key": plan.token}, plan)
    return not patience.cancelled_caught


async def _talk(http: aiohttp.ClientSession, url: str, headers: dict[str, str], plan: Plan) -> None:
    with anyio.move_on_after(plan.early_s if plan.leaves == "early" else None):
        async with http.post(url, json=plan.body, headers=headers) as answer:
            if plan.leaves == "after_a_word":
                await answer.content.readany()
                answer.close()
            else:
                await answer.read()
