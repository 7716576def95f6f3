"""Fields and headers that steer a proxy, sent to every wire: no provider, whatever it speaks, gets any of them."""

import random
from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import httpx
import pytest

from tests.fakes.providers import server
from tests.fakes.providers.server import KEY, MANNERS, Provider
from tests.gateway.hostile import DOORS, OURS, STEERING, Door, with_token
from tests.gateway.plane import PRICES, Plane, open_plane
from tests.gateway.smuggling import MARK, attempts

SEED = 20260727
TRIES = 150
WITHIN_S = 120
ARGUMENTS = ".input"
"""Where Anthropic's wire has a call's arguments: data."""
pytestmark = [  # LiteLLM's own use of pydantic
    pytest.mark.filterwarnings("ignore:Accessing the 'model_:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:Item '.*' on TypedDict class:UserWarning"),
]


@pytest.fixture
async def provider() -> AsyncIterator[Provider]:
    async with server.serve() as provider:
        yield provider


@pytest.fixture
async def plane(tmp_path: Path, provider: Provider) -> AsyncIterator[Plane]:
    async with open_plane(tmp_path, provider.models(**PRICES)) as plane:
        yield plane


def ways() -> list[tuple[Door, str]]:
    """Each route with each dialect behind it that may answer."""
    return [(door, dialect) for door in DOORS for dialect in ([door.dialect] if door.dialect else MANNERS)]


@pytest.mark.parametrize(("door", "dialect"), ways(), ids=lambda given: getattr(given, "name", given))
async def test_nothing_that_was_smuggled_reaches_a_provider(
    plane: Plane, provider: Provider, door: Door, dialect: str
) -> None:
    alias = "embeds" if dialect == "embeddings" else f"{dialect}-echo"
    _, token = await plane.session(alias)
    path, body = door.asked(alias)
    corpus = [smuggled for place, smuggled in attempts(body) if ARGUMENTS not in place]
    chosen = random.Random(SEED).sample(corpus, TRIES)
    headers = with_token(STEERING, token)
    async with httpx.AsyncClient(verify=False, base_url=plane.containers, headers=headers, timeout=WITHIN_S) as client:
        with anyio.fail_after(WITHIN_S):
            statuses = [(await client.post(path, json=smuggled)).status_code for smuggled in [body, *chosen]]
    assert statuses[0] == 200, "the body itself is good"
    assert statuses.count(400) > TRIES / 2
    assert set(statuses) <= {200, 400, 403, 404}
    assert provider.heard
    for heard in provider.heard:
        assert MARK not in heard.everything
        assert token.lower() not in heard.everything
        assert heard.headers.keys() <= OURS
        assert KEY in heard.headers.values() or f"Bearer {KEY}" in heard.headers.values()
        assert heard.target.endswith(("?", "?alt=sse"))
