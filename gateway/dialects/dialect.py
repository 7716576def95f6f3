"""What a provider speaks: how it is asked, how its answer is read, and how its bytes are metered in passing.

Pure. A wire is the client's side of a dialect, this is the provider's. Where both are of the same name the body and the
answer pass through and a `Meter` only looks on; else a `Reader` turns the answer into neutral deltas.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from gateway.wires.neutral import Counted, Delta, Json, Request
from kit.errors import Fault


class Broken(ValueError):
    """The provider says, inside an answer that began well, that it failed; in its own words, which may repeat our key.

    `status` is the HTTP status it would have been, `counted` what it says beside it that was used all the same;
    `deltas` and `passed` what the same bytes held before: a Reader fills the one, a Meter the other.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int = 502,
        counted: Counted | None = None,
        deltas: tuple[Delta, ...] = (),
        passed: bytes = b"",
    ) -> None:
        super().__init__(message)
        self.status = status
        self.counted = counted
        self.deltas = deltas
        self.passed = passed


class Reader(Protocol):
    """Reads one answer of another dialect than the client's. ValueError: this is not the dialect, or it is Broken."""

    def feed(self, data: bytes) -> list[Delta]:
        """Deltas of the next bytes of a stream, however they were cut; no bytes say that no more will come.

        The last delta of a whole answer is a Stop.
        """

    def whole(self, body: bytes) -> list[Delta]:
        """Deltas of an answer that is not a stream."""


class Meter(Protocol):
    """Looks on while an answer passes through. Raises Broken when the provider says that it failed."""

    counted: Counted | None
    """What the provider said so far."""
    stopped: bool
    """It spoke to its end."""
    finished: bool
    """The event that ends a stream of this dialect has passed: nothing comes behind it."""
    heard: int
    """Bytes of the texts of the answer so far: what an estimate is made from when nobody counts."""

    reasons: dict[str, str]
    """Why each of its choices ended, in the provider's words, as far as it said."""

    def feed(self, data: bytes) -> bytes:
        """The bytes that go on to the client: the same, less what only we asked for (Chat's usage event).

        Only whole events go on, so that a pause may be filled between any two returns; no bytes say that no more will
        come.
        """

    def whole(self, body: bytes) -> bytes:
        """The same for an answer that is not a stream."""

    def end(self) -> bytes:
        """What a stream still lacks that was cut after it had spoken to its end."""

    def fail(self, fault: Fault) -> bytes:
        """The terminal event of a stream that broke, in the words of the wire."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """One way to speak to a provider."""

    name: str  # of the wire whose bytes pass through: chat | responses | messages | gemini | embeddings
    path: Callable[[str, bool], str]  # model, stream → path and query below the provider's base URL
    headers: Callable[[str | None, Request], Mapping[str, str]]  # key → headers; never one of the client's own
    passed: Callable[[Request, str, int], Json]  # same dialect: the body with `model` and the bounds touched
    asked: Callable[[Request, str, int], tuple[Json, tuple[str, ...]]] | None
    """Another dialect's request: the body, and what it can't carry. None: LiteLLM's transform does it (`provider`)."""
    meter: Callable[[Request], Meter]
    reader: Callable[[Request], Reader]
    refused: Callable[[bytes], str]  # an error body → the provider's sentence, which may repeat our key
