"""How values look to people: times, durations, money, states, and text that may be trying to deceive. Pure."""

import json
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal

DASH = "—"


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """How a state appears: its words, its tone (a CSS class) and its icon's name; never colour alone."""

    label: str
    tone: str
    icon: str


STATES = {
    "PENDING": Look(label="Pending", tone="quiet", icon="clock"),
    "RUNNING": Look(label="Running", tone="active", icon="play"),
    "WAITING_FOR_APPROVAL": Look(label="Waiting for Approval", tone="waiting", icon="hand"),
    "SUCCEEDED": Look(label="Succeeded", tone="good", icon="check"),
    "FAILED": Look(label="Failed", tone="bad", icon="cross"),
    "TIMEOUT": Look(label="Timeout", tone="late", icon="hourglass"),
    "CANCELLED": Look(label="Cancelled", tone="quiet", icon="stop"),
}
ICONS = {
    "PENDING": "state-pending.svg",
    "RUNNING": "state-running.svg",
    "WAITING_FOR_APPROVAL": "state-waiting.svg",
    "SUCCEEDED": "state-succeeded.svg",
    "FAILED": "state-failed.svg",
    "TIMEOUT": "state-timeout.svg",
    "CANCELLED": "state-cancelled.svg",
}
"""What a tab shows beside a run's title: a colour with a shape of its own."""
CALLS = {
    "ready": Look(label="Ready", tone="quiet", icon="clock"),
    "waiting": Look(label="Waiting for approval", tone="waiting", icon="hand"),
    "sent": Look(label="Running", tone="active", icon="play"),
    "succeeded": Look(label="Succeeded", tone="good", icon="check"),
    "failed": Look(label="Failed", tone="bad", icon="cross"),
    "denied": Look(label="Denied by a rule", tone="bad", icon="stop"),
    "declined": Look(label="Declined", tone="bad", icon="cross"),
    "expired": Look(label="Timeout", tone="late", icon="hourglass"),
    "withdrawn": Look(label="Withdrawn", tone="quiet", icon="stop"),
    "unknown": Look(label="Outcome unknown", tone="late", icon="question"),
}
APPROVALS = {
    "pending": Look(label="Pending", tone="waiting", icon="hand"),
    "approved": Look(label="Approved", tone="good", icon="check"),
    "consumed": Look(label="Approved", tone="good", icon="check"),
    "lapsed": Look(label="Approved, never used", tone="quiet", icon="hourglass"),
    "declined": Look(label="Declined", tone="bad", icon="cross"),
    "expired": Look(label="Timeout", tone="late", icon="hourglass"),
    "withdrawn": Look(label="Withdrawn", tone="quiet", icon="stop"),
    "void": Look(label="Void", tone="quiet", icon="stop"),
}
RISKS = {
    "high": Look(label="High risk", tone="bad", icon="shield"),
    "unclear": Look(label="Rule unclear", tone="late", icon="question"),
    "normal": Look(label="Asked by rule", tone="quiet", icon="shield"),
}
PINS = {
    "seen": Look(label="Waiting for an admin", tone="waiting", icon="hand"),
    "accepted": Look(label="Served", tone="good", icon="check"),
    "quarantined": Look(label="Quarantined", tone="bad", icon="shield"),
    "unusable": Look(label="Unusable", tone="bad", icon="shield"),
}
MODELS = {
    "answered": Look(label="Answered", tone="good", icon="check"),
    "failed": Look(label="Failed", tone="bad", icon="cross"),
    "cut": Look(label="Cut short", tone="late", icon="hourglass"),
    "lost": Look(label="Lost", tone="late", icon="question"),
}
RATES = {
    "good": Look(label="Healthy", tone="good", icon="check"),
    "fair": Look(label="Unsteady", tone="waiting", icon="warning"),
    "bad": Look(label="Failing", tone="bad", icon="cross"),
}
CAUSES = {
    "tool_failed": "Tool failure",
    "tool_not_allowed": "Tool not allowed",
    "invalid_arguments": "Invalid arguments",
    "approval_declined": "Approval declined",
    "approval_expired": "Approval timeout",
    "agent_error": "Agent error",
    "model_error": "Model error",
    "timeout": "Timeout",
}


def look(table: dict[str, Look], word: str) -> Look:
    """A word nobody has drawn yet is shown as it is."""
    return table.get(word) or Look(label=sentence(word), tone="quiet", icon="question")


def rate(succeeded: int, runs: int) -> Look:
    """How a success rate looks: above 90 %, from 70 to 90, below; of runs that there are."""
    return RATES["good" if succeeded * 10 > runs * 9 else "fair" if succeeded * 10 >= runs * 7 else "bad"]


def percent(part: int | float, whole: int | float = 1) -> str:
    """'90 %', '66.67 %': as many digits as tell a rate from its bound."""
    return f"{part / whole * 100:.2f}".rstrip("0").rstrip(".") + " %"


def sentence(code: str) -> str:
    """`out_of_memory` → 'Out of memory'."""
    return CAUSES.get(code) or code.replace("_", " ").capitalize()


