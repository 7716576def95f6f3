"""How wires that are not built yet hear it: each in its own error shape, so that its client shows our sentence."""

from gateway.wires.neutral import compact
from kit.errors import Fault

NOT_YET = (
    "not_supported_yet",
    "This wire is not supported yet.",
    "Use another one: /openai/v1 or /anthropic/v1.",
)
STATUS = 501
_WORDS = f"{NOT_YET[1]} {NOT_YET[2]}"


class Limited(Fault):
    """Too many calls at once or in a minute; after so many seconds there is room again."""

    status = 429

    def __init__(self, message: str, retry_after_s: int) -> None:
        super().__init__("rate_limited", message, "Ask again later, or raise the limit in the settings of the alias.")
        self.retry_after_s = retry_after_s


def absent(path: str) -> bool:
    return path.startswith("/gemini")


def not_yet(path: str) -> tuple[int, bytes]:
    """Status and body for a path of an absent wire."""
    code = NOT_YET[0]
    info = {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": code, "domain": "preloop"}
    error = {"error": {"code": STATUS, "message": _WORDS, "status": "UNIMPLEMENTED", "details": [info]}}
    return STATUS, compact(error).encode()
