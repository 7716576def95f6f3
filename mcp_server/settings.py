"""What an admin writes about tool servers: `[servers.<name>]` in preloop.toml. Composed in `preloop/settings`."""

import re
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, HttpUrl, SecretStr, model_validator
from pydantic_core import PydanticCustomError

_DURATION = re.compile(r"(\d+)(ms|s|m|h)?")
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, None: 1.0}


def _seconds(value: object) -> object:
    """'60s', '2m', '500ms' or a number of seconds."""
    if not isinstance(value, str):
        return value
    found = _DURATION.fullmatch(value.strip())
    if found is None:
        raise PydanticCustomError("duration", "a duration looks like 60s, 2m or 500ms")
    return int(found[1]) * _UNITS[found[2]]


Seconds = Annotated[float, BeforeValidator(_seconds), Field(gt=0, le=3600)]
ServerName = Annotated[str, Field(pattern=r"^[a-z0-9]+([_-][a-z0-9]+)*$", max_length=40)]
"""No double underscore: that is what joins server and tool where two servers have a tool of one name."""
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Variable = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]
Pin = Literal["first-use"] | dict[str, Digest]


class UpstreamServer(BaseModel):
    """A tool server: over streamable HTTP at `url`, or a program of this machine that `command` starts and that speaks
    over its standard streams. The address may be private: an admin wrote it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    url: HttpUrl | None = None
    command: tuple[str, ...] = ()
    timeout: Seconds = 60.0
    """Seconds one tool call may take."""
    timeouts: dict[str, Seconds] = {}
    """The same for single tools."""
    headers: dict[str, SecretStr] = {}
    """Sent with every request; credentials belong here, and no agent ever sees them."""
    env: dict[Variable, SecretStr] = {}
    """What a `command` gets of our environment."""
    may_ask: frozenset[Literal["sampling", "roots", "elicitation"]] = frozenset()
    """What it may ask of an agent's client in the middle of a call, where that client offers it."""
    pin: Pin = {}
    """Which definitions are accepted without an admin: `first-use` the first one of each tool that is seen, or by tool
    the digest that `preloop tools list` prints. A changed definition is quarantined either way."""

    @model_validator(mode="after")
    def _one_way_to_it(self) -> "UpstreamServer":
        if (self.url is None) == (not self.command):
            raise PydanticCustomError("url_or_command", "give either a url or a command")
        if self.headers and self.url is None:
            raise PydanticCustomError("headers_without_url", "headers belong to a url; a command takes env")
        if self.env and not self.command:
            raise PydanticCustomError("env_without_command", "env belongs to a command; a url takes headers")
        return self

    def timeout_of(self, tool: str) -> float:
        return self.timeouts.get(tool, self.timeout)


class McpSettings(BaseModel):
    """The tool servers by name; the name is what a flow's `server:` says."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    servers: dict[ServerName, UpstreamServer] = {}
