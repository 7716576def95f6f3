"""OpenAI's Embeddings as a provider speaks it: platform.openai.com/docs/api-reference/embeddings.

Pure. Bytes pass through or there is no embedding: vectors of another model would not compare, so nothing is translated.
"""

from typing import NoReturn

import msgspec

from gateway.dialects.counts import counted, told
from gateway.dialects.dialect import Dialect
from gateway.dialects.events import decoded
from gateway.dialects.failures import broken_by, headers, refused
from gateway.wires.embeddings import untranslated
from gateway.wires.neutral import Counted, Json, Request, compact
from gateway.wires.openai import error
from kit.errors import Fault

_ERROR_BYTES = 4096


class _Answer(msgspec.Struct):
    usage: dict[str, object] | None = None
    id: str | None = None
    model: str | None = None


class EmbeddingsMeter:
    """Looks on while an answer passes: it is one JSON object, never a stream."""

    def __init__(self, request: Request) -> None:
        self.counted: Counted | None = None
        self.stopped = False
        self.finished = False
        self.heard = 0
        self.reasons: dict[str, str] = {}

    def feed(self, data: bytes) -> bytes:
        return data

    def whole(self, body: bytes) -> bytes:
        """Reads the usage and skips the vectors."""
        if len(body) < _ERROR_BYTES:
            known = decoded(body)
            broken_by(known.get("error"), told(known, body))
        answer = msgspec.json.decode(body, type=_Answer)
        self.stopped = True
        if answer.usage:
            self.counted = counted(answer.usage, answer.id, body, model=answer.model)
        return body

    def end(self) -> bytes:
        return b""

    def fail(self, fault: Fault) -> bytes:
        return compact(error(fault)).encode()


def _passed(request: Request, model: str, max_output: int) -> Json:
    sent = {name: value for name, value in request.body.items() if name != "user" and value is not None}
    return sent | {"model": model}


def _asked(request: Request, model: str, max_output: int) -> NoReturn:
    raise untranslated()


def _reader(request: Request) -> NoReturn:
    raise untranslated()


def _path(model: str, stream: bool) -> str:
    return "/embeddings"


EMBEDDINGS = Dialect(
    name="embeddings",
    path=_path,
    headers=headers,
    passed=_passed,
    asked=_asked,
    meter=EmbeddingsMeter,
    reader=_reader,
    refused=refused,
)
