"""CEL behind a wrapper that believes only True and False.

The engine does not raise on evaluation errors, it answers with an error text that is truthy; and the model chooses the
types of the arguments. So: anything but exactly True or False is a RuleError, and policy turns that into asking or
denying. A number that compares as false with everything (NaN) or with nothing on one side (infinities) is one too.
"""

from functools import lru_cache
from typing import Any

from cel_expr_python import cel

from kit import canonical
from kit.errors import Invalid

VARIABLES = ("args", "flow", "execution", "principal", "now")
"""What an expression may name. `now` is a timestamp, the others are maps (`flow` a text)."""
MAX_LENGTH = 2000


class RuleError(Exception):
    """The expression did not come out as true or false."""


@lru_cache
def _environment() -> Any:  # noqa: ANN401 - the engine's own class
    types = {name: cel.Type.TIMESTAMP if name == "now" else cel.Type.DYN for name in VARIABLES}
    return cel.NewEnv(variables=types)


@lru_cache(maxsize=1000)
def _compiled(expression: str) -> Any:  # noqa: ANN401 - the engine's own class
    if len(expression) > MAX_LENGTH:
        raise RuleError(f"the expression is longer than {MAX_LENGTH} characters")
    try:
        return _environment().compile(expression)
    except Exception as error:  # the engine has no exception class of its own
        raise RuleError(str(error).strip().splitlines()[0]) from error


def check(expression: str) -> None:
    """Refuse an expression that can't be compiled, when the flow is saved."""
    try:
        _compiled(expression)
    except RuleError as error:
        raise Invalid("rule_invalid", f"{expression!r} is not a CEL expression: {error}.") from error


def evaluate(expression: str, facts: dict[str, Any]) -> bool:
    """True or False, or RuleError."""
    program = _compiled(expression)
    try:
        canonical.check(facts.get("args"))
        value = program.eval(data=facts).value()
    except Exception as error:  # a Fault, or the engine's, which has no exception class of its own
        raise RuleError(str(error)) from error
    if value is True or value is False:
        return bool(value)
    raise RuleError(f"{expression!r} gave {str(value)[:200]!r} instead of true or false")
