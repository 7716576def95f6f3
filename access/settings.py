"""What an operator sets about the doors beside tools and models: `[egress]` and `[git."host"]` of preloop.toml."""

from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, StringConstraints, model_validator

from control.flows.quantities import mebibytes, seconds
from control.flows.reach import HostName, Wildcard


def _bytes(text: str | int) -> int:
    """'2g' → bytes; a bare number is bytes."""
    return text if isinstance(text, int) and not isinstance(text, bool) else mebibytes(text)


Prefix = Annotated[str, StringConstraints(pattern=r"^https?://[^/?#@\s]+(/[^?#\s]*[^/?#\s])?$")]


class EgressSettings(BaseModel):
    """What one session, an agent's, may do through the egress and git doors of each process."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    wildcards: tuple[Wildcard, ...] = ()
    """Names such as `*.example.com` that flows may list; without one they name each host."""
    private_hosts: tuple[HostName, ...] = ()
    """Hosts that are at addresses which are not public, and are meant."""
    connections: int = Field(default=50, ge=1, le=10_000)
    """Open at a time,"""
    per_second: int = Field(default=20, ge=1, le=10_000)
    """new ones a second (twice as many at once),"""
    most: Annotated[int, BeforeValidator(_bytes), Field(gt=0)] = 2 << 30
    """bytes in both directions together, over the whole session,"""
    idle: Annotated[int, BeforeValidator(seconds), Field(gt=0)] = 600
    """and how long a connection lives on which nothing moves."""


class GitHost(BaseModel):
    """A host of repositories and the credential that is used there, which no container ever sees."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    url: Prefix | None = None
    """Where it is, if that is not https:// and its name."""
    user: str = Field(default="x-access-token", pattern=r"^[!-9;-~]+$")
    """GitHub takes any; GitLab wants `oauth2`."""
    token: SecretStr | None = None
    token_env: str | None = None
    """The variable that holds the token;"""
    token_file: Path | None = None
    """or the file, read at each request, so that it can be rotated. Without any, what everybody may read is read."""
    private: bool = False
    """It is at an address that is not public, and is meant."""

    @model_validator(mode="after")
    def _agrees(self) -> "GitHost":
        if sum(given is not None for given in (self.token, self.token_env, self.token_file)) > 1:
            raise ValueError("give one of `token`, `token_env` and `token_file`")
        if self.url and self.url.startswith("http://") and not self.private:
            raise ValueError("`url` without TLS is for a private host; write `private = true` if it is one")
        return self

    def prefix(self, host: str) -> str:
        """What an `owner/repo` of it stands behind."""
        return self.url or f"https://{host}"

    def dialled(self, host: str) -> str:
        """The name that is resolved."""
        return urlsplit(self.prefix(host)).hostname or host
