"""List prices: the compiled table beside this file, which `scripts/prices` makes. Read when asked, and not kept.

A model is found by provider and name, exactly as written, or not at all: a near match would be a wrong bill.
"""

from collections.abc import Mapping
from importlib import resources

import msgspec

from ledger.prices import Price, Tier, rates_of

FILE = "price_table.json"


class _Row(msgspec.Struct):
    """Nano-dollars per million tokens by class; `above`: the same for calls with a longer input, by its length."""

    rates: dict[str, int]
    above: dict[str, dict[str, int]] = {}


class PriceList(msgspec.Struct):
    """`version` is the day of its making and a digest; `effective` the day from which it is taken to be true."""

    version: str
    effective: str
    source: str
    models: dict[str, msgspec.Raw]

    def price(self, provider: str, model: str) -> Price | None:
        """The list price of a model, None when it isn't listed."""
        found = self.models.get(f"{provider}/{model}")
        if found is None:
            return None
        row = msgspec.json.decode(found, type=_Row)
        tiers = tuple(
            Tier(above=int(above), rates=rates_of(rates))
            for above, rates in sorted(row.above.items(), key=lambda one: int(one[0]))
        )
        return Price(rates=rates_of(row.rates), version=self.version, source="list", tiers=tiers)


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
