"""How OpenAI's dialects are addressed, and how a provider says no in them: in an answer of its own or in the middle.

Pure. Providers and proxies differ in the shape of an error and agree on a sentence in it.
"""

import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from email.utils import parsedate_to_datetime
from typing import Any

import msgspec

from gateway.dialects.dialect import Broken
from gateway.wires.neutral import Counted, Request
from kit.redaction import Redactor

MOST_CHARACTERS = 500
UNSAID = "It gave no reason."
_KEY = re.compile(
    r"\b(?:(?:(?:sk|key|gsk|xai|pplx)-|gsk_|hf_)[\w*.\-]+|AIza[\w\-]{20,}|AKIA\w{16}|(?<=Bearer )\S+)", re.ASCII
)
_SECONDS = re.compile(r"\d{1,6}(\.\d{1,9})?", re.ASCII)
_STATUSES = {
    "rate_limit_exceeded": 429,
    "insufficient_quota": 429,
    "invalid_prompt": 400,
    "context_length_exceeded": 400,
    "invalid_request_error": 400,
    "content_policy_violation": 400,
}


def headers(key: str | None, request: Request) -> Mapping[str, str]:
    """What a request is sent with; a local server may need no key."""
    accept = "text/event-stream" if request.stream else "application/json"
    sent = {"content-type": "application/json", "accept": accept}
    return sent | {"authorization": f"Bearer {key}"} if key else sent


def refused(body: bytes) -> str:
    """The provider's own sentence out of an error's body, as it stands there: for `told`."""
    try:
        value = msgspec.json.decode(body)
    except ValueError:
        return ""
    return sentence(value)


def told(text: str, key: str | None) -> str:
    """What others may read of a provider's sentence: without the key it was asked with, however it is spelled, without
    what looks like one, and at most 500 characters of it."""
    text = Redactor([key] if key else ()).text(text)
    text = _KEY.sub("…", "".join(character if character.isprintable() else " " for character in text)).strip()
    return text[:MOST_CHARACTERS] or UNSAID


def broken_by(error: object, counted: Counted | None = None) -> None:
    """Raise Broken if an answer names an error; `counted` is what it says was used."""
    if error is None or error is False or error == {}:
        return
    found = error if isinstance(error, dict) else {}
    status: Any = found.get("status") or found.get("code")
    if type(status) is not int or not 400 <= status < 600:
        status = _STATUSES.get(str(found.get("code")), _STATUSES.get(str(found.get("type")), 502))
    raise Broken(sentence(error) or UNSAID, status=status, counted=counted)


def retry_after_s(headers: Mapping[str, str], now: datetime) -> int | None:
    """Whole seconds, rounded up, of a Retry-After: a number, also with a fraction, or a date, which is taken from the
    answer's own clock where it tells it (RFC 9110, 10.2.3). None: not said, or not in a way that can be read."""
    value = headers.get("retry-after", "").strip()
    if _SECONDS.fullmatch(value):
        return math.ceil(Decimal(value))
    until, begun = _date(value), _date(headers.get("date", ""))
    return None if until is None else max(0, math.ceil((until - (begun or now)).total_seconds()))


def _date(text: str) -> datetime | None:
    try:
        found = parsedate_to_datetime(text)
    except ValueError:
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def sentence(value: object) -> str:
    """The sentence in whatever shape: {error: {message}}, {error}, {message}, {detail: [{msg}]}, a text."""
    for _ in range(4):
        if isinstance(value, list) and value:
            value = value[0]
        elif isinstance(value, dict):
            value = next((value[name] for name in ("error", "message", "detail", "msg") if value.get(name)), None)
    return value if isinstance(value, str) else ""
