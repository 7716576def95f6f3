"""What tokens cost: disjoint token classes times integer prices.

Pure. Providers count differently (OpenAI's prompt tokens include cached ones, Anthropic's do not): whoever reads a
provider's usage turns it into these classes, where no token is in two of them.
"""

from dataclasses import dataclass
from typing import Literal

from ledger.money import parse, per_million, round_up

Source = Literal["list", "override"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Tokens of one model call, each in exactly one class."""

    input: int = 0  # read at the full price
    cache_read: int = 0
    cache_write: int = 0
    output: int = 0  # what the client saw
    reasoning: int = 0

    @property
    def total_input(self) -> int:
        return self.input + self.cache_read + self.cache_write

    @property
    def total_output(self) -> int:
        return self.output + self.reasoning


def of_totals(
    *, total_input: int, total_output: int, cache_read: int = 0, cache_write: int = 0, reasoning: int = 0
) -> Usage:
    """Usage from counts in which the parts are included in the totals, as OpenAI reports them."""
    return Usage(
        input=max(0, total_input - cache_read - cache_write),
        cache_read=cache_read,
        cache_write=cache_write,
        output=max(0, total_output - reasoning),
        reasoning=reasoning,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """Nano-dollars per million tokens of each class. `version` names the table it came from."""

    input: int
    output: int
    cache_read: int
    cache_write: int
    reasoning: int
    version: str
    source: Source = "override"


def price_of(
    *,
    input_usd: str,
    output_usd: str,
    cache_read_usd: str | None = None,
    cache_write_usd: str | None = None,
    reasoning_usd: str | None = None,
    version: str,
) -> Price:
    """A price from dollars per million tokens. What is left out costs as much as plain input or output."""
    plain, out = parse(input_usd), parse(output_usd)
    return Price(
        input=plain,
        output=out,
        cache_read=parse(cache_read_usd) if cache_read_usd else plain,
        cache_write=parse(cache_write_usd) if cache_write_usd else plain,
        reasoning=parse(reasoning_usd) if reasoning_usd else out,
        version=version,
    )


def cost(usage: Usage, price: Price | None) -> int | None:
    """Nano-dollars of a call, rounded up once; None when the model has no price."""
    if price is None:
        return None
    return round_up(
        per_million(usage.input, price.input)
        + per_million(usage.cache_read, price.cache_read)
        + per_million(usage.cache_write, price.cache_write)
        + per_million(usage.output, price.output)
        + per_million(usage.reasoning, price.reasoning)
    )


def ceiling(total_input: int, total_output: int, price: Price) -> int:
    """Nano-dollars that a call of at most so many tokens cannot exceed, whatever classes they fall into."""
    dearest_in = max(price.input, price.cache_read, price.cache_write)
    dearest_out = max(price.output, price.reasoning)
    return round_up(per_million(total_input, dearest_in) + per_million(total_output, dearest_out))
