"""The seam to whatever answers a model call: the scripted model, or a provider through LiteLLM."""

from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from hashlib import sha256
from typing import Protocol
from urllib.parse import urlsplit

from gateway.dialects import pictures
from gateway.dialects.hosted import SEARCHES
from gateway.dialects.reasons import Reason
from gateway.settings import ModelAlias, Upstream
from gateway.wires.neutral import Delta, Request
from kit.errors import Fault
from ledger import money
from ledger.prices import Dated, Price, in_force

OWN: Mapping[str, tuple[str, ...]] = {
    "openai": ("responses", "chat", "embeddings"),
    "anthropic": ("messages",),
    "gemini": ("gemini",),
}
"""What the well-known providers speak at their own addresses, the best one first."""
BASES: Mapping[str, str] = {
    "openai": "https://api.openai.com/v1",
    "anthropic": "https://api.anthropic.com",
    "gemini": "https://generativelanguage.googleapis.com/v1beta",
}
"""Where they listen, unless the settings say `base_url`."""
ELSEWHERE = ("chat", "embeddings")
"""What an OpenAI-compatible server at another address speaks, unless the settings say more."""

Key = tuple[str, str, str | None, str]
"""An upstream: provider, model, address, and what tells its key apart."""


@dataclass(frozen=True, kw_only=True)
class Target:
    """One model at one provider, as an alias leads to it. `place` is its number among the alias's upstreams."""

    alias: str
    place: int
    settings: Upstream
    prices: tuple[Dated, ...]
    search_nano: int | None = None  # the list price of a search that the provider does
    window: int | None = None  # tokens it reads at most, as listed

    def hosted_nano(self, name: str) -> int | None:
        """Nano-dollars for a use of a tool that runs at the provider, None when nobody said."""
        if name in self.settings.hosted_usd:
            return money.parse(self.settings.hosted_usd[name])
        return self.search_nano if name in SEARCHES else None

    @cached_property
    def max_input(self) -> int | None:
        """Tokens it reads at most, if anybody said."""
        return self.settings.max_input_tokens or self.window

    @cached_property
    def max_picture(self) -> int:
        """Tokens that it counts for one picture at most."""
        known = pictures.most("" if self.settings.base_url else self.provider, self.model)
        return self.settings.max_picture_tokens or known

    @cached_property
    def reports_cost(self) -> bool:
        """Is what it says it charges the bill?"""
        if self.settings.reports_cost is not None:
            return self.settings.reports_cost
        return self.provider == "openrouter" or urlsplit(self.base or "").hostname == "openrouter.ai"

    def price_at(self, at: datetime) -> Price | None:
        """What it costs at a moment, None when nobody said."""
        return in_force(self.prices, at)

    @cached_property
    def provider(self) -> str:
        return self.settings.provider

    @cached_property
    def model(self) -> str:
        return self.settings.model or self.settings.script or self.alias

    @cached_property
    def base(self) -> str | None:
        """What the paths of its dialects are put behind; None when only LiteLLM knows."""
        base = self.settings.base_url or BASES.get(self.provider)
        return base.rstrip("/") if base else None

    @cached_property
    def key(self) -> Key:
        """Which upstream this is, whatever aliases lead to it. Another key is another one: limits and refusals are the
        key's. It is told apart by its file, or by a digest of itself."""
        key = self.settings.api_key
        told = sha256(key.get_secret_value().encode()).hexdigest() if key else str(self.settings.api_key_file or "")
        return (self.provider, self.model, self.settings.base_url, told)

    @cached_property
    def dialects(self) -> tuple[str, ...]:
        """What it speaks, the best one first; empty for a provider that only LiteLLM knows how to ask."""
        if self.settings.dialects is not None:
            return self.settings.dialects
        if self.provider == "openai" and self.settings.base_url:
            return ELSEWHERE
        return OWN.get(self.provider, ())

    def max_output(self, request: Request) -> int:
        """Tokens that an answer to this request may have at most; providers are told."""
        return min(request.max_output or self.settings.max_output_tokens, self.settings.max_output_tokens)


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """Where an alias leads."""

    alias: str
    settings: ModelAlias
    targets: tuple[Target, ...]


class UpstreamFailed(Fault):
    """The model's provider did not answer.

    Codes: `upstream_failed` it said no or was not reached, `upstream_cut` it stopped in the middle, `upstream_stalled`
    it went silent.
    """

    def __init__(
        self,
        message: str,
        *,
        code: str = "upstream_failed",
        answered: int | None = None,
        retry_after_s: int | None = None,
        reason: Reason | None = None,
    ) -> None:
        super().__init__(code, message)
        self.reason = reason
        """Why it said no, where it was reached and did."""
        self.answered = answered
        """The status the provider sent, if it was reached at all."""
        self.retry_after_s = retry_after_s
        self.status = self._status(answered)

    @property
    def refused(self) -> bool:
        """It said no, or was never reached: nothing ran, nothing is billed."""
        return self.code == "upstream_failed"

    @property
    def final(self) -> bool:
        """The request itself is at fault: no other upstream would take it."""
        return self.answered in (400, 413, 422) and not self.penniless

    @property
    def penniless(self) -> bool:
        """The account of this key has no money: another key may have, and it is well."""
        return self.reason == "credits_exhausted"

    @staticmethod
    def _status(answered: int | None) -> int:
        """What our client is told: its own mistakes and busy times pass through, the rest is between us and them."""
        if answered in (400, 413, 422):
            return 400
        return 429 if answered == 429 else 502


class Provider(Protocol):
    """Answers one request. The stream yields a Stop when the model ended, and raises UpstreamFailed when it did not."""

    async def told(self, target: Target, request: Request) -> tuple[tuple[str, ...], int]:
        """What of a request it is not told, and how many bytes it is at most; Invalid where what is missing would
        change what was asked."""

    def stream(self, target: Target, request: Request) -> AsyncGenerator[Delta, None]: ...
