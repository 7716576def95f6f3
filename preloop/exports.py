"""A provider's own account of a period, as it is downloaded: what was used and charged by day and model. Pure.

Read are the usage reports of OpenAI (platform.openai.com/docs/api-reference/usage/completions) and Anthropic
(platform.claude.com/docs/en/api/admin/usage_report/retrieve_messages), grouped by model, one page or a list of them;
and anything with the columns day, model, input, output and cost, as CSV or as a JSON list.
"""

import csv
import io
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation
from typing import Any

from kit.errors import Invalid

HINT = "docs/spend.md says which files can be compared."
_COLUMNS = {
    "day": ("day", "date"),
    "model": ("model",),
    "input": ("input", "input_tokens"),
    "output": ("output", "output_tokens"),
    "cost": ("cost", "cost_usd", "usd"),
}
_ACCEPTED = "; ".join(" or ".join(names) for names in _COLUMNS.values())
_WHOLE = re.compile(r"[0-9]{1,15}", re.ASCII)
Key = tuple[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Used:
    """Of one model on one day: all tokens in and out, cached or not. `cost_usd` is None where nobody says."""

    input: int = 0
    output: int = 0
    cost_usd: Decimal | None = None

    def __add__(self, other: "Used") -> "Used":
        costs = [cost for cost in (self.cost_usd, other.cost_usd) if cost is not None]
        total = sum(costs, Decimal()) if costs else None
        return Used(input=self.input + other.input, output=self.output + other.output, cost_usd=total)


@dataclass(frozen=True, slots=True, kw_only=True)
class Export:
    """`provider` is known where the shape tells it. Days are both included, in UTC."""

    provider: str | None
    first: date
    last: date
    used: Mapping[Key, Used]


def read(text: str) -> Export:
    """Invalid for what is none of the known shapes, isn't grouped by model, or is a page that others follow."""
    if text.lstrip()[:1] not in ("{", "["):
        return _of_rows(_csv(text))
    try:
        found = json.loads(text, parse_float=Decimal, parse_constant=_refused)
    except ValueError as error:
        raise Invalid("export_invalid", f"The export is no JSON: {error}.", HINT) from error
    pages = found if isinstance(found, list) else [found]
    if not all(isinstance(page, dict) for page in pages):
        raise Invalid("export_invalid", "The export is no list of objects.", HINT)
    return _of_pages(pages) if any("data" in page for page in pages) else _of_rows(pages)


def _refused(word: str) -> None:
    raise ValueError(f"{word} is no number")


def _of_pages(pages: list[dict[str, Any]]) -> Export:
    if pages[-1].get("has_more"):
        raise Invalid("export_partial", "The export goes on: it is not the last page.", "Put all pages into one list.")
    buckets = [bucket for page in pages for bucket in _list(page, "data")]
    providers = {"openai" if "start_time" in bucket else "anthropic" for bucket in buckets}
    if len(providers) != 1:
        raise Invalid("export_invalid", "The export has no days of one provider in it.", HINT)
    rows, days = [], []
    for bucket in buckets:
        days.append(_moment(bucket))
        rows += [(days[-1], _model(result), _reported(result)) for result in _list(bucket, "results")]
    return _summed(providers.pop(), rows, days)


def _moment(bucket: Mapping[str, Any]) -> date:
    try:
        if "start_time" in bucket:
            return datetime.fromtimestamp(int(bucket["start_time"]), UTC).date()
        return datetime.fromisoformat(bucket["starting_at"]).astimezone(UTC).date()
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise Invalid("export_invalid", "A bucket of the export has no day.", HINT) from error


def _reported(result: Mapping[str, Any]) -> Used:
    """OpenAI's input includes what was cached, Anthropic's parts stand side by side."""
    if "uncached_input_tokens" not in result:
        return Used(input=_count(result, "input_tokens"), output=_count(result, "output_tokens"))
    created = result.get("cache_creation") or {}
    names = ("uncached_input_tokens", "cache_read_input_tokens")
    flat = ("cache_creation_5m_input_tokens", "cache_creation_1h_input_tokens")
    written = [_count(created, name) for name in ("ephemeral_5m_input_tokens", "ephemeral_1h_input_tokens")]
    total = sum(_count(result, name) for name in (*names, *flat)) + sum(written)
    return Used(input=total, output=_count(result, "output_tokens"))


def _csv(text: str) -> list[dict[str, Any]]:
    rows = csv.DictReader(io.StringIO(text.removeprefix("\ufeff")))
    return list(rows)


def _named(row: dict[str, Any]) -> dict[str, Any]:
    """A row by the names of columns as we spell them: `Input Tokens` is input_tokens."""
    plain = {re.sub(r"[\s_-]+", "_", (name or "").strip().lower()): value for name, value in row.items()}
    missing = [name for name in ("day", "model", "input", "output") if not plain.keys() & set(_COLUMNS[name])]
    if missing:
        what = f"The export has no column {missing[0]!r}."
        raise Invalid("export_invalid", what, f"Its columns may be called {_ACCEPTED}; the cost may be missing.")
    return plain


def _of_rows(rows: list[dict[str, Any]]) -> Export:
    found = []
    for number, row in enumerate(map(_named, rows), 1):
        own = {name: next((row[other] for other in others if other in row), None) for name, others in _COLUMNS.items()}
        try:
            day = date.fromisoformat(str(own["day"])[:10])
        except ValueError as error:
            raise Invalid("export_invalid", f"Row {number} of the export has no day like 2026-11-22.", HINT) from error
        used = Used(input=_count(own, "input"), output=_count(own, "output"), cost_usd=_cost(own["cost"]))
        found.append((day, _model(own), used))
    return _summed(None, found, [day for day, _, _ in found])


def _summed(provider: str | None, rows: Iterable[tuple[date, str, Used]], days: list[date]) -> Export:
    if not days:
        raise Invalid("export_empty", "The export has no day in it.", HINT)
    used: dict[Key, Used] = {}
    for day, model, one in rows:
        key = (day.isoformat(), model)
        used[key] = used.get(key, Used()) + one
    return Export(provider=provider, first=min(days), last=max(days), used=used)


def _model(row: Mapping[str, Any]) -> str:
    model = row.get("model")
    if not isinstance(model, str) or not model:
        raise Invalid("export_invalid", "A row of the export has no model.", "Download it grouped by model.")
    return model


def _count(row: Mapping[str, Any], name: str) -> int:
    value = row.get(name)
    if value in (None, ""):
        return 0
    if not _WHOLE.fullmatch(str(value).strip()):
        raise Invalid("export_invalid", f"{name} of the export is {str(value)[:40]!r}, no whole number.", HINT)
    return int(value)


def _cost(value: object) -> Decimal | None:
    if value in (None, ""):
        return None
    try:
        cost = Decimal(str(value).strip().removeprefix("$"))
    except InvalidOperation:
        cost = Decimal("NaN")
    if not cost.is_finite() or cost < 0:
        raise Invalid("export_invalid", f"A cost of the export is {str(value)[:40]!r}, no dollars.", HINT)
    return cost


def _list(value: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    found = value.get(name)
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
        raise Invalid("export_invalid", f"The export has no list of {name}.", HINT)
    return found
