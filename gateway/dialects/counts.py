"""What OpenAI's dialects say a call used and cost, as classes that no token is in twice and as whole nano-dollars.

Pure. Their totals include the cached and the reasoning tokens (platform.openai.com/docs/api-reference/chat/object,
…/responses/object); servers that leave the reasoning out of the output show it in `total_tokens` (xAI).
"""

from decimal import ROUND_CEILING, Decimal, InvalidOperation
from typing import Any

import msgspec

from gateway.wires.neutral import Counted, Json
from ledger.money import NANO
from ledger.prices import Usage, of_totals

MOST_USD = 10**6
"""A charge of one call above this is taken for a mistake."""
MOST_TOKENS = 10**9


class _Charge(msgspec.Struct):
    cost: msgspec.Raw = msgspec.Raw(b"")


class _Charged(msgspec.Struct):
    usage: _Charge | None = None


class _Responded(msgspec.Struct):
    response: _Charged | None = None


def counted(usage: Json, upstream_id: object, raw: bytes) -> Counted:
    """A `usage` object of Chat, Responses or Embeddings. `raw` is the JSON around it, for the digits of a charge."""
    return Counted(
        usage=tokens(usage),
        upstream_id=upstream_id if isinstance(upstream_id, str) else None,
        cost_nano=_charge(raw) if usage.get("cost") is not None else None,
    )


def tokens(usage: Json) -> Usage:
    """Disjoint classes; what is not a count counts as none.

    What was read from a cache stands in `cached_tokens`, and once more among the audio or the pictures it was.
    """
    total_input = _first(usage, "prompt_tokens", "input_tokens")
    total_output = _first(usage, "completion_tokens", "output_tokens")
    details_in = _object(usage, "prompt_tokens_details", "input_tokens_details")
    details_out = _object(usage, "completion_tokens_details", "output_tokens_details")
    total_output = max(total_output, _first(usage, "total_tokens") - total_input)
    cached = _first(details_in, "cached_tokens") or _first(usage, "prompt_cache_hit_tokens")
    of_cached = _object(details_in, "cached_tokens_details")
    cached_audio = min(cached, _first(of_cached, "audio_tokens"))
    written = _first(details_in, "cache_write_tokens", "cache_creation_tokens")
    hour = min(written, _first(_object(details_in, "cache_creation_token_details"), "ephemeral_1h_input_tokens"))
    return of_totals(
        total_input=total_input,
        total_output=total_output,
        cache_read=cached - cached_audio,
        cache_read_audio=cached_audio,
        cache_write=written - hour,
        cache_write_1h=hour,
        audio_input=max(0, _first(details_in, "audio_tokens") - cached_audio),
        image_input=max(0, _first(details_in, "image_tokens") - _first(of_cached, "image_tokens")),
        reasoning=_first(details_out, "reasoning_tokens"),
        audio_output=_first(details_out, "audio_tokens"),
        image_output=_first(details_out, "image_tokens"),
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
        if found.usage is None and (inner := msgspec.json.decode(raw, type=_Responded).response):
            found = inner
    except msgspec.MsgspecError:
        return None
    return nano(bytes(found.usage.cost).decode()) if found.usage else None


def _first(counts: Json, *names: str) -> int:
    """The first of some counts that is there."""
    for name in names:
        value: Any = counts.get(name)
        if type(value) is int and value > 0:
            return min(value, MOST_TOKENS)
    return 0


def _object(usage: Json, *names: str) -> Json:
    return next((usage[name] for name in names if isinstance(usage.get(name), dict)), {})
