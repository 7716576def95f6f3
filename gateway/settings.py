"""What an operator says about models: aliases, where they lead, what they cost. Composed once in `preloop/settings`."""

import re
from pathlib import Path
from typing import Annotated, Literal, Self

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


DIALECTS = ("chat", "responses", "messages", "gemini", "embeddings")
Name = Literal["chat", "responses", "messages", "gemini", "embeddings"]


class Upstream(BaseModel):
    """A model at a provider. Prices are dollars per million tokens; without them the compiled price table is asked.

    `dialects` are what the provider speaks, the best one first; left out, they follow from `provider` and `base_url`
    (an OpenAI-compatible server at an address of your own is taken to speak `chat` and `embeddings`).
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    provider: str = "openai"
    model: str = ""
    base_url: str | None = None
    api_key: SecretStr | None = None
    api_key_file: Path | None = None  # read again whenever it changes: a key is rotated without a restart
    dialects: tuple[Name, ...] | None = None
    script: str | None = None
    input_usd_per_mtok: Dollars | None = None
    output_usd_per_mtok: Dollars | None = None
    cached_input_usd_per_mtok: Dollars | None = None
    cache_write_usd_per_mtok: Dollars | None = None
    reasoning_usd_per_mtok: Dollars | None = None
    hosted_usd: dict[str, Dollars] = Field(default_factory=dict)  # tools that run at the provider: dollars per call
    max_output_tokens: int = Field(default=16_384, ge=1)
    connect_s: float = Field(default=10, gt=0)
    first_byte_s: float = Field(default=600, gt=0)
    stream_idle_s: float = Field(default=300, gt=0)
    order: int = Field(default=0, ge=0)  # lower is asked first; the next order is the fallback
    weight: int = Field(default=1, ge=1)  # of the calls among those of the same order
    breaker_failures: int = Field(default=5, ge=1)  # in a row: then it is left alone
    breaker_s: float = Field(default=15, gt=0)  # for so long, before one call tries it again

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.provider == "scripted" and not self.script:
            raise ValueError("a scripted model needs `script`: a name from examples/scripts or a path")
        if self.provider != "scripted" and not self.model:
            raise ValueError("`model` is missing: the provider's own name of the model")
        if self.api_key is not None and self.api_key_file is not None:
            raise ValueError("give `api_key` or `api_key_file`, not both")
        if (self.input_usd_per_mtok is None) != (self.output_usd_per_mtok is None):
            raise ValueError("give both `input_usd_per_mtok` and `output_usd_per_mtok`, or neither")
        return self


class ModelAlias(BaseModel):
    """`[models.<alias>]`: the name agents use, and the models behind it.

    One model is written right here, several as `[[models.<alias>.upstreams]]`.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    upstreams: tuple[Upstream, ...] = Field(min_length=1)
    retries: int = Field(default=2, ge=0, le=10)  # of a call that broke before its first token, over all upstreams
    requests_per_minute: int | None = Field(default=None, ge=1)  # of one session
    concurrency: int | None = Field(default=None, ge=1)  # of one session
    on_disconnect: Literal["drain", "abort"] = "drain"  # read to the end and bill exactly, or stop and bill an estimate

    @model_validator(mode="before")
    @classmethod
    def _one(cls, given: object) -> object:
        """The short form: the fields of the one upstream beside those of the alias."""
        if not isinstance(given, dict) or "upstreams" in given:
            return given
        own = {name: value for name, value in given.items() if name in cls.model_fields}
        upstream = {name: value for name, value in given.items() if name not in cls.model_fields}
        return own | {"upstreams": [upstream]}


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
