"""The hash link between events, and the proof that a stream is whole. Pure over (body, hash) pairs; it knows no event
type."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Broken:
    """The first event whose number, link or seal is wrong."""

    seq: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What a walk over a stream found: how many events, and how many of them the last seal covers."""

    events: int
    sealed: int
    broken: Broken | None = None

    @property
    def unsealed(self) -> int:
        """Events at the end that no checkpoint vouches for yet."""
        return max(0, self.events - self.sealed)


def link(previous: str, body: str) -> str:
    """sha256(previous hex + newline + body) as hex; a stream begins with the empty text as its previous."""
    return hashlib.sha256(f"{previous}\n{body}".encode()).hexdigest()


def verify(rows: Iterable[tuple[int, str, str]], *, after: int = 0, previous: str = "") -> Broken | None:
    """Walk (seq, body, hash) in order, from a known point; None when every number and link holds."""
    expected = after + 1
    for seq, body, stored in rows:
        if seq != expected:
            return Broken(seq=expected, reason=f"event {expected} is missing")
        previous = link(previous, body)
        if previous != stored:
            return Broken(seq=seq, reason=f"event {seq} or one before it was changed")
        expected += 1
    return None


def forged(rows: Iterable[tuple[int, str, str]], seals: Mapping[int, str]) -> Broken | None:
    """The first event that a checkpoint knows with another hash: whoever rewrote the chain could not rewrite that."""
    for seq, _, stored in rows:
        if seals.get(seq, stored) != stored:
            return Broken(
                seq=seq, reason=f"event {seq} is not the one that was sealed: the chain before it was rewritten"
            )
    return None


def unlike(rows: Iterable[tuple[int, str, Mapping[str, object]]]) -> Broken | None:
    """The first event of (seq, body, columns) that has columns which say something else than its body: only the body is
    hashed, and queries go by the columns."""
    for seq, body, columns in rows:
        told = json.loads(body)
        for name, value in columns.items():
            if told.get(name) != value:
                return Broken(
                    seq=seq, reason=f"event {seq} was changed: its column {name} differs from what was hashed"
                )
    return None
