"""A tool server that repeats our credentials: neither the agent nor the record reads them."""

import json
import sys
import time
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Callable
from pathlib import Path

import anyio
import pytest
import sqlalchemy as sa

from control.identity.charter import ToolGrant
from control.tables import events, log_chunks, tool_calls
from kit.masking import MASK
from mcp_server.settings import UpstreamServer
from mcp_server.upstream.upstream import Lost, Upstream
from mcp_server.upstream.veil import Veil
from mcp_server.upstream.wire import MAX_ANSWER
from tests.mcp_server.fake import fake
from tests.mcp_server.plane import ERAS, Era, plane, text_of
from tests.mcp_server.test_odd import turns

SIGNS = "~?>~?>~?>~?>"  # holds + or / in base64, after however many bytes
KEY = 'sk-Zürich/"1234567\\'
SPELT = [
    KEY,
    json.dumps(KEY),
    json.dumps(KEY, ensure_ascii=False),
    json.dumps(json.dumps(KEY)),
    json.dumps(json.dumps({"key": KEY}, ensure_ascii=False), ensure_ascii=False),
    json.dumps(KEY).replace("/", "\\/"),
]


@pytest.mark.parametrize("said", SPELT)
def test_every_spelling_of_a_credential_is_replaced(said: str) -> None:
    covered = Veil([f"Bearer {KEY}"]).over(said.encode()).decode()
    assert MASK in covered
    assert "1234567" not in covered


@pytest.mark.parametrize("encode", [b64encode, urlsafe_b64encode])
@pytest.mark.parametrize("before", ["", "u", "u:", "user:"])
@pytest.mark.parametrize("after", ["", "!", "!?"])
def test_in_base64_it_is_replaced_wherever_it_stands(encode: Callable[[bytes], bytes], before: str, after: str) -> None:
    told = encode(f"{before}{SIGNS}{after}".encode()).decode()
    for said in (told, told.rstrip("="), json.dumps(told).replace("/", "\\/")):
        covered = Veil([f"Bearer {SIGNS}"]).over(said.encode()).decode()
        assert MASK in covered
        around = len(b64encode(f"{before}{after}".encode())) + 4  # what is not its own, quotes and padding
        assert len(covered.replace(MASK, "")) <= around


def test_what_holds_none_is_the_same_bytes() -> None:
    said = b'{"text": "nothing of ours"}'
    assert Veil([KEY, "short"]).over(said) is said


def test_a_value_shorter_than_eight_characters_stays() -> None:
    assert Veil(["1234567"]).over(b"1234567") == b"1234567"


LONG = {
    "backslashes": b'{"a": "\\\\u0041' + b"\\\\" * 1_950_000 + b'"}',
    "quotes": b'{"a": "\\\\u0041' + b'\\"' * 1_950_000 + b'"}',
    "numbers": b'{"a": "' + b"\\\\u0030" * 550_000 + b'"}',
    "numbers of backslashes": b'{"a": "\\\\u005c' + b"u005c" * 800_000 + b'"}',
    "pairs": b'{"a": "\\\\ud83d' + b"\\\\" * 1_000_000 + b"ude00" + b"\\\\ud83d" * 200_000 + b'"}',
}


@pytest.mark.parametrize("name", LONG)
def test_no_answer_takes_long_to_look_at_and_one_without_a_credential_stays(name: str) -> None:
    veil, said = Veil([f"Bearer {KEY}"]), LONG[name]
    assert len(said) < MAX_ANSWER
    began = time.process_time()
    assert veil.over(said) is said
    assert time.process_time() - began < 3


async def test_a_long_answer_holds_nobody_up() -> None:
    assert await turns(lambda: Veil([KEY]).aside(LONG["numbers"])) > 10


@pytest.mark.parametrize("number", ["\\u005cu0068", "\\\\u005cu005cu0068", "\\u005c\\u005c\\u005cu0068"])
def test_a_number_that_is_written_by_a_number_is_read(number: str) -> None:
    covered = Veil(["hunter2-hunter2"]).over(f'{{"a": "{number}unter2-hunter2"}}'.encode())
    assert b"unter2" not in covered


async def test_a_long_answer_with_a_credential_is_no_answer() -> None:
    async with fake() as (_, url):
        headers = {"Authorization": "Bearer hunter2-hunter2"}
        upstream = Upstream("fake", UpstreamServer.model_validate({"url": url, "headers": headers}))
        async with anyio.create_task_group() as running:
            running.start_soon(upstream.run)
            outcome = await upstream.call("escaped", {})
            running.cancel_scope.cancel()
    assert outcome == Lost(reason="its answer repeats a credential of ours and is too long to take it out")


@pytest.mark.parametrize("era", ERAS)
@pytest.mark.parametrize("kind", ["http", "program"])
async def test_an_echoed_credential_reaches_neither_the_agent_nor_the_record(
    tmp_path: Path, era: Era, kind: str
) -> None:
    program = [sys.executable, str(Path(__file__).with_name("stdio_fake.py"))]
    async with fake() as (_, url):
        over_http = {"url": url, "headers": {"Authorization": "Bearer hunter2-hunter2"}}
        server = over_http if kind == "http" else {"command": program, "env": {"KEY": "hunter2-hunter2"}}
        tool = "echo" if kind == "http" else "environment"
        async with plane(tmp_path, secretive=UpstreamServer.model_validate(server)) as up:
            _, token = await up.enrolled(ToolGrant(server="secretive", tool=tool))
            async with up.client(token, era) as client:
                told = text_of(await client.call_tool(tool, {}))
            kept = [row for table in (events, tool_calls, log_chunks) for row in await up.db.read(sa.select(table))]
    assert MASK in told
    assert "hunter2" not in told
    assert "hunter2" not in str(kept)
