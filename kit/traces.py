"""Spans as values, and ids that any process gives to the same thing without asking another one. Pure.

A trace is named by its first thing, a span by what it is about, so a restart or another replica goes on with the same
trace. W3C Trace Context (w3.org/TR/trace-context): `traceparent` is read here, `tracestate` is not kept.
"""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

Value = str | bool | int | float | tuple[str, ...]
_HEADER = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")


class Kind(StrEnum):
    INTERNAL = "internal"
    CLIENT = "client"  # a request to somebody else
    PRODUCER = "producer"  # it makes work that is done later


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """The trace that something belongs to. `parent` is the span that it came from, elsewhere; `sampled` what was said
    there of keeping it, None where nobody said anything."""

    trace: int
    parent: int | None = None
    sampled: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """Something that took from `start` to `end`."""

    context: Context
    id: int
    parent: int | None
    name: str
    start: datetime
    end: datetime
    kind: Kind = Kind.INTERNAL
    failed: bool = False
    attributes: Mapping[str, Value] = field(default_factory=dict)
    links: tuple[tuple[int, int], ...] = ()
    """(trace, span) of others that it has to do with."""


def trace_of(name: str) -> int:
    """The trace id, 128 bits, of whatever has this name."""
    return _number("trace", name, size=16)


def span_of(*names: str) -> int:
    """The span id, 64 bits, of what these names say together."""
    return _number("span", *names, size=8)


def _number(*names: str, size: int) -> int:
    digest = hashlib.sha256("\n".join(names).encode()).digest()
    return int.from_bytes(digest[:size]) or 1  # zero is no id


def traceparent(header: str | None) -> str | None:
    """A caller's `traceparent` as it is kept, of the version we know; None for one that says nothing."""
    found = _HEADER.fullmatch((header or "").strip())
    if found is None or found[1] == "ff" or (found[1] == "00" and found[5]):
        return None
    if not int(found[2], 16) or not int(found[3], 16):
        return None
    return f"00-{found[2]}-{found[3]}-{int(found[4], 16) & 1:02x}"


def context(name: str, kept: str | None = None) -> Context:
    """The trace of what has this name; a caller's, where a `traceparent` of theirs was kept."""
    if kept is None:
        return Context(trace=trace_of(name))
    _, trace, parent, flags = kept.split("-")
    return Context(trace=int(trace, 16), parent=int(parent, 16), sampled=flags == "01")
