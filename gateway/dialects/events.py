"""What Meters and Readers of OpenAI's streams share: events are gathered until they are whole, and then looked at.

Pure. Passing a chunk on costs a search for the blank line, a few for what may end the answer and one for what it says;
its JSON is not read.
"""

import re
from abc import ABC, abstractmethod
from collections.abc import Sequence

import msgspec

from gateway.dialects.dialect import Broken
from gateway.dialects.sse import Frames, parsed, split
from gateway.wires.neutral import Counted, Delta, Json

DONE = b"[DONE]"


def pieces(*names: str) -> re.Pattern[bytes]:
    """Finds the texts of an answer in the JSON around them, by the names they stand under. No text can look like that
    from inside: its quotes are escaped there."""
    return re.compile(rb'"(?:%s)"\s*:\s*"((?:[^"\\]|\\.)*+)"' % "|".join(names).encode(), re.DOTALL)


class EventMeter(ABC):
    """A Meter of streams. What a dialect knows is which bytes to look at, and what they mean."""

    said: re.Pattern[bytes]
    """What the pieces of an answer look like."""

    def __init__(self) -> None:
        self.counted: Counted | None = None
        self.stopped = False
        self.finished = False
        self.heard = 0
        self.reasons: dict[str, str] = {}
        self.last = b""
        """The events that passed last."""
        self._frames = Frames()

    def feed(self, data: bytes) -> bytes:
        whole = self._frames.feed(data)
        if not whole:
            return b""
        if not data:
            whole = _ended(whole)
        self.last = whole or self.last
        self._hear(whole)
        return self._looked(whole) if self.marked(whole) else whole

    def end(self) -> bytes:
        return b""

    @abstractmethod
    def marked(self, events: bytes) -> bool:
        """May one of these events say more than a piece of the answer? Cheap; a yes too many does no harm."""

    @abstractmethod
    def look(self, payload: bytes) -> bool:
        """Read one event; does it go on to the client? Raises Broken when the provider says that it failed."""

    def _looked(self, whole: bytes) -> bytes:
        passed = []
        for event in split(whole):
            try:
                if not self.marked(event) or self.look(parsed(event)):
                    passed.append(event)
            except Broken as broken:
                broken.passed = b"".join(passed)
                raise
        return b"".join(passed)

    def _hear(self, whole: bytes) -> None:
        self.heard += sum(map(_size, self.said.findall(whole)))


class EventReader(ABC):
    """A Reader of streams: what a dialect knows is what one event means."""

    def __init__(self) -> None:
        self._frames = Frames()

    def feed(self, data: bytes) -> list[Delta]:
        whole = self._frames.feed(data)
        if not data:
            whole = _ended(whole)
        found: list[Delta] = []
        for event in split(whole):
            if payload := parsed(event):
                try:
                    found += self.read(payload)
                except Broken as broken:
                    broken.deltas = (*found, *broken.deltas)
                    raise
        return found if data else [*found, *self.finish()]

    @abstractmethod
    def read(self, payload: bytes) -> Sequence[Delta]:
        """Deltas of one event's data."""

    def finish(self) -> Sequence[Delta]:
        """Deltas that were held back until no more would come."""
        return ()


def opens(events: bytes, key: bytes, values: bytes) -> bool:
    """Does a JSON key (with its quotes) stand before a value that begins with one of some characters?

    A text can't deceive it: inside of one the quotes of the key are escaped.
    """
    at = events.find(key)
    while at >= 0:
        at += len(key)
        value = events[at : at + 4].lstrip(b" :")[:1]
        if value and value in values:
            return True
        at = events.find(key, at)
    return False


def decoded(payload: bytes) -> Json:
    """An event's or an answer's JSON object. ValueError when it is none."""
    value = msgspec.json.decode(payload)
    if not isinstance(value, dict):
        raise ValueError("not a JSON object")
    return value


def _size(text: bytes) -> int:
    """Bytes of a text in JSON, without what JSON adds."""
    if b"\\" not in text:
        return len(text)
    try:
        return len(msgspec.json.decode(b'"%s"' % text, type=str).encode())
    except ValueError:  # half of a surrogate pair, say
        return len(text)


def _ended(rest: bytes) -> bytes:
    """What stood behind the last blank line when the stream ended: an event that only lacks it, or a cut one."""
    payload = parsed(rest)
    if not payload:
        return b""
    if payload != DONE:
        try:
            decoded(payload)
        except ValueError:
            return b""
    return rest.rstrip(b"\r\n") + b"\n\n"
