"""Counting tokens without an answer: what a provider of the same dialect is asked, and our own figure for any other."""

import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from gateway.dialects.counting import MESSAGES as COUNTING
from gateway.dialects.counting import estimate
from gateway.wires.neutral import HERE, Json
from kit.errors import Invalid
from tests.fakes import raw_provider as raw
from tests.gateway.plane import PRICES, open_plane

COUNTING_PATH = "/anthropic/v1/messages/count_tokens"


def test_a_count_is_asked_of_the_provider_with_what_it_counts() -> None:
    body: Json = {"model": "default", "messages": [{"role": "user", "content": "look"}], "system": "Be quick."}
    request = COUNTING.parse(body, HERE)
    assert COUNTING.passed(request, "claude") == body | {"model": "claude"}
    assert COUNTING.path("claude") == "/v1/messages/count_tokens"
    with pytest.raises(Invalid):
        COUNTING.parse(body | {"max_tokens": 5}, HERE)


def test_our_own_count_grows_with_the_text_and_not_with_the_bytes_of_a_picture() -> None:
    def counted(text: str, *pictures: str) -> int:
        images: list[Any] = [
            {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": data}}
            for data in pictures
        ]
        talk = [{"role": "user", "content": [{"type": "text", "text": text}, *images]}]
        return estimate(COUNTING.parse({"model": "m", "messages": talk}, HERE))

    assert counted("word " * 300) - counted("word " * 150) == 250
    assert counted("word", "a" * 4) == counted("word", "a" * 400_000) == counted("word") + 1_500
    assert json.loads(COUNTING.answer(12)) == {"input_tokens": 12}


@pytest.mark.parametrize("body", [b"", b"<html>", b"[1]", b"{}", b'{"input_tokens": "7"}', b'{"input_tokens": -1}'])
async def test_a_count_that_cannot_be_read_is_a_clear_error(tmp_path: Path, body: bytes) -> None:
    async with raw.serve(raw.whole(body)) as provider:
        entry = {"model": "up", "base_url": provider.url, "dialects": ["messages"], "api_key": "sk-up", **PRICES}
        async with open_plane(tmp_path, {"m": entry}) as plane:
            _, token = await plane.session("m")
            asked = {"model": "m", "messages": [{"role": "user", "content": "Go."}]}
            async with httpx.AsyncClient(
                verify=False, base_url=plane.containers, headers={"x-api-key": token}
            ) as client:
                answer = await client.post(COUNTING_PATH, json=asked)
    assert answer.status_code == 502
    assert "count can't be read" in answer.json()["error"]["message"]
