"""What is in force, and where each value came from: a flag, the environment, the file, or a default.

A key is written as in preloop.toml, `server.port`; a list is one value. Secrets are masked: settings that are ones have
a type of their own, and whatever looks like one elsewhere is not shown either.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel

from kit import masking
from kit.errors import Invalid
from preloop.settings import Settings, load, stated

Source = Literal["flag", "environment", "file", "default"]
_Path = tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One value as JSON has it."""

    key: str
    value: object
    source: Source


def told(settings: Settings) -> list[Setting]:
    """Every value with its source, in the order of the sections."""
    sources = stated(settings)
    alone = _without_flags(settings)
    return [
        Setting(key=".".join(path), value=masking.masked(value), source=_source(path, value, given, sources, alone))
        for path, value, given in _leaves(settings, settings.model_dump(mode="json"), ())
    ]


def _leaves(model: BaseModel, dumped: Mapping[str, Any], at: _Path) -> Iterator[tuple[_Path, Any, bool]]:
    """(path, value as JSON, was it stated) of everything that holds no further names."""
    for name in type(model).model_fields:
        yield from _inside(getattr(model, name), dumped[name], (*at, name), name in model.model_fields_set)


def _inside(value: object, dumped: Any, at: _Path, given: bool) -> Iterator[tuple[_Path, Any, bool]]:  # noqa: ANN401
    if isinstance(value, BaseModel):
        yield from _leaves(value, dumped, at)
    elif isinstance(value, Mapping) and value:
        for key, inner in value.items():
            yield from _inside(inner, dumped[key], (*at, str(key)), given)
    else:
        yield at, dumped, given


def _without_flags(settings: Settings) -> dict[_Path, Any]:
    """What environment and file alone would have given; nothing where they would not do."""
    try:
        plain = load(config=settings.config)
    except Invalid:
        return {}
    return {path: value for path, value, _ in _leaves(plain, plain.model_dump(mode="json"), ())}


def _source(
    path: _Path, value: object, given: bool, sources: Mapping[Source, Mapping[str, Any]], alone: Mapping[_Path, Any]
) -> Source:
    if path in alone and alone[path] != value:
        return "flag"
    found: Source | None = next((name for name, said in sources.items() if _says(said, path)), None)
    if found is not None:
        return found
    if not given or path[0] in _WHOLE:
        return "default"
    near = (name for end in range(len(path) - 1, 0, -1) for name, said in sources.items() if _says(said, path[:end]))
    return next(near, "flag")  # written in a short form, as an alias with one upstream is


_WHOLE = {name for name, field in Settings.model_fields.items() if isinstance(field.default, BaseModel)}
"""Sections that are there without being stated: what is said of them is said key by key."""


def _says(said: object, path: _Path) -> bool:
    for step in path:
        if not isinstance(said, Mapping):
            return True  # a whole table as one text
        if step not in said:
            return False
        said = said[step]
    return True
