"""Broken bodies and odd headers on every route: refused in the words of the wire, at once, and no secret is told."""

import copy
import gzip
import json
import logging
import random
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
import structlog

from tests.fakes.providers import server
from tests.fakes.providers.server import DOINGS, KEY, MANNERS, Provider
from tests.gateway.hostile import DOORS, STEERING, Door, in_its_shape, said_inside
from tests.gateway.plane import PRICES, Plane, open_plane
from tests.gateway.smuggling import leaves, places

SEED = 20260728
BODIES, HEADS = 160, 40
WITHIN_S = 20
BUSY = {f"{dialect}-{doing}" for dialect in MANNERS for doing in ("broken", "leaky", "cut")}
pytestmark = [  # LiteLLM's own use of pydantic
    pytest.mark.filterwarnings("ignore:Accessing the 'model_:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:Item '.*' on TypedDict class:UserWarning"),
]
ODD: tuple[Any, ...] = (
    None, True, 0, -1, 2**63, 10**400, 1e308, -0.0, "", "\x00", "💥" * 50, "a" * 5000, "../../etc/passwd", "{{7*7}}",
    "data:image/png;base64,AAAA", "preloop.gemini.AAAA", "preloop.messages.!!", [], {}, [[]], [None], {"": None},
    [[[[[[1]]]]]], {"type": "text"}, {"type": None}, {"role": "user"}, [{"type": "image_url"}], "0" * 300, 1.5,
)  # fmt: skip
RAW = (
    b"", b"null", b"[]", b'"x"', b"{", b"{}", b"\xff\xfe{}", b"\xef\xbb\xbf{}", b'{"model": NaN}', b"[" * 5000,
    b'{"a":' * 3000, b'{"model":"\\ud800"}', b"{} {}", gzip.compress(b"{}"), b"\x00" * 64, b'{"model":1e999999}',
)  # fmt: skip


@pytest.fixture
async def provider() -> AsyncIterator[Provider]:
    async with server.serve() as provider:
        yield provider


@pytest.fixture
async def plane(tmp_path: Path, provider: Provider) -> AsyncIterator[Plane]:
    async with open_plane(tmp_path, provider.models(**PRICES), patience_s=5, max_body_bytes=100_000) as plane:
        yield plane


@pytest.fixture
def logged(caplog: pytest.LogCaptureFixture) -> Iterator[list[str]]:
    """Every line of the log as it would be written, tracebacks and all, of ours and of the libraries'."""
    lines: list[str] = []

    def keep(_logger: object, _method: str, line: object) -> str:
        lines.append(str(line))
        raise structlog.DropEvent

    before = structlog.get_config()
    rendered: list[Any] = [structlog.processors.format_exc_info, structlog.processors.JSONRenderer(), keep]
    structlog.configure(processors=rendered, cache_logger_on_first_use=False)
    caplog.set_level(logging.INFO)
    yield lines
    structlog.configure(**before)


def mutated(chance: random.Random, body: Any) -> bytes:
    """The body with a few of its values gone, doubled or odd; at times hardly JSON any more."""
    value = json.loads(json.dumps(body))
    for _ in range(chance.randint(1, 3)):
        path = chance.choice([*leaves(value), *places(value)])
        if not path:
            continue
        inner: Any = value
        for step in path[:-1]:
            inner = inner[step]
        if chance.random() < 0.2:
            del inner[path[-1]]
        else:
            inner[path[-1]] = copy.deepcopy(chance.choice(ODD))
    raw = json.dumps(value).encode()
    if chance.random() < 0.15:
        cut = chance.randrange(len(raw))
        raw = raw[:cut] + chance.choice([b"", b"\xff", b"}", b'"', bytes([chance.randrange(256)])]) + raw[cut + 1 :]
    return raw


