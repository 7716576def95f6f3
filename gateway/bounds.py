"""How many tokens a request has before anybody counted them: probably, and at most.

Values and sums only. What is reserved of a budget is the most; what was used when nobody says so is what is probable.
"""

from gateway.upstream import Target
from gateway.wires.neutral import Request
from ledger import money

BYTES_PER_TOKEN = 3
"""For estimates of what was used when nobody counted. English is nearer 4."""
MEDIA_TOKENS = 3_000
"""More than any provider counts for one picture."""
TOOLS_TOKENS = 1_000
"""More than the instructions that a provider puts before a request with tools; Anthropic tells of up to 804."""
HOSTED_CALLS = 10
"""How often one request is taken to call each tool that runs at the provider."""


def estimate(size: int) -> int:
    """Tokens that so many bytes probably are."""
    return size // BYTES_PER_TOKEN + 1


def bound(request: Request, size: int) -> int:
    """Tokens that a body of so many bytes can't exceed: no token is shorter than a byte, and what providers add to a
    turn is shorter than its JSON; what they say of tools is not."""
    hidden = TOOLS_TOKENS if request.tools or request.hosted else 0
    return max(0, size - request.media_bytes) + request.media * MEDIA_TOKENS + hidden


def hosted_bound(request: Request, target: Target) -> int:
    """Nano-dollars for the tools a request lets run at the provider."""
    listed = target.settings.hosted_usd
    return sum(HOSTED_CALLS * money.parse(listed[name]) for name in request.hosted if name in listed)
