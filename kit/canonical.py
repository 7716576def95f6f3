"""One spelling for every JSON value: sorted keys, no spaces, UTF-8. Digests and hash links are made over it.

`parse` is the strict reader for what a model or a sender wrote: what could be read in two ways is refused.
"""

import hashlib
import json
import re
from typing import Any

from kit.errors import Invalid

MAX_SAFE_INTEGER = 2**53
MAX_DEPTH = 64
_ODD = re.compile("[\\x00\\ud800-\\udfff]")
FLATTER = "Send a flatter value."


def dumps(value: object) -> str:
    """Canonical text of a JSON value; NaN and infinities are refused."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def digest(value: object) -> str:
    """Hex SHA-256 over the canonical text."""
    return hashlib.sha256(dumps(value).encode()).hexdigest()


def parse(text: str | bytes) -> Any:  # noqa: ANN401 - a JSON value is what it is
    """Read JSON that means one thing: no duplicate keys, no NaN, no integer beyond 2^53, at most 64 levels deep."""
    try:
        value = json.loads(text, object_pairs_hook=_pairs, parse_constant=_constant)
    except RecursionError as error:
        raise Invalid("json_too_deep", f"The JSON is nested more than {MAX_DEPTH} levels deep.", FLATTER) from error
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise Invalid("json_invalid", f"That is not JSON: {error}.", "Check quotes and commas.") from error
    except ValueError as error:  # Python reads no integer of more than 4300 digits
        raise Invalid("json_integer_too_large", "An integer is beyond 2^53.", "Send it as a string.") from error
    check(value)
    return value


def check(value: object, depth: int = 0) -> None:
    """Refuse what JSON readers disagree about, in a value that is already parsed."""
    if depth > MAX_DEPTH:
        raise Invalid("json_too_deep", f"The JSON is nested more than {MAX_DEPTH} levels deep.", FLATTER)
    if isinstance(value, dict):
        for key, item in value.items():
            check(key, depth + 1)
            check(item, depth + 1)
    elif isinstance(value, list):
        for item in value:
            check(item, depth + 1)
    elif isinstance(value, str) and _ODD.search(value):
        raise Invalid("json_odd_text", "A text holds a NUL or half a character.", "Send whole UTF-8 text without NUL.")
    elif isinstance(value, int) and not isinstance(value, bool) and abs(value) > MAX_SAFE_INTEGER:
        raise Invalid(
            "json_integer_too_large",
            f"The integer of {value.bit_length()} bits is beyond 2^53.",
            "Send it as a string.",
        )
    elif isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        raise Invalid("json_not_a_number", "NaN and infinities are not JSON.", "Send null or a number.")


def _pairs(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise Invalid(
            "json_duplicate_key", "The JSON has the same key twice in one object.", "Keep the one that is meant."
        )
    return found


def _constant(name: str) -> object:
    raise Invalid("json_not_a_number", f"{name} is not JSON.", "Send null or a number.")
