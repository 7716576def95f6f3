"""What a request carries, read strictly: forms, JSON bodies, cursors, numbers and times in the address."""

import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import TypeVar
from urllib.parse import parse_qsl, urlsplit

from pydantic import BaseModel, ConfigDict, ValidationError
from starlette.requests import Request

from kit import canonical
from kit.errors import Invalid

M = TypeVar("M", bound="Body")
E = TypeVar("E", bound=StrEnum)
_SINCE = {"h": "hours", "d": "days", "m": "minutes"}


class Body(BaseModel):
    """What the body of a request may say. A key that is not among it is refused: what is misspelt, or meant for another
    version, is never left out silently."""

    model_config = ConfigDict(extra="forbid")


async def form(request: Request, most: int = 100) -> Mapping[str, str]:
    """The fields of one of our own forms; the first of a name counts."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip()
    if kind != "application/x-www-form-urlencoded":
        raise Invalid("form_invalid", "This address takes a form.", "Send application/x-www-form-urlencoded.")
    try:
        pairs = parse_qsl((await request.body()).decode(), keep_blank_values=True, max_num_fields=most)
    except ValueError as error:
        raise Invalid("form_invalid", f"The form can't be read: {error}.") from error
    found = dict(reversed(pairs))
    canonical.check(found)
    return found


async def body(request: Request, model: type[M]) -> M:
    """A JSON body as a model; an empty body is `{}`. Errors name the first wrong key, an unknown one before others."""
    content = canonical.parse(await request.body() or b"{}")
    try:
        return model.model_validate(content)
    except ValidationError as error:
        wrong = error.errors(include_url=False)
        first = next((each for each in wrong if each["type"] == "extra_forbidden"), wrong[0])
        where = ".".join(str(part) for part in first["loc"])[:100] or "the body"
        if first["type"] == "extra_forbidden":
            known = ", ".join(model.model_fields)
            raise Invalid("body_unknown", f"The body knows no {where!r}.", f"It takes: {known}.") from error
        raise Invalid("body_invalid", f"{where}: {first['msg']}.", "/api/openapi.json describes it.") from error


def once(request: Request, who: str) -> str | None:
    """What an `Idempotency-Key` of this person at this address is remembered by; None without one."""
    key = request.headers.get("idempotency-key")
    return f"key:{hashlib.sha256(f'{who} {request.url.path} {key}'.encode()).hexdigest()}" if key else None


def choice(text: str, words: type[E]) -> E:
    """One word of an enum."""
    try:
        return words(text)
    except ValueError as error:
        raise Invalid("form_invalid", f"{text[:40]!r} is none of {', '.join(words)}.") from error


def number(request: Request, name: str, default: int, *, most: int = 10**12) -> int:
    """A number from 0 to `most` in the query."""
    text = request.query_params.get(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdecimal() and len(text) <= 12):
        raise Invalid("query_invalid", f"{name}={text[:40]!r} is not a number.")
    return min(int(text), most)


def flag(request: Request, name: str) -> bool:
    """`true` or `false` in the query; without it, false."""
    text = request.query_params.get(name, "false")
    if text not in ("true", "false"):
        raise Invalid("query_invalid", f"{name}={text[:40]!r} is neither true nor false.")
    return text == "true"


def since(request: Request, now: datetime) -> datetime | None:
    """`?since=24h`, `30m`, `7d`, or a time as RFC 3339."""
    text = request.query_params.get("since", "")
    if not text:
        return None
    try:
        if text[-1] in _SINCE and text.isascii() and text[:-1].isdecimal() and len(text) < 8:
            return now - timedelta(**{_SINCE[text[-1]]: int(text[:-1])})
        moment = datetime.fromisoformat(text)
        return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except (ValueError, OverflowError) as error:
        raise Invalid("query_invalid", f"since={text[:40]!r} is not a time.", "Write 24h, 7d or a time.") from error


def local(path: str, default: str = "/") -> str:
    """A path of our own to go on to, or the default: never another site's address."""
    parts = urlsplit(path)
    plain = path.startswith("/") and not path.startswith(("//", "/\\")) and path.isprintable() and "\\" not in path
    return path if plain and not parts.scheme and not parts.netloc else default
