"""Bytes that pass through, to a provider of the client's own wire: what it is sent, what comes back, what breaks."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest

from control.identity import sessions
from control.identity.caps import Caps, Share
from control.identity.doorkeeper import Doorkeeper, Listener
from tests.fakes import raw_provider as raw
from tests.fakes.raw_provider import CUT, Provider, Step
from tests.gateway.plane import PRICES, Plane, open_plane
from tests.serving import serving
from tests.waiting import still, until

ASK: Any = [{"role": "user", "content": "Go."}]
PATH = "/openai/v1/chat/completions"
COST = 120 * 2500 + 30 * 10_000


@asynccontextmanager
async def opened(
    folder: Path, *plays: list[Step], settings: dict[str, Any] | None = None, **alias: Any
) -> AsyncIterator[tuple[Plane, Provider]]:
    """A gateway with one alias `m` that leads to a provider with these plays."""
    async with raw.serve(*plays) as provider:
        entry = {"model": "up-model", "base_url": f"{provider.url}/v1", "api_key": "sk-upstream", **PRICES, **alias}
        async with open_plane(folder, {"m": entry}, **{"patience_s": 0.1, **(settings or {})}) as plane:
            yield plane, provider


@asynccontextmanager
async def asking(plane: Plane, token: str, path: str = PATH, **body: Any) -> AsyncIterator[httpx.Response]:
    sent = {"model": "m", "messages": ASK, **body}
    async with (
        httpx.AsyncClient(
            verify=False, base_url=plane.containers, headers={"authorization": f"Bearer {token}"}
        ) as client,
        client.stream("POST", path, json=sent) as answer,
    ):
        yield answer


@pytest.mark.parametrize("end", [True, False])
async def test_a_stream_that_ends_behind_its_last_word_has_its_mark(tmp_path: Path, end: bool) -> None:
    steps: list[Any] = [raw.word("Hi"), raw.ending()[0], 0.1]
    async with opened(tmp_path, raw.stream(steps, end=end)) as (plane, _):
        session, token = await plane.session("m")
        async with asking(plane, token, stream=True) as answer:
            assert await answer.aread() == b"".join(steps[:2]) + b"data: [DONE]\n\n"
        assert (await plane.spend(session)).estimated == 1


async def test_a_whole_answer_is_the_providers_byte_for_byte(tmp_path: Path) -> None:
    body = raw.completion()
    async with opened(tmp_path, raw.whole(body, x_request_id="req_up")) as (plane, provider):
        session, token = await plane.session("m")
        async with asking(plane, token, max_tokens=50, temperature=0.5) as answer:
            assert await answer.aread() == body
        assert provider.paths == ["/v1/chat/completions"]
        assert provider.requests == [{"model": "up-model", "messages": ASK, "max_tokens": 50, "temperature": 0.5}]
        assert provider.headers[0]["authorization"] == "Bearer sk-upstream"
        assert token not in json.dumps(provider.headers)
        spend = await plane.spend(session)
        assert (spend.cost_nano, spend.estimated) == (COST, 0)


async def test_a_stream_is_the_providers_byte_for_byte_less_the_usage_we_asked_for(tmp_path: Path) -> None:
    events = [raw.word("Hello"), b": a comment\n\n", raw.word(" there"), *raw.ending()]
    cut_anywhere = b"".join(events)
    pieces = [cut_anywhere[at : at + 7] for at in range(0, len(cut_anywhere), 7)]
    async with opened(tmp_path, raw.stream(pieces)) as (plane, provider):
        session, token = await plane.session("m")
        async with asking(plane, token, stream=True) as answer:
            said = await answer.aread()
        assert said == b"".join([*events[:4], events[-1]])
        async with asking(plane, token, stream=True, stream_options={"include_usage": True}) as answer:
            assert await answer.aread() == cut_anywhere
        assert provider.requests[0]["stream_options"] == {"include_usage": True}
        assert (await plane.spend(session, calls=2)).cost_nano == 2 * COST


async def test_the_first_bytes_do_not_wait_for_the_last(tmp_path: Path) -> None:
    go = asyncio.Event()
    async with opened(tmp_path, raw.stream([raw.word("One"), go, *raw.ending()])) as (plane, _):
        _, token = await plane.session("m")
        with anyio.fail_after(5):
            async with asking(plane, token, stream=True) as answer:
                pieces = answer.aiter_bytes()
                assert b"One" in await anext(pieces)
                go.set()
                assert b"[DONE]" in b"".join([piece async for piece in pieces])


@pytest.mark.parametrize("path", [PATH, "/anthropic/v1/messages"])
async def test_an_answer_ends_with_its_last_event_though_its_connection_stays(tmp_path: Path, path: str) -> None:
    play = raw.stream([raw.word("One"), *raw.ending(), 30.0])
    async with opened(tmp_path, play, dialects=["chat"]) as (plane, provider):
        session, token = await plane.session("m")
        with anyio.fail_after(10):
            async with asking(plane, token, path, stream=True, max_tokens=50) as answer:
                said = await answer.aread()
            await provider.closed.wait()
        assert said.endswith(b"data: [DONE]\n\n" if path == PATH else b'data: {"type":"message_stop"}\n\n')
        assert (await plane.spend(session)).cost_nano == COST


@pytest.mark.parametrize("path", [PATH, "/anthropic/v1/messages"])
async def test_a_connection_whose_answer_ends_a_moment_later_is_asked_again(tmp_path: Path, path: str) -> None:
    *events, end = raw.stream([raw.word("One"), *raw.ending()])
    async with opened(tmp_path, [*events, 0.01, end], dialects=["chat"]) as (plane, provider):
        session, token = await plane.session("m")
        for calls in (1, 2):
            async with asking(plane, token, path, stream=True, max_tokens=50) as answer:
                await answer.aread()
            await plane.spend(session, calls=calls)
        assert (len(provider.bodies), provider.connections) == (2, 1)


async def test_a_cut_stream_ends_in_the_words_of_the_wire_and_an_estimate(tmp_path: Path) -> None:
    half = raw.word("three")[:20]
    async with opened(tmp_path, raw.stream([raw.word("one two"), half], end=False)) as (plane, provider):
        session, token = await plane.session("m")
        async with asking(plane, token, stream=True) as answer:
            said = await answer.aread()
        assert said.startswith(raw.word("one two"))
        assert said.endswith(b"data: [DONE]\n\n")
        assert b'"code":"upstream_cut"' in said
        spend = await plane.spend(session)
        assert (spend.calls, spend.estimated) == (1, 1)
        assert spend.output > 0
        assert len(provider.bodies) == 1  # something was said: nobody is asked again


async def test_a_silent_stream_is_kept_alive_between_events_and_then_given_up(tmp_path: Path) -> None:
    settings = {"keepalive_s": 0.05}
    play = raw.stream([raw.word("one"), 30.0])
    async with opened(tmp_path, play, settings=settings, stream_idle_s=0.4) as (plane, _):
        session, token = await plane.session("m")
        async with asking(plane, token, stream=True) as answer:
            said = await answer.aread()
        assert said.startswith(raw.word("one") + b": keep-alive\n\n: keep-alive\n\n")
        assert b"upstream_stalled" in said
        (failed,) = [data for type_, data in await told(plane, session) if type_ == "model.failed"]
        assert (failed["error"], failed["stage"], failed["status"]) == ("upstream_stalled", "upstream", "cut")


async def test_no_keep_alive_falls_into_the_middle_of_an_event(tmp_path: Path) -> None:
    event = raw.word("late")
    play = raw.stream([event[:12], 0.3, event[12:], *raw.ending(usage=False)])
    async with opened(tmp_path, play, settings={"keepalive_s": 0.05}) as (plane, _):
        _, token = await plane.session("m")
        async with asking(plane, token, stream=True) as answer:
            said = await answer.aread()
        assert event in said


async def test_a_revoked_session_ends_a_stream_and_its_upstream_at_once(tmp_path: Path) -> None:
    async with opened(tmp_path, raw.stream([raw.word("one"), 60.0])) as (plane, provider):
        session, token = await plane.session("m")
        async with asking(plane, token, stream=True) as answer:
            pieces = answer.aiter_bytes()
            await anext(pieces)
            await plane.db.write(lambda tx: sessions.revoke(tx, session))
            with anyio.fail_after(1):
                said = b"".join([piece async for piece in pieces])
                await provider.closed.wait()
        assert b"This session has ended" in said
        (failed,) = [data for type_, data in await told(plane, session) if type_ == "model.failed"]
        assert (failed["error"], failed["stage"]) == ("session_ended", "session")


async def test_a_revoked_session_ends_a_call_that_waits_for_its_whole_answer(tmp_path: Path) -> None:
    async with opened(tmp_path, [60.0]) as (plane, provider):
        session, token = await plane.session("m")
        async with anyio.create_task_group() as tasks:

            async def ask() -> None:
                async with asking(plane, token) as answer:
                    assert answer.status_code == 401

            tasks.start_soon(ask)
            await until(lambda: provider.bodies, what="the provider to be asked")
            with anyio.fail_after(10):
                await plane.db.write(lambda tx: sessions.revoke(tx, session))
                await provider.closed.wait()


@pytest.mark.parametrize("policy", ["drain", "abort"])
async def test_a_client_that_leaves_is_billed_as_the_alias_says(tmp_path: Path, policy: str) -> None:
    go = asyncio.Event()
    play = raw.stream([raw.word("one two three"), go, *raw.ending()])
    async with opened(tmp_path, play, on_disconnect=policy) as (plane, provider):
        session, token = await plane.session("m")
        async with asking(plane, token, stream=True) as answer:
            await anext(answer.aiter_bytes())
        if policy == "abort":
            with anyio.fail_after(5):
                await provider.closed.wait()
        go.set()
        spend = await plane.spend(session)
        if policy == "drain":
            assert (spend.cost_nano, spend.estimated) == (COST, 0)
        else:
            assert (spend.estimated, spend.output > 0) == (1, True)
            (failed,) = [data for type_, data in await told(plane, session) if type_ == "model.failed"]
            assert (failed["error"], failed["status"]) == ("client_left", "cut")


async def test_a_client_that_stops_reading_costs_little_memory_and_counts_as_gone(tmp_path: Path) -> None:
    loud = raw.word("x" * 60_000)
    play = raw.stream([*[loud] * 400, *raw.ending()])  # 24 MB
    async with opened(tmp_path, play, settings={"stalled_client_s": 2.0}) as (plane, provider):
        session, token = await plane.session("m")
        body = json.dumps({"model": "m", "messages": ASK, "stream": True}).encode()
        host, port = plane.containers.removeprefix("http://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port), limit=1024)
        head = (
            f"POST {PATH} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\ncontent-length: {len(body)}\r\n\r\n"
        )
        writer.write(head.encode() + body)
        await until(lambda: provider.sent >= 500_000, 30, what="the provider to send half a megabyte")
        with anyio.fail_after(30):
            held = await still(lambda: provider.sent)  # it is held back while the client is given its time
        assert held < 16_000_000
        assert (await plane.spend(session)).estimated == 0  # read to its end all the same
        assert provider.sent > 24_000_000
        writer.transport.abort()
        with contextlib.suppress(ConnectionError):
            await reader.read()


async def told(plane: Plane, session: str) -> list[tuple[str, dict[str, Any]]]:
    await plane.spend(session)
    return await plane.happened(session)


async def test_a_cut_before_the_answers_end_is_a_clear_error(tmp_path: Path) -> None:
    play: list[Step] = [b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n{", CUT]
    async with opened(tmp_path, play, retries=0) as (plane, _):
        session, token = await plane.session("m")
        async with asking(plane, token) as answer:
            await answer.aread()
            assert (answer.status_code, answer.json()["error"]["code"]) == (502, "upstream_cut")
        assert (await plane.spend(session)).estimated == 1


async def test_a_session_has_no_more_calls_open_than_its_share_and_hears_so_in_the_wire_s_words(
    tmp_path: Path,
) -> None:
    async with opened(tmp_path, raw.stream([raw.word("one"), 60.0]), raw.whole(raw.completion())) as (plane, _):
        (_, token), (_, other) = await plane.session("m"), await plane.session("m")
        caps = Caps(Share(calls=1, per_second=1000))
        async with serving(
            plane.gateway.app(Doorkeeper(plane.db, plane.bus, Listener.CONTAINERS), caps), ws="none"
        ) as url:
            capped = replace(plane, containers=url)
            async with asking(capped, token, stream=True) as first:
                await anext(first.aiter_bytes())
                async with asking(capped, token) as second:
                    told = json.loads(await second.aread())["error"]
                    assert (second.status_code, second.headers["retry-after"]) == (429, "1")
                    assert "has 1 calls open" in told["message"] and "server.session_calls" in told["message"]
                async with asking(capped, other) as theirs:
                    assert theirs.status_code == 200