def duration(ms: int | None) -> str:
    """Two units at most: '840 ms', '5.2 s', '4 min 12 s', '2 h 03 min'."""
    if ms is None:
        return DASH
    if ms < 1000:
        return f"{max(ms, 0)} ms"
    if ms < 60_000:
        return f"{int(ms / 100) / 10:.1f} s"
    minutes, seconds = divmod(ms // 1000, 60)
    if minutes < 60:
        return f"{minutes} min {seconds:02} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min" if hours < 48 else f"{hours // 24} d {hours % 24} h"


def stamp(moment: datetime | None) -> str:
    """'2026-11-22 09:30:17 UTC'."""
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC") if moment else DASH


def clock(moment: datetime | str) -> str:
    """The time of day of a log line: '09:30:17'."""
    return (datetime.fromisoformat(moment) if isinstance(moment, str) else moment).astimezone(UTC).strftime("%H:%M:%S")


def ago(moment: datetime | None, now: datetime) -> str:
    """'just now', '12 s ago', '4 min ago', '3 h ago', then the date."""
    if moment is None:
        return DASH
    seconds = int((now - moment).total_seconds())
    if seconds < 5:
        return "just now"
    for unit, size, limit in (("s", 1, 60), ("min", 60, 3600), ("h", 3600, 86_400)):
        if seconds < limit:
            return f"{seconds // size} {unit} ago"
    return moment.astimezone(UTC).strftime("%-d %b %Y, %H:%M UTC")


def octets(count: int) -> str:
    """'0 bytes', '840 bytes', '1.2 KB', '98.0 MB'; of 1,024."""
    if count < 1024:
        return f"{count} bytes"
    amount = float(count)
    for unit in ("KB", "MB", "GB"):
        amount /= 1024
        if amount < 1024 or unit == "GB":
            break
    return f"{amount:.1f} {unit}"


def money(usd: str | None) -> str:
    """A decimal string for people: cents, and more digits only where a cent says too little. None is unpriced."""
    if usd is None:
        return "unpriced"
    amount = Decimal(usd)
    if amount == 0 or amount >= 1:
        return f"${amount:,.2f}"
    digits = 4 if amount >= Decimal("0.0001") else 6
    shown = f"{amount:.{digits}f}".rstrip("0")
    return f"${shown}" if len(shown) > 3 else f"${amount:.2f}"


LINE = 120


def answer(result: object) -> object:
    """What a tool said, out of its MCP result: the structured content, else its texts, as JSON where they are that.
    What is no such result is told as it is."""
    if not isinstance(result, dict) or not isinstance(result.get("content"), list):
        return result
    if result.get("structuredContent") is not None:
        return result["structuredContent"]
    texts = [part.get("text") if isinstance(part, dict) else None for part in result["content"]]
    if not texts or not all(isinstance(text, str) for text in texts):
        return result
    said = "\n".join(map(str, texts))
    try:
        return json.loads(said)
    except (ValueError, RecursionError):
        return said


def line(value: object) -> str:
    """A JSON value, or the first line of a text, in one line of at most 120 characters."""
    text = value.strip().split("\n")[0] if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= LINE else f"{text[: LINE - 1]}…"


@dataclass(frozen=True, slots=True)
class Piece:
    """A run of text; a `hidden` one is the name of a character that would not be seen or would mislead."""

    text: str
    hidden: bool = False


def named(text: str) -> str:
    """The same where no element can stand, as in an attribute."""
    return "".join(piece.text for piece in pieces(text))


_WORD = re.compile(r"\w+|\W", re.DOTALL)
_PLAIN = re.compile(r"[\n\t -~]+")


def pieces(text: str) -> list[Piece]:
    """Text with control, bidi, zero-width and look-alike characters named: 'U+202E' instead of a reversed line."""
    if _PLAIN.fullmatch(text):
        return [Piece(text)]
    found: list[Piece] = []
    plain: list[str] = []
    for char, strange in _marked(text):
        if not strange:
            plain.append(char)
            continue
        if plain:
            found.append(Piece("".join(plain)))
            plain = []
        found.append(Piece(f"U+{ord(char):04X}", hidden=True))
    return [*found, Piece("".join(plain))] if plain else found


def _marked(text: str) -> Iterator[tuple[str, bool]]:
    """Each character, and whether it hides or pretends. Letters of two alphabets in one word: the foreign ones do."""
    for word in _WORD.findall(text):
        mixed = re.search("[A-Za-z]", word) is not None and not word.isascii()
        for char in word:
            yield char, _invisible(char) or (mixed and _foreign(char))


_IGNORED = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U000e0000-\U000e0fff]"
)
"""What Unicode has ignored by default (DerivedCoreProperties.txt) in other categories than those below, and a blank."""


def _invisible(char: str) -> bool:
    if char in "\n\t" or (char.isascii() and char.isprintable()):
        return False
    hidden = unicodedata.category(char) in {"Cc", "Cf", "Co", "Cn", "Cs", "Zl", "Zp", "Zs"}
    return hidden or _IGNORED.match(char) is not None


def _foreign(char: str) -> bool:
    return unicodedata.name(char, "").startswith(("CYRILLIC", "GREEK", "ARMENIAN", "CHEROKEE", "FULLWIDTH"))
