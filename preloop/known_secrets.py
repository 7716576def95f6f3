"""The secrets that the settings of this process hold: what no stored line of an agent may show."""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from urllib.parse import unquote, urlsplit

from pydantic import BaseModel, SecretStr

from kit.errors import Invalid
from preloop.settings import Settings

_FILE = "_file"


def known_secrets(settings: Settings) -> set[str]:
    """Each value, and the password of one that is an address. Of key files what they hold now; one that can't be read
    holds none."""
    found: list[object] = [settings]
    for opened in (settings.opened_servers, settings.opened_git, settings.opened_direct):
        with suppress(Invalid):  # this role does not dial them, and has not what they need
            found.append(opened())
    with suppress(Invalid):
        found.append({name: SecretStr(value) for name, value in settings.opened_telemetry_headers().items()})
    return {part for whole in found for value in _values(whole, "") for part in _parts(value) if part}


def _values(value: object, name: str) -> Iterator[str]:
    if isinstance(value, SecretStr):
        yield value.get_secret_value()
    elif isinstance(value, Path) and name.endswith(_FILE):
        yield _held(value)
    elif isinstance(value, BaseModel):
        for field in type(value).model_fields:
            yield from _values(getattr(value, field), field)
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _values(inner, str(key))
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _values(inner, name)


def _held(path: Path) -> str:
    try:
        return path.read_text().strip()
    except (OSError, UnicodeDecodeError):
        return ""


def _parts(value: str) -> Iterator[str]:
    yield value
    if "://" in value:
        yield unquote(urlsplit(value).password or "")
