"""What tokens cost: disjoint token classes times integer prices.

Pure. Providers count differently (OpenAI's prompt tokens include cached ones, Anthropic's do not): whoever reads a
provider's usage turns it into these classes, where no token is in two of them. `price_list` reads the list prices.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any, Literal

from msgspec import Struct

from ledger.money import parse, per_million, round_up

Source = Literal["list", "override"]


class Usage(Struct, frozen=True, kw_only=True):
    """Tokens of one model call, each in exactly one class."""

    input: int = 0  # text, read at the full price
    cache_read: int = 0
    cache_read_audio: int = 0
    cache_write: int = 0  # kept for five minutes, or as long as the provider likes
    cache_write_1h: int = 0
    audio_input: int = 0
    image_input: int = 0
    output: int = 0  # what the client saw
    reasoning: int = 0
    audio_output: int = 0
    image_output: int = 0

    @property
    def total_input(self) -> int:
        return self.input + self.read_from_cache + self.written_to_cache + self.audio_input + self.image_input

    @property
    def read_from_cache(self) -> int:
        return self.cache_read + self.cache_read_audio

    @property
    def written_to_cache(self) -> int:
        return self.cache_write + self.cache_write_1h

    @property
    def total_output(self) -> int:
        return self.output + self.reasoning + self.audio_output + self.image_output


CLASSES = Usage.__struct_fields__
INPUT = CLASSES[: CLASSES.index("output")]
OUTPUT = CLASSES[CLASSES.index("output") :]


def of_totals(*, total_input: int, total_output: int, **parts: int) -> Usage:
    """Usage from counts in which the parts are included in the totals, as OpenAI reports them.

    `parts` are counts of other classes than `input` and `output`. Where they say more than their total they are cut, in
    the order of the classes, so that the classes always add up to the totals.
    """
    found: dict[str, int] = {}
    for rest, total, names in (("input", total_input, INPUT), ("output", total_output, OUTPUT)):
        left = total
        for name in names[1:]:
            if count := parts.get(name):
                found[name] = min(left, count)
                left -= found[name]
        found[rest] = left
    return Usage(**found)


class Rates(Struct, frozen=True, kw_only=True):
    """Nano-dollars per million tokens of each class."""

    input: int
    cache_read: int
    cache_read_audio: int
    cache_write: int
    cache_write_1h: int
    audio_input: int
    image_input: int
    output: int
    reasoning: int
    audio_output: int
    image_output: int


class Tier(Struct, frozen=True, kw_only=True):
    """What a whole call costs whose input, cached or not, is longer than `above` tokens."""

    above: int
    rates: Rates


class Price(Struct, frozen=True, kw_only=True):
    """`version` names the table it came from; `tiers` go up."""

    rates: Rates
    version: str
    source: Source = "override"
    tiers: tuple[Tier, ...] = ()

    def rates_of(self, total_input: int) -> Rates:
        for tier in reversed(self.tiers):
            if total_input > tier.above:
                return tier.rates
        return self.rates


class Dated(Struct, frozen=True, kw_only=True):
    """A price and when it begins; None: it always was."""

    since: datetime | None
    price: Price


class Bill(Struct, frozen=True, kw_only=True):
    """What a call is put into the book at. `cost_nano` is None without a price, never 0."""

    cost_nano: int | None
    source: str  # list | override | provider | estimated | unpriced
    version: str | None


def rates_of(given: Mapping[str, int]) -> Rates:
    """Rates of the classes that have a price; `input` and `output` must. What is left out costs what its kin does."""
    rates = dict(given)
    for name, kin in KIN:
        rates.setdefault(name, rates[kin])
    return Rates(**rates)


KIN = (
    ("cache_read", "input"),
    ("cache_write", "input"),
    ("cache_write_1h", "cache_write"),
    ("audio_input", "input"),
    ("cache_read_audio", "cache_read"),
    ("image_input", "input"),
    ("reasoning", "output"),
    ("audio_output", "output"),
    ("image_output", "output"),
)
"""What a class costs that has no price of its own."""


def price_of(*, version: str, **usd: str | None) -> Price:
    """A price from dollars per million tokens: `input_usd`, `output_usd`, and `<class>_usd` of any other class."""
    given = {name.removesuffix("_usd"): parse(text) for name, text in usd.items() if text is not None}
    return Price(rates=rates_of(given), version=version)


def from_record(record: Mapping[str, Any]) -> Price:
    """A price that was written down field by field."""
    tiers = tuple(Tier(above=tier["above"], rates=Rates(**tier["rates"])) for tier in record["tiers"])
    return Price(**{**record, "rates": Rates(**record["rates"]), "tiers": tiers})


def in_force(prices: Sequence[Dated], at: datetime) -> Price | None:
    """The price at a moment, of some in order of time."""
    begun = [one.price for one in prices if one.since is None or one.since <= at]
    return begun[-1] if begun else None


def cost(usage: Usage, price: Price | None) -> int | None:
    """Nano-dollars of a call, rounded up once; None when the model has no price."""
    if price is None:
        return None
    rates = price.rates_of(usage.total_input) if price.tiers else price.rates
    millionths = per_million(usage.input, rates.input) + per_million(usage.output, rates.output)
    for name in _RARE:
        if tokens := getattr(usage, name):
            millionths += per_million(tokens, getattr(rates, name))
    return round_up(millionths)


_RARE = tuple(name for name in CLASSES if name not in ("input", "output"))


def bill(
    usage: Usage, price: Price | None, *, exact: bool = True, charged_nano: int | None = None, hosted_nano: int = 0
) -> Bill:
    """What goes into the book. `charged_nano` is what the provider is believed to charge for it all: only an override
    is above that. `hosted_nano` is for tools that ran at the provider.

    Not `exact`: nobody counted, the usage is an estimate.
    """
    if charged_nano is not None and exact and (price is None or price.source != "override"):
        return Bill(cost_nano=charged_nano, source="provider", version=None)
    if price is None:
        return Bill(cost_nano=None, source="unpriced", version=None)
    tokens_nano = cost(usage, price) or 0
    return Bill(
        cost_nano=tokens_nano + hosted_nano, source=price.source if exact else "estimated", version=price.version
    )


def ceiling(total_input: int, total_output: int, price: Price) -> int:
    """Nano-dollars that a call of at most so many tokens cannot exceed, whatever classes they fall into."""
    dearest = [_dearest(price.rates), *(_dearest(tier.rates) for tier in price.tiers if total_input > tier.above)]
    dearest_in, dearest_out = map(max, zip(*dearest, strict=True))
    return round_up(per_million(total_input, dearest_in) + per_million(total_output, dearest_out))


@lru_cache(1024)
def _dearest(rates: Rates) -> tuple[int, int]:
    """The highest rate of what is read, and of what is written."""
    return max(getattr(rates, name) for name in INPUT), max(getattr(rates, name) for name in OUTPUT)
