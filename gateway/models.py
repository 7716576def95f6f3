"""Aliases and what is behind them: route, price, provider. Scripts are read at start: a wrong one is found then."""

from collections.abc import Mapping
from pathlib import Path

from gateway.dialects.chat import CHAT
from gateway.dialects.dialect import Dialect
from gateway.dialects.embeddings import EMBEDDINGS
from gateway.dialects.gemini import GEMINI
from gateway.dialects.messages import MESSAGES
from gateway.dialects.responses import RESPONSES
from gateway.keys import Keys
from gateway.provider import LiteLLM
from gateway.scripted import Script, Scripted, load
from gateway.settings import GatewaySettings, ModelAlias, Upstream
from gateway.upstream import Provider, Route, Target
from kit import canonical
from ledger.prices import Price, price_of

DIALECTS: Mapping[str, Dialect] = {dialect.name: dialect for dialect in (CHAT, RESPONSES, MESSAGES, GEMINI, EMBEDDINGS)}
SCRIPTS = Path(__file__).parents[1] / "examples" / "scripts"


class Models:
    """The aliases of this plane."""

    def __init__(self, settings: GatewaySettings, keys: Keys | None = None) -> None:
        self._routes = {
            alias: Route(alias=alias, settings=entry, targets=_targets(alias, entry))
            for alias, entry in settings.models.items()
        }
        self._providers: Mapping[str, Provider] = {"scripted": Scripted(_scripts(settings.models))}
        self._others: Provider = LiteLLM(keys or Keys())

    def route(self, alias: str) -> Route | None:
        return self._routes.get(alias)

    def provider(self, target: Target) -> Provider:
        return self._providers.get(target.provider, self._others)

    @property
    def aliases(self) -> tuple[str, ...]:
        return tuple(self._routes)


def _scripts(models: Mapping[str, ModelAlias]) -> dict[str, Script]:
    found = {}
    for entry in models.values():
        for upstream in entry.upstreams:
            if upstream.provider == "scripted" and upstream.script:
                built_in = SCRIPTS / f"{upstream.script}.yaml"
                found[upstream.script] = load(built_in if built_in.exists() else Path(upstream.script))
    return found


def _targets(alias: str, entry: ModelAlias) -> tuple[Target, ...]:
    return tuple(
        Target(alias=alias, place=place, settings=upstream, price=_price(upstream))
        for place, upstream in enumerate(entry.upstreams)
    )


def _price(entry: Upstream) -> Price | None:
    if entry.input_usd_per_mtok is None or entry.output_usd_per_mtok is None:
        return None
    prices = {
        "input_usd": entry.input_usd_per_mtok,
        "output_usd": entry.output_usd_per_mtok,
        "cache_read_usd": entry.cached_input_usd_per_mtok,
        "cache_write_usd": entry.cache_write_usd_per_mtok,
        "reasoning_usd": entry.reasoning_usd_per_mtok,
    }
    version = f"settings:{canonical.digest(prices)[:12]}"  # the same prices have the same name for ever
    return price_of(
        input_usd=entry.input_usd_per_mtok,
        output_usd=entry.output_usd_per_mtok,
        cache_read_usd=entry.cached_input_usd_per_mtok,
        cache_write_usd=entry.cache_write_usd_per_mtok,
        reasoning_usd=entry.reasoning_usd_per_mtok,
        version=version,
    )
