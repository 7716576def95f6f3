"""What an admin writes about tool servers: `[servers.<name>]` in preloop.toml. Composed in `preloop/settings`."""

import re
from typing import Annotated, Any

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


class UpstreamServer(BaseModel):
    """A tool server over streamable HTTP. Its address may be private: an admin wrote it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    url: HttpUrl
    timeout: Seconds = 60.0
    """Seconds one tool call may take."""
    headers: dict[str, SecretStr] = {}
    """Sent with every request; credentials belong here, and no agent ever sees them."""

    @model_validator(mode="before")
    @classmethod
    def _no_children_yet(cls, value: Any) -> Any:  # noqa: ANN401 - whatever the file says
        if isinstance(value, dict) and "command" in value:
            raise PydanticCustomError(
                "not_supported_yet", "command: tool servers over stdio are not supported yet; give a url"
            )
        return value


class McpSettings(BaseModel):
    """The tool servers by name; the name is what a flow's `server:` says."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    servers: dict[ServerName, UpstreamServer] = {}
