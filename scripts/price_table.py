"""Compile LiteLLM's price map into `ledger/price_table.json`: whole nano-dollars per million tokens, by token class.

The map is read from the installed package's files, nothing of LiteLLM is imported. Its numbers are decimal text all the
way. What we could not bill whole is left out and so has no list price: models that are also charged by the request, the
second or the picture, those that always search, and those that are listed at nothing.
"""

import hashlib
import json
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from importlib import metadata, util
from pathlib import Path
from typing import Any

from ledger import price_list
from ledger.money import MILLION
from ledger.prices import CLASSES, KIN

TABLE = Path(__file__).parents[1] / "ledger" / price_list.FILE
MAP = "model_prices_and_context_window_backup.json"
PER_MILLION = 10**15
"""Nano-dollars per million tokens in a dollar per token."""
MODES = ("chat", "responses", "embedding")
FIELDS: Mapping[str, Sequence[str]] = {
    "input": ("input_cost_per_token",),
    "cache_read": ("cache_read_input_token_cost", "input_cost_per_token_cache_hit"),
    "cache_read_audio": ("cache_read_input_audio_token_cost",),
    "cache_write": ("cache_creation_input_token_cost",),
    "cache_write_1h": ("cache_creation_input_token_cost_above_1hr",),
    "audio_input": ("input_cost_per_audio_token",),
    "image_input": ("input_cost_per_image_token",),
    "output": ("output_cost_per_token",),
    "reasoning": ("output_cost_per_reasoning_token",),
    "audio_output": ("output_cost_per_audio_token",),
    "image_output": ("output_cost_per_image_token",),
}
OTHERWISE_BILLED = (
    "input_cost_per_request", "input_cost_per_character", "output_cost_per_character", "input_cost_per_image",
    "input_cost_per_second", "output_cost_per_second", "input_cost_per_audio_per_second", "citation_cost_per_token",
    "input_cost_per_video_per_second", "output_cost_per_video_per_second",
)  # fmt: skip
ABOVE = "_above_{}k_tokens"
THRESHOLDS = (32, 100, 128, 200, 256, 272, 512)
SAME_PROVIDER = {
    "bedrock_converse": "bedrock",
    "cohere_chat": "cohere",
    "fireworks_ai-embedding-models": "fireworks_ai",
}
"""LiteLLM's families of one provider, which it is asked for by one name."""
Entry = Mapping[str, Any]


def installed() -> tuple[str, str]:
    """The text of the map, and whose it is."""
    found = util.find_spec("litellm")
    if found is None or found.origin is None:
        raise SystemExit("litellm is not installed: scripts/prices needs what requirements-dev.lock has")
    return (Path(found.origin).parent / MAP).read_text(), f"litellm {metadata.version('litellm')}"


def models(text: str) -> dict[str, dict[str, object]]:
    """`provider/model` → a row of the table."""
    found: dict[str, dict[str, object]] = {}
    entries: dict[str, Entry] = json.loads(text, parse_float=Decimal)
    for key in sorted(entries, key=lambda name: ("/" in name, name)):  # with its provider in front it has the last word
        entry = entries[key]
        if entry.get("mode") in MODES and (row := _row(key, entry)):
            found[_name(key, str(entry["litellm_provider"]))] = row
    return found


def _name(key: str, provider: str) -> str:
    provider = "vertex_ai" if provider.startswith("vertex_ai-") else SAME_PROVIDER.get(provider, provider)
    return f"{provider}/{key.removeprefix(provider + '/')}"


def _row(key: str, entry: Entry) -> dict[str, object] | None:
    steps = entry.get("tiered_pricing") or ()
    rates = _rates({**entry, **(steps[0] if steps else {})})
    if not _whole(key, entry, rates):
        return None
    above = {str(k * 1000): _rates(entry, ABOVE.format(k)) for k in THRESHOLDS}
    above |= {str(int(step["range"][0])): _rates(step) for step in steps[1:]}
    own = {name: rate for name, rate in rates.items() if rate != rates.get(dict(KIN).get(name, ""))}
    rates, further = own, {limit: own | more for limit, more in above.items() if more}
    return {"rates": rates} | ({"above": further} if further else {}) | _search(entry)


def _search(entry: Entry) -> dict[str, object]:
    """What a search at the provider costs and how much the model reads, if all sizes of a search cost the same."""
    costs = set((entry.get("search_context_cost_per_query") or {}).values())
    if len(costs) != 1:
        return {}
    found: dict[str, object] = {"search": _nano(costs.pop()) // MILLION}
    return found | ({"window": window} if isinstance(window := entry.get("max_input_tokens"), int) else {})


def _whole(key: str, entry: Entry, rates: Mapping[str, int]) -> bool:
    """Whether tokens are all that is paid for, and each of its tokens has a price."""
    embeds = entry["mode"] == "embedding"
    if "input" not in rates or not ("output" in rates or embeds) or not any(rates.values()):
        return False
    searches = entry.get("search_context_cost_per_query") and ("search" in key or key.startswith("perplexity/"))
    makes = entry.get("supported_output_modalities") or ()
    unpriced = entry.get("output_cost_per_image") and "image" in makes and "image_output" not in rates
    unpriced = unpriced or ("audio" in makes and "audio_output" not in rates)
    moving = _nano(entry.get("input_cost_per_video_token", 0)) > rates["input"]  # its frames are counted as input
    return not (searches or unpriced or moving or "video" in makes or any(entry.get(name) for name in OTHERWISE_BILLED))


def _rates(entry: Entry, suffix: str = "") -> dict[str, int]:
    found = {}
    for name in CLASSES:
        value = next((entry[field + suffix] for field in FIELDS[name] if entry.get(field + suffix) is not None), None)
        if value is not None:
            found[name] = _nano(value)
    if not suffix and entry.get("mode") == "embedding":
        found.setdefault("output", 0)
    return found


def _nano(dollars: Decimal | int) -> int:
    """Per token → per million. A few numbers in the map have the dust of somebody's floats on them: rounded off."""
    return int((Decimal(dollars) * PER_MILLION).to_integral_value())


def text(day: date, prices: Mapping[str, Mapping[str, object]], source: str) -> str:
    """The whole file."""
    digest = hashlib.sha256(json.dumps(prices, sort_keys=True).encode()).hexdigest()[:12]
    return price_list.compiled(f"{day.isoformat()}.{digest}", day.isoformat(), source, prices)


def main(arguments: Sequence[str]) -> int:
    content, source = installed()
    found = models(content)
    before = json.loads(TABLE.read_text()) if TABLE.exists() else {}
    if before and text(date.fromisoformat(before["effective"]), found, source) == TABLE.read_text():
        print(f"{TABLE.name}: {before['version']}, {len(found)} models, unchanged")
        return 0
    day = date.fromisoformat(arguments[1]) if arguments[:1] == ["--day"] else datetime.now(UTC).date()
    TABLE.write_text(text(day, found, source))
    print(f"{TABLE.name}: {json.loads(TABLE.read_text())['version']}, {len(found)} models of {source}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