def head(chance: random.Random, token: str) -> dict[str, str]:
    """Headers of a client that may be odd, mistaken or hostile."""
    junk = "".join(chr(chance.randrange(0x21, 0x7F)) for _ in range(chance.randrange(1, 200)))
    ways: list[dict[str, str]] = [
        {"authorization": f"Bearer {token}"},
        {"x-api-key": token},
        {"x-goog-api-key": token, "authorization": f"bearer   {token}"},
        {},
        {"authorization": f"Bearer {token}x"},
        {"authorization": f"Basic {token}"},
        {"authorization": token},
        {"x-api-key": token, "authorization": f"Bearer {junk}"},
        {"authorization": f"Bearer {junk}"},
        {"x-api-key": token[:-3]},
    ]
    odd = {
        "content-type": chance.choice(["application/json", "text/plain", "multipart/form-data", junk]),
        "content-encoding": chance.choice(["identity", "gzip", "zstd", "gzip, gzip", junk]),
        "anthropic-beta": junk,
        "anthropic-version": junk,
    }
    chosen = {name: value for name, value in {**odd, **STEERING}.items() if chance.random() < 0.2}
    return {"content-type": "application/json", **chosen, **chance.choice(ways)}


def check(path: str, answer: httpx.Response, alias: str) -> None:
    """What must be true of any answer."""
    said = (path, answer.status_code, answer.text[:500])
    assert KEY not in said_inside(answer), said
    if answer.request.method == "HEAD":
        assert answer.status_code in (200, 404), said
    elif answer.status_code != 200:
        assert in_its_shape(path, answer), said
    if alias not in BUSY:
        assert answer.status_code < 500, said


@pytest.mark.parametrize("door", DOORS, ids=lambda door: door.name)
async def test_whatever_a_client_sends_is_answered_in_the_words_of_its_wire(
    plane: Plane, provider: Provider, door: Door, logged: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    aliases = [f"{dialect}-{doing}" for dialect in MANNERS for doing in DOINGS if doing != "pause"] + ["embeds"]
    _, token = await plane.session(*aliases)
    chance, statuses = random.Random(f"{SEED}{door.name}"), set()
    async with httpx.AsyncClient(verify=False, base_url=plane.containers, timeout=WITHIN_S) as client:
        for number in range(BODIES + HEADS):
            alias = chance.choice(aliases)
            path, body = door.asked(alias, stream=chance.random() < 0.5)
            raw = chance.choice(RAW) if chance.random() < 0.1 else mutated(chance, body)
            headers = {"authorization": f"Bearer {token}", "content-type": "application/json"}
            if number >= BODIES:
                raw, headers = json.dumps(body).encode(), head(chance, token)
            with anyio.fail_after(WITHIN_S):
                answer = await client.post(path, content=raw, headers=headers)
            check(path, answer, alias)
            assert token not in said_inside(answer)
            statuses.add(answer.status_code)
    assert {200, 400, 401} <= statuses
    lines = [*logged, *caplog.messages, *(str(record.exc_text or "") for record in caplog.records)]
    assert not [line for line in lines if KEY in line or token in line]
    assert not [line for line in lines if "gateway request broke" in line or "model call broke" in line]


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "PATCH", "OPTIONS", "POST"])
async def test_paths_and_methods_that_are_nobodys_are_refused_in_the_words_of_their_wire(
    plane: Plane, provider: Provider, method: str
) -> None:
    _, token = await plane.session("chat-echo")
    ends = ("", "/", "/v1", "/v1/../v1/models", "/v1/files", "/v1beta/models", "/v1beta/models/:generateContent", "//")
    paths = [f"{origin}{end}" for origin in ("/openai", "/anthropic", "/gemini") for end in ends]
    paths += [door.asked("chat-echo")[0] + "/x" for door in DOORS]
    headers = {"authorization": f"Bearer {token}"}
    async with httpx.AsyncClient(verify=False, base_url=plane.containers, headers=headers, timeout=WITHIN_S) as client:
        for path in paths:
            check(path, await client.request(method, path), "chat-echo")
    assert provider.heard == []


async def test_a_providers_words_about_our_key_are_for_nobody(plane: Plane, logged: list[str]) -> None:
    aliases = [f"{dialect}-{doing}" for dialect in MANNERS for doing in ("rude", "leaky", "busy", "broken")]
    _, token = await plane.session(*aliases)
    async with httpx.AsyncClient(verify=False, base_url=plane.containers, timeout=60) as client:
        for alias in aliases:
            for door in (door for door in DOORS if door.dialect is None):
                path, body = door.asked(alias)
                answer = await client.post(path, json=body, headers={"x-api-key": token})
                assert answer.status_code >= 400
                assert KEY not in said_inside(answer)
    assert logged
    assert not [line for line in logged if KEY in line]
