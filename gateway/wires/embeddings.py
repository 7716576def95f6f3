"""The OpenAI Embeddings wire: text in, vectors out, never a stream.

Pure. Only a provider that speaks it answers it, so there is no face of ours.
"""

from typing import NoReturn

from gateway.wires import openai
from gateway.wires.fields import only, positive, required, typed, unsupported
from gateway.wires.neutral import HERE, Address, Json, Request, Wire
from kit.errors import Invalid

FIELDS = frozenset({"model", "input", "dimensions", "encoding_format", "user"})
MOST_INPUTS = 2048


def parse(body: Json, address: Address = HERE) -> Request:
    """An inbound body as a request without messages; Invalid names the field that is wrong."""
    only(body, FIELDS)
    if not _embeddable(required(body, "input", str, list)):
        raise Invalid(
            "field_invalid",
            "The field `input` must be a text, a list of at most 2048 texts, or tokens.",
            "See the docs.",
        )
    if typed(body, "encoding_format", str) not in (None, "float", "base64"):
        raise Invalid("field_invalid", "The field `encoding_format` is neither float nor base64.")
    positive(body, "dimensions")
    return Request(
        alias=required(body, "model", str),
        messages=(),
        max_output=1,  # it says nothing: the least that can be reserved
        dropped=("user",) if typed(body, "user", str) else (),
        body=body,
    )


def untranslated() -> Invalid:
    """Why no other provider can stand in."""
    return unsupported("An embedding by a provider that does not speak the Embeddings wire")


def _embeddable(given: str | list[object]) -> bool:
    if isinstance(given, str):
        return bool(given)
    return 0 < len(given) <= MOST_INPUTS and (
        all(isinstance(item, str) and item for item in given)
        or _tokens(given)
        or all(isinstance(item, list) and _tokens(item) for item in given)
    )


def _tokens(given: list[object]) -> bool:
    return bool(given) and all(type(item) is int and item >= 0 for item in given)


def _no_face(request: Request, attempt: str, created: int) -> NoReturn:
    raise untranslated()


EMBEDDINGS = Wire(name="embeddings", parse=parse, face=_no_face, refusal=openai.refusal)
