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
from gateway.pricing import prices_of
from gateway.provider import LiteLLM
from gateway.scripted import Script, Scripted, load
from gateway.settings import GatewaySettings, ModelAlias, Upstream
from gateway.upstream import Provider, Route, Target
from ledger import price_list
from ledger.price_list import PriceList

DIALECTS: Mapping[str, Dialect] = {dialect.name: dialect for dialect in (CHAT, RESPONSES, MESSAGES, GEMINI, EMBEDDINGS)}
SCRIPTS = Path(__file__).parents[1] / "examples" / "scripts"


class Models:
    """The aliases of this plane."""

    def __init__(self, settings: GatewaySettings, keys: Keys | None = None) -> None:
        listed = price_list.read()  # let go of when all are priced
        self._routes = {
            alias: Route(alias=alias, settings=entry, targets=_targets(alias, entry, listed))
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


def _targets(alias: str, entry: ModelAlias, listed: PriceList) -> tuple[Target, ...]:
    return tuple(_target(alias, place, upstream, listed) for place, upstream in enumerate(entry.upstreams))


def _target(alias: str, place: int, upstream: Upstream, listed: PriceList) -> Target:
    search_nano, window = listed.search(upstream.provider, upstream.model)
    return Target(
        alias=alias,
        place=place,
        settings=upstream,
        prices=prices_of(upstream, listed.price),
        search_nano=search_nano,
        window=window,
    )
