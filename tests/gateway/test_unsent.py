"""What is said of an attempt that no provider ever read, and of the fields that a provider was not sent."""

import socket
from pathlib import Path

import anyio
import httpx
import pytest

from tests.fakes import raw_provider as raw
from tests.gateway.plane import PRICES, Plane, open_plane

PATH = "/openai/v1/chat/completions"
ASK = {"model": "m", "messages": [{"role": "user", "content": "Go."}]}


def upstream(url: str) -> dict[str, object]:
    return {"model": "up-model", "base_url": f"{url}/v1", "api_key": "sk-upstream", **PRICES}


async def ask(plane: Plane, token: str, **body: object) -> httpx.Response:
    headers = {"authorization": f"Bearer {token}"}
    async with httpx.AsyncClient(verify=False, base_url=plane.containers, headers=headers) as client:
        return await client.post(PATH, json=ASK | body)


@pytest.mark.parametrize("stream", [False, True])
async def test_a_client_that_leaves_while_we_still_connect_is_billed_nothing(tmp_path: Path, stream: bool) -> None:
    """A port whose queue is full takes no connection and refuses none."""
    with socket.socket() as deaf, socket.socket() as first, socket.socket() as second:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen(0)
        for caller in (first, second):
            caller.setblocking(False)
            caller.connect_ex(deaf.getsockname())
        entry = upstream(f"http://127.0.0.1:{deaf.getsockname()[1]}") | {"on_disconnect": "abort", "connect_s": 60}
        async with open_plane(tmp_path, {"m": entry}, patience_s=0.1) as plane:
            session, token = await plane.session("m", budget_nano=10**9)
            with anyio.move_on_after(1.5):
                await ask(plane, token, stream=stream)
            spend = await plane.spend(session)
            assert (spend.calls, spend.cost_nano, spend.estimated, spend.input) == (1, 0, 0, 0)
            (failed,) = [data for type_, data in await plane.happened(session) if type_ == "model.failed"]
            assert (failed["status"], failed["error"]) == ("failed", "client_left")


@pytest.mark.parametrize("stream", [False, True])
async def test_a_client_that_leaves_before_a_word_is_billed_all_that_the_provider_may_do(
    tmp_path: Path, stream: bool
) -> None:
    async with raw.serve([60.0]) as provider:
        entry = upstream(provider.url) | {"on_disconnect": "abort"}
        async with open_plane(tmp_path, {"m": entry}, patience_s=0.1) as plane:
            session, token = await plane.session("m", budget_nano=10**9)
            with anyio.move_on_after(1):
                await ask(plane, token, stream=stream, max_tokens=700)
            assert len(provider.bodies) == 1
            spend = await plane.spend(session)
            assert (spend.calls, spend.estimated, spend.output) == (1, 1, 700)


async def test_only_what_a_provider_was_not_sent_is_told_as_dropped(tmp_path: Path) -> None:
    async with (
        raw.serve(raw.whole(raw.completion())) as provider,
        open_plane(tmp_path, {"m": upstream(provider.url)}) as plane,
    ):
        session, token = await plane.session("m")
        answer = await ask(plane, token, user="someone", prompt_cache_key="here", verbosity="low")
        assert answer.status_code == 200
        await plane.spend(session)
        (asked, *_) = [data for type_, data in await plane.happened(session) if type_ == "model.requested"]
        assert asked["dropped"] == ["user"]
        assert provider.requests[0]["prompt_cache_key"] == "here"
