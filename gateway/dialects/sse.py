"""Server-sent events as providers send them, cut anywhere on their way: html.spec.whatwg.org, chapter 9.2.6.

Pure. Lines end in LF or CRLF (nobody sends the lone CR that the specification also allows). `Frames` finds where events
end and nothing else, which is all that passing through costs; `parsed` reads them.
"""

MOST_BYTES = 32 * 1024 * 1024
"""Of one event. A picture fits, an endless line does not."""
_BLANK = (b"\n\n", b"\n\r\n")


class Frames:
    """Gathers bytes until events are whole."""

    def __init__(self) -> None:
        self._rest = bytearray()

    def feed(self, data: bytes) -> bytes:
        """The events that are complete now, as they came. No bytes say that no more will come: the rest counts then."""
        rest = self._rest
        if not data:
            whole = bytes(rest)
            rest.clear()
            return whole
        if not rest:
            if data.endswith(_BLANK):
                return data
            end = _end(data, 0)
            rest += data[end:]
            return data if end == len(data) else data[:end]
        searched = max(0, len(rest) - 2)
        rest += data
        end = _end(rest, searched)
        if len(rest) - end > MOST_BYTES:
            raise ValueError(f"an event has more than {MOST_BYTES} bytes")
        whole = bytes(rest[:end])
        del rest[:end]
        return whole


def split(whole: bytes) -> list[bytes]:
    """Complete events, one by one, each with the blank line that ends it."""
    found, start = [], 0
    while start < len(whole):
        ends = [whole.find(blank, start) + len(blank) for blank in _BLANK if whole.find(blank, start) >= 0]
        end = min(ends, default=len(whole))
        found.append(whole[start:end])
        start = end
    return found


def parsed(event: bytes) -> bytes:
    """The data of one event; empty for a comment or a blank line. Its name is not needed: the data says what it is.

    An object without `data:` is taken as it is: Google tells so of an error in the middle of a stream.
    """
    if event.startswith(b"data: ") and event.find(b"\n") >= len(event) - 2 and b"\r" not in event:
        return event[6:].rstrip(b"\n")  # one line, as nearly all of them are
    if (bare := event.strip()).startswith(b"{"):
        return bare
    lines = (line.removesuffix(b"\r") for line in event.split(b"\n"))
    return b"\n".join(line[5:].removeprefix(b" ") for line in lines if line.startswith(b"data:"))


def _end(buffer: bytes | bytearray, start: int) -> int:
    """Just behind the last blank line; 0 when there is none."""
    return max(at + len(blank) if (at := buffer.rfind(blank, start)) >= 0 else 0 for blank in _BLANK)
