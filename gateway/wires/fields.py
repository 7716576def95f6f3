"""A client's JSON, read strictly: which fields there may be, of which kind, and the error that names one that is wrong.

Pure. Providers' answers are read loosely instead: `dialects/told`.
"""

from typing import Any

from gateway.wires.neutral import Json
from kit.errors import Invalid

MOST_NAME = 128
"""Characters in the name of a tool: Anthropic's bound, the widest."""
MOST_DEPTH = 64


def only(body: Json, allowed: frozenset[str], where: str = "here") -> None:
    """Refuse a field that is not on the list, by its name. One that is null was not sent: it is taken out of `body`."""
    if body.keys() <= allowed:
        return
    for name in [name for name in body if name not in allowed]:
        if body[name] is not None:
            raise Invalid("field_not_allowed", f"The field `{name}` is not allowed {where}.", "Leave it out.")
        del body[name]


def typed(body: Json, name: str, *kinds: type) -> Any:  # noqa: ANN401 - a JSON value of one of `kinds`
    """A field's value, or None when absent; of another type than `kinds` it is refused by name."""
    value = body.get(name)
    if value is not None and type(value) not in kinds:  # exactly: JSON's true is no 1
        raise Invalid("field_invalid", f"The field `{name}` has the wrong type.")
    return value


def required(body: Json, name: str, *kinds: type) -> Any:  # noqa: ANN401 - a JSON value of one of `kinds`
    value = typed(body, name, *kinds)
    if value is None:
        raise Invalid("field_missing", f"The field `{name}` is missing.")
    return value


def tool_name(item: Json, name: str = "name") -> str:
    """What a tool is called; no longer than any provider takes, for results repeat it."""
    found: str = required(item, name, str)
    if len(found) > MOST_NAME:
        raise Invalid("field_invalid", f"The name of a tool is longer than {MOST_NAME} characters.", "Shorten it.")
    return found


def flat_enough(depth: int) -> None:
    """Refuse a schema that goes deeper than anybody writes one: whoever reads it would fall over it."""
    if depth > MOST_DEPTH:
        raise Invalid("schema_too_deep", f"A schema is deeper than {MOST_DEPTH} levels.", "Make it flatter.")


def objects(body: Json, name: str) -> list[Json]:
    """A field that is a list of objects; absent is empty."""
    value: list[object] = typed(body, name, list) or []
    if not all(isinstance(item, dict) for item in value):
        raise Invalid("field_invalid", f"The field `{name}` is not a list of objects.")
    return [item for item in value if isinstance(item, dict)]


def words(body: Json, name: str) -> list[str]:
    """A field that is a list of texts; absent is empty."""
    value: list[str] = typed(body, name, list) or []
    if not all(isinstance(item, str) for item in value):
        raise Invalid("field_invalid", f"The field `{name}` is not a list of texts.")
    return value


def unsupported(what: str) -> Invalid:
    return Invalid("not_supported_yet", f"{what} is not supported yet.", "Leave it out.")


def positive(body: Json, *names: str) -> int | None:
    """The first of some fields that was sent, a whole number above zero."""
    for name in names:
        value: int | None = typed(body, name, int)
        if value is not None:
            if value < 1:
                raise Invalid("field_invalid", f"The field `{name}` must be at least 1.")
            return value
    return None
