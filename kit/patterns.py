"""Regular expressions of a schema, on RE2, which never backtracks. What RE2 can't say (look-ahead, back-references)
is refused, and so are expressions that are too large together. A match is counted as work. Pure.
"""

import re
from collections.abc import Iterable
from functools import lru_cache
from time import thread_time_ns
from typing import Any

import re2

from kit.errors import Invalid
from kit.work import TooMuch, budget

KEPT = 1024
"""Compiled patterns."""
MOST = 1000
"""Patterns of one schema: those that are in use stay compiled."""
MEMORY = 2**20
"""Bytes one of them may take."""
INSTRUCTIONS = 100_000
"""Of all patterns of one schema, compiled."""
MATCHED = 200
"""Characters × instructions of a pattern for one unit of work, at worst."""
LONGEST = 200_000
"""Units that one match may take at worst: nothing can stop it on its way."""
SURE = 50
"""Above so many units a match is timed: hardly any is at its worst."""
_ESCAPED = re.compile(r"\\(\\|u([0-9a-fA-F]{4})|/)")


@lru_cache(KEPT)
def _compiled(pattern: str) -> Any:  # noqa: ANN401 - RE2's binding has no types
    """With `search` and `programsize`; re2.error when it has no linear time."""
    options = re2.Options()
    options.log_errors = False
    options.max_mem = MEMORY
    return re2.compile(_ESCAPED.sub(_translated, pattern), options)


def _translated(found: "re.Match[str]") -> str:
    """ECMAScript's \\u0041 and \\/ in RE2's spelling."""
    if found[2]:
        return f"\\x{{{found[2]}}}"
    return "/" if found[1] == "/" else found[0]


def check(whose: str, found: Iterable[str]) -> None:
    """Refuse patterns that can't be matched in linear time."""
    size, patterns = 0, list(dict.fromkeys(found))
    if len(patterns) > MOST:
        raise Invalid("schema_pattern", f"The schema of {whose} has more than {MOST} patterns.")
    for pattern in patterns:
        try:
            size += _compiled(pattern).programsize
        except re2.error as error:
            said = error.args[0].decode(errors="replace") if isinstance(error.args[0], bytes) else str(error)
            raise Invalid(
                "schema_pattern",
                f"The schema of {whose} has the pattern {pattern[:200]!r}, which has no linear time: {said[:200]}.",
            ) from error
        if size > INSTRUCTIONS:
            raise Invalid("schema_pattern", f"The patterns in the schema of {whose} are too large together.")


def matches(pattern: str, text: str) -> bool:
    """TooMuch when it might take longer than one may."""
    expression = _compiled(pattern)
    worst = 1 + len(text) * expression.programsize // MATCHED
    if worst <= SURE:
        budget().spend(worst)
        return expression.search(text) is not None
    if worst > LONGEST:
        raise TooMuch
    began = thread_time_ns()
    found = expression.search(text) is not None
    budget().spend(SURE + (thread_time_ns() - began) // 1000)
    return found
