"""Upstreams that a request can't be put to: they are left out, the record says so, and an outage stays an outage."""

from pathlib import Path
from typing import Any

import pytest

from tests.fakes import raw_provider as raw
from tests.gateway.test_routing import NOBODY, ask, opened, told

LINKED: Any = [
    {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://pictures.test/a.png"}}]}
]
CANNOT: Any = {"provider": "gemini", "api_key": "k", "base_url": "http://127.0.0.1:1/v1beta"}


async def test_an_outage_stays_one_when_the_fallback_cannot_carry_the_request(tmp_path: Path) -> None:
    async with opened(tmp_path, {"base_url": NOBODY}, {**CANNOT, "order": 1}, retries=1) as plane:
        session, token = await plane.session("m")
        answer = await ask(plane, token, messages=LINKED)
        assert (answer.status_code, answer.json()["error"]["code"]) == (502, "upstream_failed")
        happened = await told(plane, session)
        assert [type_ for type_, _ in happened] == [
            "model.requested",
            "model.failed",
            "model.fallback",
            "model.skipped",
            "model.retry",
            "model.requested",
            "model.failed",
        ]
        (skipped,) = [data for type_, data in happened if type_ == "model.skipped"]
        assert (skipped["provider"], skipped["model"], skipped["error"]) == ("gemini", "up-1", "image_not_carried")


@pytest.mark.parametrize("stream", [False, True])
async def test_whoever_can_carry_the_request_is_asked_in_the_place_of_the_first(tmp_path: Path, stream: bool) -> None:
    good = raw.stream([raw.word("Hi"), *raw.ending()]) if stream else raw.whole(raw.completion())
    async with (
        raw.serve(good) as well,
        opened(tmp_path, CANNOT, {"base_url": f"{well.url}/v1", "order": 1}, retries=0) as plane,
    ):
        session, token = await plane.session("m")
        assert (await ask(plane, token, messages=LINKED, stream=stream)).status_code == 200
        types = [type_ for type_, _ in await told(plane, session)]
        assert types == ["model.skipped", "model.requested", "model.answered"]


async def test_a_request_that_nobody_can_carry_is_refused_with_the_first_reason_and_recorded(tmp_path: Path) -> None:
    async with opened(tmp_path, CANNOT, {**CANNOT, "order": 1}) as plane:
        session, token = await plane.session("m")
        answer = await ask(plane, token, messages=LINKED)
        assert answer.status_code == 400
        happened = await told(plane, session)
        assert [type_ for type_, _ in happened] == ["model.skipped", "model.skipped", "model.refused"]
        assert (happened[-1][1]["stage"], happened[-1][1]["message"]) == ("routing", happened[0][1]["message"])
