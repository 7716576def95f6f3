"""What a model costs, now and from a day on: the operator's prices, else the list's."""

from collections.abc import Callable
from datetime import UTC, datetime, time

from gateway.settings import PriceFrom, Upstream, UsdPerMtok
from kit import canonical
from ledger.prices import Dated, Price, price_of

CLASSES = {"cached_input": "cache_read", "cached_audio": "cache_read_audio"}
"""How two classes are called in the settings."""
List = Callable[[str, str], Price | None]
"""Provider and model → the list price."""


def prices_of(upstream: Upstream, listed: List) -> tuple[Dated, ...]:
    """In order of time; empty for a model without a price."""
    own = _price(upstream) or listed(upstream.provider, upstream.model)
    first = [Dated(since=None, price=own)] if own else []
    return (*first, *(_dated(one) for one in sorted(upstream.prices, key=lambda one: one.since)))


def _dated(one: PriceFrom) -> Dated:
    price = _price(one)
    assert price  # settings: such an entry has both
    return Dated(since=datetime.combine(one.since, time(), UTC), price=price)


def _price(given: UsdPerMtok) -> Price | None:
    if given.input_usd_per_mtok is None:
        return None
    dollars = {name.removesuffix("_usd_per_mtok"): value for name, value in given.priced() if value is not None}
    version = f"settings:{canonical.digest(dollars)[:12]}"  # the same prices have the same name for ever
    return price_of(version=version, **{f"{CLASSES.get(name, name)}_usd": value for name, value in dollars.items()})
