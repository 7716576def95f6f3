"""List prices: the compiled table beside this file, which `scripts/prices` makes. Read when asked, and not kept.

A model is found by provider and name, exactly as written, or not at all: a near match would be a wrong bill.
"""

from collections.abc import Mapping
from importlib import resources

import msgspec

from ledger.prices import Price, Tier, rates_of

FILE = "price_table.json"


class _Row(msgspec.Struct):
    """Nano-dollars per million tokens by class; `above`: the same for calls with a longer input, by its length.
    `search`: nano-dollars of one search that the provider does, `window`: tokens that such a model reads at most."""

    rates: dict[str, int]
    above: dict[str, dict[str, int]] = {}
    search: int | None = None
    window: int | None = None


class PriceList(msgspec.Struct):
    """`version` is the day of its making and a digest; `effective` the day from which it is taken to be true."""

    version: str
    effective: str
    source: str
    models: dict[str, msgspec.Raw]

    def price(self, provider: str, model: str) -> Price | None:
        """The list price of a model, None when it isn't listed."""
        row = self._row(provider, model)
        if row is None:
            return None
        tiers = tuple(
            Tier(above=int(above), rates=rates_of(rates))
            for above, rates in sorted(row.above.items(), key=lambda one: int(one[0]))
        )
        return Price(rates=rates_of(row.rates), version=self.version, source="list", tiers=tiers)

    def search(self, provider: str, model: str) -> tuple[int | None, int | None]:
        """Nano-dollars of a search at the provider, and the tokens that the model reads at most; None is not listed."""
        row = self._row(provider, model)
        return (row.search, row.window) if row else (None, None)

    def _row(self, provider: str, model: str) -> _Row | None:
        found = self.models.get(f"{provider}/{model}")
        return None if found is None else msgspec.json.decode(found, type=_Row)


def read() -> PriceList:
    """The table as it came with this release: a few milliseconds, and some megabytes while it is held."""
    content = resources.files("ledger").joinpath(FILE).read_bytes()
    return msgspec.json.decode(content, type=PriceList)


def compiled(version: str, effective: str, source: str, models: Mapping[str, Mapping[str, object]]) -> str:
    """The text of a table: JSON with one model a line, sorted, so that a change of prices reads as one."""
    rows = [f'"{name}": {msgspec.json.encode(models[name]).decode()}' for name in sorted(models)]
    head = {"version": version, "effective": effective, "source": source}
    lines = [f'"{name}": "{value}",' for name, value in head.items()]
    return "{\n" + "\n".join(lines) + '\n"models": {\n' + ",\n".join(rows) + "\n}\n}\n"
