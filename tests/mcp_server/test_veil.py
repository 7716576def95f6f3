"""A tool server that repeats our credentials: neither the agent nor the record reads them."""

import json
import sys
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Callable
from pathlib import Path

import pytest
import sqlalchemy as sa

from control.identity.charter import ToolGrant
from control.tables import events, log_chunks, tool_calls
from kit.masking import MASK
from mcp_server.settings import UpstreamServer
from mcp_server.upstream.veil import Veil
from tests.mcp_server.fake import fake
from tests.mcp_server.plane import ERAS, Era, plane, text_of

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
