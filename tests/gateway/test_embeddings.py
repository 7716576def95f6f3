"""The Embeddings wire: what it takes, what passes on, and what is read of the answer."""

import json
from typing import Any

import pytest

from gateway.dialects.dialect import Broken
from gateway.dialects.embeddings import EMBEDDINGS as DIALECT
from gateway.wires.embeddings import EMBEDDINGS
from gateway.wires.neutral import HERE, Json
from kit.errors import Invalid
from ledger.prices import Usage
from tests.gateway.smuggling import reaching

FULL: Json = {"model": "default", "input": ["one", "two"], "dimensions": 8, "encoding_format": "base64", "user": "me"}
VECTORS = [{"object": "embedding", "index": 0, "embedding": [0.25, -1.5e-7]}]


def asked(**fields: Any) -> Json:
    request = EMBEDDINGS.parse({"model": "default", "input": "one"} | fields, HERE)
    return DIALECT.passed(request, "text-embedding-3-small", 1)


def test_what_passes_on_is_what_was_sent_but_for_the_model_and_the_user() -> None:
    request = EMBEDDINGS.parse(FULL, HERE)
    assert (request.alias, request.stream, request.dropped) == ("default", False, ("user",))
    assert DIALECT.passed(request, "m", 1) == {
        "model": "m",
        "input": ["one", "two"],
        "dimensions": 8,
        "encoding_format": "base64",
    }


@pytest.mark.parametrize("given", ["one", ["one", "two"], [1, 2, 3], [[1], [2, 3]]])
def test_texts_and_tokens_are_taken(given: Any) -> None:
    assert asked(input=given)["input"] == given


@pytest.mark.parametrize(
    "fields",
    [
        {"input": None},
        {"input": ""},
        {"input": []},
        {"input": [""]},
        {"input": ["one", 1]},
        {"input": [1.5]},
        {"input": [-1]},
        {"input": [True]},
        {"input": [[]]},
        {"input": {"url": "x"}},
        {"input": ["x"] * 2049},
        {"dimensions": 0},
        {"dimensions": "8"},
        {"encoding_format": "int8"},
        {"stream": True},
        {"api_base": "https://evil.test"},
    ],
)
def test_anything_else_is_refused(fields: Json) -> None:
    with pytest.raises(Invalid):
        asked(**fields)


def test_no_smuggled_field_reaches_a_provider() -> None:
    reached, tried = reaching(EMBEDDINGS, (DIALECT,), FULL)
    assert reached == []
    assert tried > 150


def test_there_is_no_translation_and_no_face() -> None:
    request = EMBEDDINGS.parse(FULL, HERE)
    for made in (lambda: EMBEDDINGS.face(request, "att", 1), lambda: DIALECT.reader(request)):
        with pytest.raises(Invalid, match="embedding"):
            made()


def test_the_answer_passes_and_its_usage_is_read() -> None:
    body = json.dumps(
        {"object": "list", "data": VECTORS, "model": "m", "usage": {"prompt_tokens": 7, "total_tokens": 7}}
    )
    meter = DIALECT.meter(EMBEDDINGS.parse(FULL, HERE))
    assert meter.whole(body.encode()) == body.encode()
    assert meter.stopped
    assert meter.counted
    assert meter.counted.usage == Usage(input=7)


def test_an_error_in_a_good_answer_is_broken() -> None:
    meter = DIALECT.meter(EMBEDDINGS.parse(FULL, HERE))
    with pytest.raises(Broken, match="overloaded"):
        meter.whole(b'{"error":{"message":"overloaded"}}')
    assert not meter.stopped
    with pytest.raises(ValueError):
        meter.whole(b"<html>")
