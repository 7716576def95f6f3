"""What OpenAI's dialects say a call used and cost, as classes that no token is in twice and as whole nano-dollars.

Pure. Their totals include the cached and the reasoning tokens (platform.openai.com/docs/api-reference/chat/object,
…/responses/object); servers that leave the reasoning out of the output show it in `total_tokens` (xAI).
"""

from collections.abc import Mapping
from decimal import ROUND_CEILING, Decimal, InvalidOperation

import msgspec

from gateway.dialects.told import count, inner, word
from gateway.wires.neutral import Counted, Json
from ledger.money import NANO
from ledger.prices import Usage, of_totals

MOST_USD = 10**6
"""A charge of one call above this is taken for a mistake."""


class _Charge(msgspec.Struct):
    cost: msgspec.Raw = msgspec.Raw(b"")


class _Charged(msgspec.Struct):
    usage: _Charge | None = None


class _Responded(msgspec.Struct):
    response: _Charged | None = None


def counted(
    usage: Json, upstream_id: object, raw: bytes, hosted: Mapping[str, int] | None = None, model: object = None
) -> Counted:
    """A `usage` object of Chat, Responses or Embeddings. `raw` is the JSON around it, for the digits of a charge;
    `hosted` are uses of tools that ran at the provider, `model` is which one says it answered."""
    return Counted(
        usage=tokens(usage),
        upstream_id=upstream_id if isinstance(upstream_id, str) else None,
        cost_nano=_charge(raw) if usage.get("cost") is not None else None,
        hosted=hosted,
        model=word(model),
    )


def told(answer: Json, raw: bytes) -> Counted | None:
    """What an answer, or an event of one, says was used, if it does; `raw` is its JSON."""
    usage = answer.get("usage")
    return counted(usage, answer.get("id"), raw, model=answer.get("model")) if isinstance(usage, dict) else None


def tokens(usage: Json) -> Usage:
    """Disjoint classes; what is not a count counts as none.

    What was read from a cache stands in `cached_tokens`, and once more among the audio or the pictures it was.
    """
    total_input = count(usage, "prompt_tokens", "input_tokens")
    total_output = count(usage, "completion_tokens", "output_tokens")
    details_in = inner(usage, "prompt_tokens_details", "input_tokens_details")
    details_out = inner(usage, "completion_tokens_details", "output_tokens_details")
    if total_input:
        total_output = max(total_output, count(usage, "total_tokens") - total_input)
    cached = count(details_in, "cached_tokens") or count(usage, "prompt_cache_hit_tokens")
    of_cached = inner(details_in, "cached_tokens_details")
    cached_audio = min(cached, count(of_cached, "audio_tokens"))
    written = count(details_in, "cache_write_tokens", "cache_creation_tokens")
    hour = min(written, count(inner(details_in, "cache_creation_token_details"), "ephemeral_1h_input_tokens"))
    return of_totals(
        total_input=total_input,
        total_output=total_output,
        cache_read=cached - cached_audio,
        cache_read_audio=cached_audio,
        cache_write=written - hour,
        cache_write_1h=hour,
        audio_input=max(0, count(details_in, "audio_tokens") - cached_audio),
        image_input=max(0, count(details_in, "image_tokens") - count(of_cached, "image_tokens")),
        reasoning=count(details_out, "reasoning_tokens"),
        audio_output=count(details_out, "audio_tokens"),
        image_output=count(details_out, "image_tokens"),
    )


def nano(digits: str) -> int | None:
    """A JSON number of dollars as nano-dollars, rounded up, without ever being a float; None for what can't be."""
    try:
        amount = Decimal(digits)
    except InvalidOperation:
        return None
    if not amount.is_finite() or not 0 <= amount <= MOST_USD:
        return None
    return int((amount * NANO).to_integral_value(ROUND_CEILING))


def _charge(raw: bytes) -> int | None:
    try:
        found = msgspec.json.decode(raw, type=_Charged)
        if found.usage is None and (within := msgspec.json.decode(raw, type=_Responded).response):
            found = within
    except msgspec.MsgspecError:
        return None
    return nano(bytes(found.usage.cost).decode()) if found.usage else None
