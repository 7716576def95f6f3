"""Plans: how much of everything an account may have. Pure.

Presets are the product page's; an owner edits them in `[plans.<id>]`.
"""

from dataclasses import dataclass

FRESH = "pro"
"""The plan of a fresh instance."""
GB = 1 << 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """None is no limit. `timeout_s` is the longest active time that a flow may ask for."""

    slots: int | None = None
    storage_bytes: int | None = None
    timeout_s: int | None = None


PRESETS = {
    "free": Plan(slots=1, storage_bytes=1 * GB, timeout_s=1800),
    "starter": Plan(slots=5, storage_bytes=10 * GB, timeout_s=3600),
    "pro": Plan(slots=20, storage_bytes=100 * GB, timeout_s=3600),
    "enterprise": Plan(timeout_s=7200),
}
