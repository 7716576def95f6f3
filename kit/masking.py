"""Secrets in JSON, recognised by the name of their key or by their own look, and replaced for showing and writing down.

Known looks are the documented prefixes of widely used tokens, JSON web tokens, private keys and passwords in addresses.
What looks like none of them and has a harmless name is not recognised: this helps, it does not promise. Pure.
"""

import json
import re
from typing import Any

MASK = "••••••••"
MOST = 1 << 20
"""Characters of a text that is looked into as JSON."""
_NAME = re.compile(
    r"pass(word|wd|phrase)?$|secret|token$|api[-_ ]?key|authorization|credential|private[-_ ]?key|^pin$|cvv|cvc", re.I
)
_LOOK = re.compile(
    r"-----BEGIN [A-Z ]*PRIVATE KEY-----(?:[^-]*-----END [A-Z ]*PRIVATE KEY-----)?"
    r"|\b(?:sk|rk|pk)[-_][A-Za-z0-9_-]{16,}"
    r"|\b(?:gh[pousr]|github_pat|glpat|whsec)[-_][A-Za-z0-9_+/=-]{16,}"
    r"|\bxox[a-z]-[A-Za-z0-9-]{10,}"
    r"|\bAKIA[0-9A-Z]{16}\b"
    r"|\bAIza[0-9A-Za-z_-]{35}"
    r"|\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*"
    r"|(?<=Bearer )[A-Za-z0-9._~+/-]{16,}=*"
    r"|(?<=://)[^\s/@:]{0,200}:[^\s/@]{1,200}(?=@)"
)


def is_name(key: str) -> bool:
    """Does a key of this name hold a secret?"""
    return _NAME.search(key) is not None


def text(value: str) -> str:
    """The same text with a mask in the place of whatever looks like a secret; in one that is itself a JSON object or
    array also of what has a secret's name, and then written anew."""
    if value[:1] + value[-1:] in ("{}", "[]") and len(value) <= MOST:
        try:
            inner = json.loads(value)
            shown = masked(inner)
            if shown != inner:
                return json.dumps(shown, ensure_ascii=False)
        except (ValueError, RecursionError):
            pass
    return _LOOK.sub(MASK, value)


def masked(value: Any, *, secret: bool = False) -> Any:  # noqa: ANN401 - a JSON value
    """The same JSON value with its secrets replaced; `secret` says that a name above it was one. What is empty, or only
    yes or no, stays: it hides nothing, and to see that a key is not set helps."""
    if isinstance(value, dict):
        return {key: masked(inner, secret=secret or is_name(str(key))) for key, inner in value.items()}
    if isinstance(value, list):
        return [masked(inner, secret=secret) for inner in value]
    if secret and not isinstance(value, bool) and value not in (None, ""):
        return MASK
    return text(value) if isinstance(value, str) else value
