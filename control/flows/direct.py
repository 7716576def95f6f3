"""A provider's key that an admin hands to agents: `[models.<alias>.direct]` of preloop.toml, and who may have it. Pure.

With it an agent's model calls go past the gateway: nobody counts or bounds them. So a flow is refused that says both,
such a path and what it must not cost.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, TypeAdapter, field_validator, model_validator

from control.flows.flow import Flow, Name
from control.flows.reach import Site

Wire = Literal["openai", "anthropic", "gemini"]
BASES: Mapping[Wire, str] = {
    "openai": "https://api.openai.com/v1",
    "anthropic": "https://api.anthropic.com",
    "gemini": "https://generativelanguage.googleapis.com",
}
"""What the wires' own clients take as base URL."""
INSTEAD = "Leave the limit out or make it soft, or write `gateway: prefer`: under a limit that stays on the gateway."
SPEAKS: Mapping[str, Wire] = {"codex": "openai", "scripted": "openai", "claude": "anthropic", "gemini": "gemini"}
"""Runtimes that know one wire alone; the others take any."""
_SITE: TypeAdapter[str] = TypeAdapter(Site)


class Direct(BaseModel):
    """Where an alias's agents find their model past the gateway, and with which key."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    wire: Wire
    model: str = Field(min_length=1)
    """The provider's own name of the model."""
    base_url: str = ""
    """As clients of the wire write it; left out, the provider's own."""
    key: SecretStr | None = None
    key_env: str | None = Field(default=None, pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")
    """The variable that holds the key, none of the plane's own;"""
    key_file: Path | None = None
    """or the file, read at the start."""
    flows: tuple[Name, ...] = Field(min_length=1)
    """Whose agents may have it."""

    @field_validator("base_url")
    @classmethod
    def _is_dialled(cls, text: str) -> str:
        """Through the egress door: TLS, a host's name, no credentials."""
        url = urlsplit(text)
        if text and (url.scheme != "https" or set(url.netloc) & set("@*") or url.query or url.fragment):
            raise ValueError("`base_url` is https://, a host's name, and a path where there is one")
        if text:
            _SITE.validate_python(url.netloc)
        return text.rstrip("/")

    @model_validator(mode="after")
    def _one_key(self) -> "Direct":
        if sum(given is not None for given in (self.key, self.key_env, self.key_file)) != 1:
            raise ValueError("give one of `key`, `key_env` and `key_file`")
        if self.key_env and self.key_env.startswith("PRELOOP_"):
            raise ValueError("`key_env` names a setting of the plane; agents get a key of their own")
        return self

    @property
    def url(self) -> str:
        return self.base_url or BASES[self.wire]

    @property
    def site(self) -> str:
        """The host, as a charter's `egress` has it."""
        return urlsplit(self.url).netloc.removesuffix(":443")


def refusal(flow: Flow, given: Direct | None) -> tuple[str, str] | None:
    """Why its agent may not have that key, and what to do; None when it may."""
    alias = flow.agent.model
    if given is None or flow.name not in given.flows:
        said = f"no key of preloop.toml is marked for agents of {flow.name!r} on the model {alias!r}"
        return said, f'Let an admin put "{flow.name}" into `flows` of [models.{alias}.direct], or leave `gateway` out.'
    if SPEAKS.get(flow.agent.runtime, given.wire) != given.wire:
        speaks = SPEAKS[flow.agent.runtime]
        said = f"{flow.agent.runtime} speaks the {speaks} wire, and [models.{alias}.direct] is a key for {given.wire}"
        return said, "Take another runtime or another model."
    return None


def bounded(flow: Flow, covered: bool) -> str | None:
    """What says that its spend must not pass a limit, which only the gateway can keep; `covered` by a hard budget."""
    if flow.limits.budget_usd is not None:
        return "limits.budget_usd"
    return "a hard limit of [[budgets]]" if covered else None
