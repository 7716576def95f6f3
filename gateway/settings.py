"""What an operator says about models: aliases, where they lead, what they cost. Composed once in `preloop/settings`."""

import re
from typing import Annotated, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    StrictStr,
    field_validator,
    model_validator,
)

from kit.errors import Invalid
from ledger import money

_ALIAS = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}", re.ASCII)


def _dollars(text: str) -> str:
    try:
        money.parse(text)
    except Invalid as error:
        raise ValueError(f"{error.message} {error.hint}") from error
    return text


Dollars = Annotated[StrictStr, AfterValidator(_dollars)]
"""Decimal text, so that no price was ever a float."""


class ModelAlias(BaseModel):
    """`[models.<alias>]`: the name agents use, and the model behind it. Prices are dollars per million tokens."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    provider: str = "openai"
    model: str = ""
    base_url: str | None = None
    api_key: SecretStr | None = None
    script: str | None = None
    input_usd_per_mtok: Dollars | None = None
    output_usd_per_mtok: Dollars | None = None
    cached_input_usd_per_mtok: Dollars | None = None
    cache_write_usd_per_mtok: Dollars | None = None
    reasoning_usd_per_mtok: Dollars | None = None
    max_output_tokens: int = Field(default=16_384, ge=1)
    stream_idle_s: float = Field(default=300, gt=0)

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.provider == "scripted" and not self.script:
            raise ValueError("a scripted model needs `script`: a name from examples/scripts or a path")
        if self.provider != "scripted" and not self.model:
            raise ValueError("`model` is missing: the provider's own name of the model")
        if (self.input_usd_per_mtok is None) != (self.output_usd_per_mtok is None):
            raise ValueError("give both `input_usd_per_mtok` and `output_usd_per_mtok`, or neither")
        return self


class GatewaySettings(BaseModel):
    """All of the gateway's settings. Times are seconds."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    models: dict[str, ModelAlias] = Field(default_factory=dict)
    max_body_bytes: int = Field(default=32 * 1024 * 1024, ge=1024)
    patience_s: float = Field(default=0.5, gt=0)  # for an upstream's early refusal, before a stream's headers go out
    keepalive_s: float = Field(default=10, gt=0)
    drain_s: float = Field(default=120, gt=0)  # how long an answer is read on after its client left
    stalled_client_s: float = Field(default=60, gt=0)

    @field_validator("models")
    @classmethod
    def _named(cls, models: dict[str, ModelAlias]) -> dict[str, ModelAlias]:
        for alias in models:
            if not _ALIAS.fullmatch(alias):
                raise ValueError(f"{alias!r} can't be an alias: small letters, digits, dots, dashes and underscores")
        return models
