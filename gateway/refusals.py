"""How wires that are not built yet hear it: each in its own error shape, so that its client shows our sentence."""

from gateway.wires.neutral import compact

NOT_YET = (
    "not_supported_yet",
    "This wire is not supported yet.",
    "Use /openai/v1/chat/completions or /openai/v1/responses.",
)
STATUS = 501
_EMBEDDINGS = "/openai/v1/embeddings"
_WORDS = f"{NOT_YET[1]} {NOT_YET[2]}"


def absent(path: str) -> bool:
    return path == _EMBEDDINGS or path.startswith(("/anthropic", "/gemini"))


def not_yet(path: str) -> tuple[int, bytes]:
    """Status and body for a path of an absent wire."""
    code = NOT_YET[0]
    if path.startswith("/anthropic"):
        error: object = {"type": "error", "error": {"type": "api_error", "message": f"{code}: {_WORDS}"}}
    elif path.startswith("/gemini"):
        info = {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": code, "domain": "preloop"}
        error = {"error": {"code": STATUS, "message": _WORDS, "status": "UNIMPLEMENTED", "details": [info]}}
    else:
        error = {"error": {"message": _WORDS, "type": "server_error", "param": None, "code": code}}
    return STATUS, compact(error).encode()
