"""What a fake provider was asked and what it will say, whatever its dialect. The model's name says what it does.

`echo` says the user's last words, `tools` calls the first tool and then says what it brought, `json` answers in JSON,
`pause` is silent before and in the middle, `cut` breaks off in the middle; `busy` is a 429, `rude` a 400, `broken` 500,
`leaky` 401; and all of them repeat the key that they were asked with.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

Json = dict[str, Any]
ARGUMENTS: Json = {"recipient": "alice", "amount": 3}
OBJECT = '{"city": "Bern", "people": 3}'
REFUSALS = {"busy": 429, "rude": 400, "broken": 500, "leaky": 401}
INPUT, CACHED, SAID, THOUGHT = 100, 20, 20, 10
"""Tokens of every answer, in disjoint classes; a dialect adds them up as its provider does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One request. `result` is what the last tool brought, if that was said last."""

    model: str
    text: str
    tools: tuple[str, ...] = ()
    result: str | None = None
    stream: bool = False
    number: int = 0  # of this request at this server: in the answer's id

    @property
    def calls(self) -> str | None:
        """The tool that is called instead of an answer."""
        return self.tools[0] if self.model == "tools" and self.tools and self.result is None else None

    @property
    def words(self) -> list[str]:
        if self.model == "json":
            return [OBJECT[:9], OBJECT[9:]]
        words = (f"It said: {self.result}" if self.result is not None else self.text).split()
        return [word if place == 0 else f" {word}" for place, word in enumerate(words)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Manner:
    """How one dialect is heard and spoken. `pieces` are the events of a stream."""

    name: str
    asked: Callable[[Json, str], Asked]  # body, path
    whole: Callable[[Asked], Json]
    pieces: Callable[[Asked], Iterator[bytes]]
    refusal: Callable[[int, str], Json]
    key: Callable[[Mapping[str, str]], str]  # headers → the key it was asked with
