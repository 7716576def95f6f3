"""Where a call goes when an upstream fails: retries, fallbacks, breakers; each attempt has its own entry and events."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest

from control.identity import sessions
from gateway.routing import WAIT_MOST_S
from tests.fakes import raw_provider as raw
from tests.fakes.raw_provider import CUT, Step
from tests.gateway.plane import PRICES, Plane, open_plane
from tests.waiting import until

ASK: Any = [{"role": "user", "content": "Go."}]
CHEAP = {"input_usd_per_mtok": "1.00", "output_usd_per_mtok": "1.00"}
NOBODY = "http://127.0.0.1:1/v1"


@asynccontextmanager
async def opened(folder: Path, *upstreams: dict[str, Any], **alias: Any) -> AsyncIterator[Plane]:
    entries = [{"model": f"up-{number}", **PRICES, **entry} for number, entry in enumerate(upstreams)]
    async with open_plane(folder, {"m": {"upstreams": entries, **alias}}) as plane:
        yield plane


async def ask(plane: Plane, token: str, **body: Any) -> httpx.Response:
    headers = {"authorization": f"Bearer {token}"}
    async with httpx.AsyncClient(verify=False, base_url=plane.containers, headers=headers, timeout=30) as client:
        return await client.post("/openai/v1/chat/completions", json={"model": "m", "messages": ASK, **body})


async def told(plane: Plane, session: str) -> list[tuple[str, dict[str, Any]]]:
    await plane.settled()
    return await plane.happened(session)


@pytest.mark.parametrize("stream", [False, True])
async def test_a_call_falls_back_before_its_first_token_and_pays_only_who_answered(
    tmp_path: Path, stream: bool
) -> None:
    good = raw.stream([raw.word("Hi"), *raw.ending()]) if stream else raw.whole(raw.completion())
    async with raw.serve(raw.refusal(500)) as bad, raw.serve(good) as well:
        first, second = {"base_url": f"{bad.url}/v1"}, {"base_url": f"{well.url}/v1", "order": 1, **CHEAP}
        async with opened(tmp_path, first, second) as plane:
            session, token = await plane.session("m")
            assert (await ask(plane, token, stream=stream)).status_code == 200
            spend = await plane.spend(session, calls=2)
            assert spend.cost_nano == (120 + 30) * 1000
            happened = await told(plane, session)
            assert [type_ for type_, _ in happened] == [
                "model.requested",
                "model.failed",
                "model.fallback",
                "model.requested",
                "model.answered",
            ]
            failed, moved, again, answered = (data for _, data in happened[1:])
            assert (failed["stage"], failed["upstream_status"], failed["cost_nano"]) == ("upstream", 500, 0)
            assert (moved["after"], moved["model"]) == (failed["attempt"], "up-1")
            assert (failed["number"], again["number"], answered["number"]) == (0, 1, 1)
            assert again["attempt"] != failed["attempt"]
        assert (len(bad.bodies), len(well.bodies)) == (1, 1)


async def test_an_upstream_that_says_when_is_asked_again_then(tmp_path: Path) -> None:
    async with (
        raw.serve(raw.refusal(429, retry_after="1"), raw.whole(raw.completion())) as provider,
        opened(tmp_path, {"base_url": f"{provider.url}/v1"}) as plane,
    ):
        session, token = await plane.session("m")
        assert (await ask(plane, token)).status_code == 200
        (moved,) = [data for type_, data in await told(plane, session) if type_ == "model.retry"]
        assert moved["wait_ms"] == 1000
        assert len(provider.bodies) == 2


@pytest.mark.parametrize("status", [429, 503])
async def test_a_free_fallback_is_asked_rather_than_waiting_for_a_busy_upstream(tmp_path: Path, status: int) -> None:
    busy, good = raw.refusal(status, retry_after="1"), raw.whole(raw.completion())
    async with raw.serve(busy) as first, raw.serve(good) as second:
        upstreams = {"base_url": f"{first.url}/v1"}, {"base_url": f"{second.url}/v1", "order": 1}
        async with opened(tmp_path, *upstreams) as plane:
            session, token = await plane.session("m")
            assert (await ask(plane, token)).status_code == 200
            (moved,) = [data for type_, data in await told(plane, session) if type_ == "model.fallback"]
            assert (moved["model"], moved["wait_ms"]) == ("up-1", 0)
        assert (len(first.bodies), len(second.bodies)) == (1, 1)


async def test_an_upstream_that_names_a_date_is_asked_again_then(tmp_path: Path) -> None:
    said = {"date": "Sun, 22 Nov 2026 16:59:00 GMT", "retry_after": "Sun, 22 Nov 2026 16:59:01 GMT"}
    async with (
        raw.serve(raw.refusal(429, **said), raw.whole(raw.completion())) as provider,
        opened(tmp_path, {"base_url": f"{provider.url}/v1"}) as plane,
    ):
        session, token = await plane.session("m")
        assert (await ask(plane, token)).status_code == 200
        (moved,) = [data for type_, data in await told(plane, session) if type_ == "model.retry"]
        assert moved["wait_ms"] == 1000


async def test_an_upstream_that_wants_us_to_wait_long_is_told_on_to_the_client(tmp_path: Path) -> None:
    async with (
        raw.serve(raw.refusal(429, retry_after=str(WAIT_MOST_S + 1))) as provider,
        opened(tmp_path, {"base_url": f"{provider.url}/v1"}) as plane,
    ):
        _, token = await plane.session("m")
        answer = await ask(plane, token, stream=True)
        assert (answer.status_code, answer.headers["retry-after"]) == (429, str(WAIT_MOST_S + 1))
        assert len(provider.bodies) == 1


@pytest.mark.parametrize(("status", "asked"), [(400, 1), (422, 1), (401, 1), (402, 1), (503, 3)])
async def test_only_what_may_get_better_is_asked_again(tmp_path: Path, status: int, asked: int) -> None:
    async with (
        raw.serve(raw.refusal(status, "sk-secret is wrong")) as provider,
        opened(tmp_path, {"base_url": f"{provider.url}/v1"}, retries=2) as plane,
    ):
        session, token = await plane.session("m")
        answer = await ask(plane, token)
        assert answer.status_code == (400 if status in (400, 422) else 502)
        assert len(provider.bodies) == asked
        assert "sk-secret" not in answer.text
        assert (await plane.spend(session, calls=asked)).cost_nano == 0


async def test_nobody_is_asked_twice_once_a_word_was_said(tmp_path: Path) -> None:
    play: list[Step] = raw.stream([raw.word("One"), CUT])
    async with raw.serve(play) as bad, raw.serve(raw.stream([raw.word("Hi"), *raw.ending()])) as well:
        async with opened(tmp_path, {"base_url": f"{bad.url}/v1"}, {"base_url": f"{well.url}/v1"}) as plane:
            session, token = await plane.session("m")
            answers = [await ask(plane, token, stream=True) for _ in range(4)]
            spend = await plane.spend(session, calls=4)
        cut = sum("upstream_cut" in answer.text for answer in answers)
        assert (spend.calls, spend.estimated) == (4, cut)
        assert (len(bad.bodies), len(well.bodies)) == (cut, 4 - cut)


async def test_a_stream_that_breaks_before_a_word_goes_on_elsewhere(tmp_path: Path) -> None:
    good = raw.stream([raw.word("Hi"), *raw.ending()])
    async with raw.serve(raw.stream([], end=False)) as bad, raw.serve(good) as well:
        first, second = {"base_url": f"{bad.url}/v1"}, {"base_url": f"{well.url}/v1", "order": 1}
        async with opened(tmp_path, first, second) as plane:
            session, token = await plane.session("m")
            assert "Hi" in (await ask(plane, token, stream=True)).text
            assert (await plane.spend(session, calls=2)).estimated == 1


async def test_an_upstream_that_keeps_failing_is_left_alone_until_one_call_finds_it_well(tmp_path: Path) -> None:
    plays = [raw.refusal(500), raw.refusal(500), raw.whole(raw.completion())]
    async with raw.serve(*plays) as provider:
        entry = {"base_url": f"{provider.url}/v1", "breaker_failures": 2, "breaker_s": 0.3}
        async with opened(tmp_path, entry, retries=0) as plane:
            session, token = await plane.session("m")
            assert [(await ask(plane, token)).status_code for _ in range(2)] == [502, 502]
            answer = await ask(plane, token)
            assert (answer.status_code, answer.json()["error"]["code"]) == (502, "upstream_out_of_order")
            assert len(provider.bodies) == 2
            (refused,) = [data for type_, data in await told(plane, session) if type_ == "model.refused"]
            assert refused["stage"] == "routing"

            async def served() -> bool:
                return (await ask(plane, token)).status_code == 200

            await until(served, what="the provider to be tried again")
            assert len(provider.bodies) == 3


async def test_a_session_that_ends_in_a_retrys_wait_leaves_the_upstream_to_others(tmp_path: Path) -> None:
    plays = [raw.refusal(500), raw.refusal(429, retry_after="5"), raw.whole(raw.completion())]
    async with raw.serve(*plays) as provider:
        entry = {"base_url": f"{provider.url}/v1", "breaker_failures": 1, "breaker_s": 0.2}
        async with opened(tmp_path, entry, retries=1) as plane:
            session, token = await plane.session("m")
            _, other = await plane.session("m")
            assert (await ask(plane, token)).status_code == 502

            async def tried() -> None:
                while len(provider.bodies) < 2:
                    await ask(plane, token)

            async def waits() -> bool:
                return any(data.get("wait_ms") == 5000 for _, data in await told(plane, session))

            async with anyio.create_task_group() as tasks:
                tasks.start_soon(tried)
                await until(waits, what="the call that tries it to wait for its turn")
                await plane.db.write(lambda tx: sessions.revoke(tx, session))
            assert (await ask(plane, other)).status_code == 200


async def test_the_same_model_is_asked_with_the_next_key_at_once(tmp_path: Path) -> None:
    async with raw.serve(raw.refusal(429, retry_after="2"), raw.whole(raw.completion())) as provider:
        same = {"model": "same", "base_url": f"{provider.url}/v1"}
        async with opened(tmp_path, same | {"api_key": "sk-a"}, same | {"api_key": "sk-b", "order": 1}) as plane:
            session, token = await plane.session("m")
            assert (await ask(plane, token)).status_code == 200
            (moved,) = [data for type_, data in await told(plane, session) if "wait_ms" in data]
            assert moved["wait_ms"] == 0
        keys = [headers["authorization"] for headers in provider.headers]
        assert keys == ["Bearer sk-a", "Bearer sk-b"]


async def test_a_call_that_cannot_be_paid_at_the_fallback_is_refused_as_such(tmp_path: Path) -> None:
    async with raw.serve(raw.whole(raw.completion())) as well:
        dear = {"input_usd_per_mtok": "900.00", "output_usd_per_mtok": "900.00"}
        upstreams = ({"base_url": NOBODY, **CHEAP}, {"base_url": f"{well.url}/v1", "order": 1, **dear})
        async with opened(tmp_path, *upstreams) as plane:
            session, token = await plane.session("m", budget_nano=10**9)
            answer = await ask(plane, token, max_tokens=100_000)
            assert (answer.status_code, answer.json()["error"]["code"]) == (402, "budget_exceeded")
            types = [type_ for type_, _ in await told(plane, session)]
            assert types == ["model.requested", "model.failed", "model.fallback", "model.refused"]
            assert (await plane.standing(session)).held_nano == 0
        assert well.bodies == []


async def test_a_key_in_a_file_is_changed_without_a_restart(tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_text("sk-old\n")
    async with (
        raw.serve(raw.whole(raw.completion())) as provider,
        opened(tmp_path, {"base_url": f"{provider.url}/v1", "api_key_file": str(key)}) as plane,
    ):
        _, token = await plane.session("m")
        await ask(plane, token)
        key.write_text("sk-newer\n")

        async def newer() -> bool:
            await ask(plane, token)
            return provider.headers[-1]["authorization"] == "Bearer sk-newer"

        await until(newer, what="the key in the file")
        assert provider.headers[0]["authorization"] == "Bearer sk-old"


async def test_a_redirect_is_not_followed(tmp_path: Path) -> None:
    async with raw.serve(raw.whole(raw.completion())) as elsewhere:
        moved = raw.whole(b"{}", 307, location=f"{elsewhere.url}/v1/chat/completions")
        async with raw.serve(moved) as provider, opened(tmp_path, {"base_url": f"{provider.url}/v1"}) as plane:
            _, token = await plane.session("m")
            assert (await ask(plane, token)).status_code == 502
        assert elsewhere.bodies == []


async def test_limits_are_told_in_the_words_of_the_wire(tmp_path: Path) -> None:
    async with (
        raw.serve(raw.whole(raw.completion())) as provider,
        opened(tmp_path, {"base_url": f"{provider.url}/v1"}, requests_per_minute=2) as plane,
    ):
        _, token = await plane.session("m")
        _, other = await plane.session("m")
        answers = [await ask(plane, token) for _ in range(3)]
        assert [answer.status_code for answer in answers] == [200, 200, 429]
        assert int(answers[2].headers["retry-after"]) > 0
        assert answers[2].json()["error"]["type"] == "rate_limit_error"
        assert (await ask(plane, other)).status_code == 200


async def test_one_call_too_many_at_once_is_refused(tmp_path: Path) -> None:
    async with (
        raw.serve([1.0, *raw.whole(raw.completion())]) as provider,
        opened(tmp_path, {"base_url": f"{provider.url}/v1"}, concurrency=1) as plane,
    ):
        _, token = await plane.session("m")
        statuses: list[int] = []

        async def one() -> None:
            statuses.append((await ask(plane, token)).status_code)

        async with anyio.create_task_group() as tasks:
            for _ in range(2):
                tasks.start_soon(one)
        assert sorted(statuses) == [200, 429]
        assert (await ask(plane, token)).status_code == 200


async def test_a_call_too_many_at_once_does_not_count_against_the_minute(tmp_path: Path) -> None:
    async with (
        raw.serve([0.5, *raw.whole(raw.completion())]) as provider,
        opened(tmp_path, {"base_url": f"{provider.url}/v1"}, concurrency=1, requests_per_minute=2) as plane,
    ):
        _, token = await plane.session("m")
        statuses: list[int] = []

        async def one() -> None:
            statuses.append((await ask(plane, token)).status_code)

        async with anyio.create_task_group() as tasks:
            for _ in range(4):
                tasks.start_soon(one)
        assert sorted(statuses) == [200, 429, 429, 429]
        assert (await ask(plane, token)).status_code == 200
