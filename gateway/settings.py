"""What an operator says about models: aliases, where they lead, what they cost. Composed once in `preloop/settings`."""

import re
from collections.abc import Sequence
from datetime import date
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

from control.flows.direct import Direct
from kit.errors import Invalid
from ledger import money
from ledger.limits import Limit, Limits

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


class UsdPerMtok(BaseModel):
    """Dollars per million tokens, by class. A class that is left out costs what the plain input or output does; audio
    and cache that is kept for an hour, what the other cache does."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    input_usd_per_mtok: Dollars | None = None
    output_usd_per_mtok: Dollars | None = None
    cached_input_usd_per_mtok: Dollars | None = None
    cached_audio_usd_per_mtok: Dollars | None = None
    cache_write_usd_per_mtok: Dollars | None = None
    cache_write_1h_usd_per_mtok: Dollars | None = None
    audio_input_usd_per_mtok: Dollars | None = None
    image_input_usd_per_mtok: Dollars | None = None
    reasoning_usd_per_mtok: Dollars | None = None
    audio_output_usd_per_mtok: Dollars | None = None
    image_output_usd_per_mtok: Dollars | None = None

    @model_validator(mode="after")
    def _both(self) -> Self:
        if (self.input_usd_per_mtok is None) != (self.output_usd_per_mtok is None):
            raise ValueError("give both `input_usd_per_mtok` and `output_usd_per_mtok`, or neither")
        if self.input_usd_per_mtok is None and (given := [name for name, value in self.priced() if value]):
            raise ValueError(f"`{given[0]}` needs `input_usd_per_mtok` and `output_usd_per_mtok` beside it")
        return self

    def priced(self) -> list[tuple[str, str | None]]:
        """Field and value of each class."""
        return [(name, getattr(self, name)) for name in UsdPerMtok.model_fields]


class PriceFrom(UsdPerMtok):
    """`[[models.<alias>.prices]]`: what the model costs from a day on, which begins in UTC."""

    since: date

    @model_validator(mode="after")
    def _said(self) -> Self:
        if self.input_usd_per_mtok is None:
            raise ValueError("`input_usd_per_mtok` and `output_usd_per_mtok` are missing")
        return self


class Upstream(UsdPerMtok):
    """A model at a provider. Its prices, and those of `prices` from their days on, are above the list prices, which are
    found by `provider` and `model` exactly as they are written here.

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
    prices: tuple[PriceFrom, ...] = ()
    hosted_usd: dict[str, Dollars] = Field(default_factory=dict)  # tools that run at the provider: dollars per use
    max_input_tokens: int | None = Field(default=None, ge=1)  # what it reads at most: a bound for such tools
    max_picture_tokens: int | None = Field(default=None, ge=1)  # what it counts for one picture at most
    reports_cost: bool | None = None  # is what it says it charges the bill? Left out: OpenRouter's is
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
        if len({one.since for one in self.prices}) < len(self.prices):
            raise ValueError("two of `prices` begin on the same day")
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
    direct: Direct | None = None  # another key, for agents that go past the gateway
    on_disconnect: Literal["drain", "abort"] = "drain"  # read to the end and bill exactly, or stop and bill an estimate

    @model_validator(mode="before")
    @classmethod
    def _one(cls, given: object) -> object:
        """The short form: the fields of the one upstream beside those of the alias."""
        if not isinstance(given, dict):
            return given
        if "upstreams" in given:
            lost = given.keys() & (Upstream.model_fields.keys() - cls.model_fields.keys())
            if lost:
                raise ValueError(f"`{min(lost)}` belongs into each of `upstreams`, not beside them")
            return given
        own = {name: value for name, value in given.items() if name in cls.model_fields}
        upstream = {name: value for name, value in given.items() if name not in cls.model_fields}
        return own | {"upstreams": [upstream]}


def belongs(alias: str) -> str:
    """Where the settings of a model itself stand, for a hint."""
    return f"in [models.{alias}], or in each [[models.{alias}.upstreams]] where it has those"


class BudgetSettings(BaseModel):
    """`[[budgets]]`: a limit for the account, or for each flow, execution, principal or alias on its own; `subject`
    names a single one, in the place of what each of them has. A soft limit refuses nothing."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    scope: Literal["account", "flow", "execution", "principal", "alias"]
    subject: Annotated[str, Field(min_length=1, max_length=200)] | None = None
    period: Literal["hour", "day", "month", "total"] = "total"  # in UTC
    limit_usd: Dollars
    kind: Literal["hard", "soft"] = "hard"

    @model_validator(mode="after")
    def _whose(self) -> Self:
        if self.scope == "account" and self.subject is not None:
            raise ValueError("the account's budget has no `subject`")
        return self

    @property
    def limit(self) -> Limit:
        return Limit(
            scope=self.scope,
            subject=self.subject,
            period=self.period,
            kind=self.kind,
            limit_nano=money.parse(self.limit_usd),
        )


def different(budgets: tuple[BudgetSettings, ...]) -> tuple[BudgetSettings, ...]:
    """The same, if each has its own place."""
    known = {(one.scope, one.subject, one.period, one.kind) for one in budgets}
    if len(known) < len(budgets):
        raise ValueError("two of [[budgets]] have the same scope, subject, period and kind")
    return budgets


def limits(budgets: Sequence[BudgetSettings]) -> Limits:
    """What the ledger is told of them."""
    return Limits([one.limit for one in budgets])


class GatewaySettings(BaseModel):
    """All of the gateway's settings. Times are seconds."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    models: dict[str, ModelAlias] = Field(default_factory=dict)
    budgets: Annotated[tuple[BudgetSettings, ...], AfterValidator(different)] = ()
    strict: bool = False  # commit each intent to the database before the call is made
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
