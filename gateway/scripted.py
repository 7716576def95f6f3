"""The scripted model: a provider like any other, which plays a YAML turn script for demos, tests and first steps.

Stateless: the turn's number is how often the assistant spoke in the conversation it is sent, captures come from the
prompt, `{result.…}` from the last tool result. What a turn says and calls is worked out in `gateway/play`.
"""

from collections.abc import AsyncGenerator, Mapping
from pathlib import Path

import anyio
import yaml
from pydantic import ValidationError

from gateway.dialects.reasons import reason
from gateway.play import Lines, Script, Turn, lines
from gateway.upstream import Target, UpstreamFailed
from gateway.wires.fields import unsupported
from gateway.wires.neutral import CallArguments, CallBegun, Counted, Delta, Reasoning, Request, Stop, Text
from kit.errors import Invalid
from kit.ids import new_id
from ledger.prices import Usage

__all__ = ["Script", "Scripted", "load"]
CHUNK = 12
"""Characters of arguments in one delta; text goes word by word."""


def load(path: Path) -> Script:
    """Read and check a script; Invalid names the file and the key."""
    try:
        return Script.model_validate(yaml.safe_load(path.read_text()))
    except OSError as error:
        raise Invalid("script_unreadable", f"The script {path} can't be read: {error.strerror}.") from error
    except yaml.YAMLError as error:
        raise Invalid("script_invalid", f"The script {path} is not YAML: {error}.") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise Invalid("script_invalid", f"The script {path} is wrong at `{where}`: {first['msg']}.") from error


class Scripted:
    """Plays scripts, by their names."""

    def __init__(self, scripts: Mapping[str, Script]) -> None:
        self._scripts = scripts

    async def told(self, target: Target, request: Request) -> tuple[tuple[str, ...], int]:
        if request.hosted:
            raise unsupported(f"The provider's own tool {request.hosted[0]!r} at a scripted model")
        return request.dropped, 0

    async def stream(self, target: Target, request: Request) -> AsyncGenerator[Delta, None]:
        script = self._scripts[target.model]
        turn, spoken = lines(script, request)
        await anyio.sleep(turn.delay_ms / 1000)
        if turn.status is not None:
            said = f"The script answers this turn with {turn.status}."
            raise UpstreamFailed(said, answered=turn.status, reason=reason(turn.status, ""))
        for delta in _deltas(spoken):
            await anyio.sleep(script.pace_ms / 1000)
            yield delta
            if turn.cut:
                raise UpstreamFailed("The script cuts this turn's stream.", code="upstream_cut")
        yield Counted(usage=_usage(turn), upstream_id=new_id("scr"), model=target.model)
        yield Stop(reason="tool_calls" if spoken.calls else "stop")


def _deltas(spoken: Lines) -> list[Delta]:
    found: list[Delta] = [Reasoning(text=piece) for piece in _words(spoken.think)]
    found += [Text(text=piece) for piece in _words(spoken.say)]
    for name, arguments in spoken.calls:
        id_ = new_id("call")
        found.append(CallBegun(id=id_, name=name))
        found += [CallArguments(id=id_, text=arguments[at : at + CHUNK]) for at in range(0, len(arguments), CHUNK)]
    return found


def _words(text: str) -> list[str]:
    return [word for word in _kept(text) if word]


def _kept(text: str) -> list[str]:
    """Words with the space after them: joined again they are the text."""
    found, start = [], 0
    for at, character in enumerate(text):
        if character in " \n" and at + 1 < len(text) and text[at + 1] not in " \n":
            found.append(text[start : at + 1])
            start = at + 1
    return [*found, text[start:]]


def _usage(turn: Turn) -> Usage:
    used = turn.usage
    return Usage(
        input=used.input,
        cache_read=used.cache_read,
        cache_write=used.cache_write,
        output=used.output,
        reasoning=used.reasoning,
    )
