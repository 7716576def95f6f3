"""How many tokens a request has before anybody counted them: probably, and at most.

Values and sums only. What is reserved of a budget is the most; what was used when nobody says so is what is probable.
"""

from gateway.dialects import hosted, pictures
from gateway.settings import belongs
from gateway.upstream import Target
from gateway.wires.documents import Document
from gateway.wires.neutral import Request

BYTES_PER_TOKEN = 3
"""For estimates of what was used when nobody counted. English is nearer 4."""
TOOLS_TOKENS = 1_000
"""More than the instructions that a provider puts before a request with tools; Anthropic tells of up to 804."""


def estimate(size: int) -> int:
    """Tokens that so many bytes probably are."""
    return size // BYTES_PER_TOKEN + 1


def read_estimate(request: Request, size: int, target: Target) -> int:
    """Tokens that a body of so many bytes probably has."""
    seen = request.media * min(pictures.PROBABLY, target.max_picture) if request.media else 0
    return estimate(max(0, size - request.media_bytes)) + seen


def bound(request: Request, size: int, target: Target) -> int:
    """Tokens that a body of so many bytes can't exceed: no token is shorter than a byte, and what providers add to a
    turn is shorter than its JSON; what they say of tools is not."""
    hidden = TOOLS_TOKENS if request.tools or request.hosted else 0
    seen = request.media * target.max_picture if request.media else 0
    return max(0, size - request.media_bytes) + seen + hidden


def read_bound(request: Request, size: int, target: Target) -> int:
    """The same where the provider puts more before the model than was sent, out of a PDF or by its own tools: it may
    read all it can, once more for each use."""
    told = bound(request, size, target)
    more = request.hosted or _documents(request)
    return max(told, (target.max_input or 0) * (hosted.most(request) + 1)) if more else told


def _documents(request: Request) -> bool:
    """Are there PDFs? Nobody can say how many tokens one is before it was read."""
    return bool(request.media) and any(type(part) is Document for part in request.parts)


def unbounded(wire: str, request: Request, target: Target) -> str | None:
    """Why nobody can say what a request costs at most, as a hint for whoever wants it under a hard limit."""
    if not request.hosted and not _documents(request):
        return None
    if name := hosted.unbounded(wire, request):
        return f"This wire has no bound for the uses of {name!r}: leave it out, or ask a model of another provider."
    if target.max_input is None:
        return f"Set max_input_tokens, what the model reads at most, {belongs(target.alias)}."
    return None
