"""Why a provider said no, in a word: out of its status and whatever its answer says. Pure.

Providers use one status for several things: OpenAI's 429 is also an empty account, Anthropic's 400 as well, and Google
says of every quota that it is time to look at one's billing. Only the word goes into the record, never their sentence
about an account or a key.
"""

import re
from typing import Literal

Reason = Literal[
    "rate_limited",  # later it would answer
    "credits_exhausted",  # its account has no money, or no quota for a long time
    "unauthorized",  # it doesn't take the key, or not for this
    "model_unknown",
    "context_length",  # more than the model reads at once
    "refused",  # the request is at fault in some other way
    "overloaded",
    "failed",  # it broke
]
LOOKED_AT = 8192
_BRIEF = re.compile(r"per[ _-]?minute|per[ _-]?second|\b[rt]pm\b", re.IGNORECASE)
_CREDITS = re.compile(
    r"insufficient[_ ](quota|balance|credits?|funds)|exceeded your current quota|credit balance is too low"
    r"|billing[_ ]hard[_ ]limit|out of credits|quota_exhausted|exceeded your monthly",
    re.IGNORECASE,
)
_BLAMED = (400, 404, 409, 413, 422)
"""Statuses whose sentences quote the request: what a client wrote must not pass for what the provider says."""
_ITS_CREDITS = re.compile(
    r'"(code|type|status)"\s*:\s*"(insufficient_(quota|balance|credits?|funds)|billing_hard_limit_reached|quota_exhausted)"'
    r'|"message"\s*:\s*"your credit balance is too low',
    re.IGNORECASE,
)
_LENGTH = re.compile(
    r"context_length_exceeded|maximum context length|context window|prompt is too long|input is too long"
    r"|input token count|maximum number of tokens|request_too_large",
    re.IGNORECASE,
)
_KEY = re.compile(r"(invalid|incorrect|expired|missing)[ _]api[ _]key|api key (not valid|expired)", re.IGNORECASE)
_MODEL = re.compile(r"model_not_found|model [^.]{0,200}(does not exist|not found|is not supported)", re.IGNORECASE)


def reason(status: int, said: bytes | str) -> Reason:
    """`status` is HTTP's, 400 to 599; `said` an error's body, or what is left of it."""
    text = (said.decode(errors="replace") if isinstance(said, bytes) else said)[:LOOKED_AT]
    if status >= 500:
        return "overloaded" if status in (503, 529) or "overloaded" in text.lower() else "failed"
    credits = _ITS_CREDITS if status in _BLAMED else _CREDITS
    if status == 402 or (credits.search(text) and not (status == 429 and _BRIEF.search(text))):
        return "credits_exhausted"
    if status == 429:
        return "rate_limited"
    if status in (401, 403) or _KEY.search(text):
        return "unauthorized"
    if status == 413 or _LENGTH.search(text):
        return "context_length"
    return "model_unknown" if status == 404 or _MODEL.search(text) else "refused"
