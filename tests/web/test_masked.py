"""What looks like a secret in outsiders' JSON, or is called one, is nowhere on the pages and in REST."""

import json
from typing import Any

import pytest
import sqlalchemy as sa

from control.executions.states import Cause
from control.tables import executions
from kit.masking import MASK, masked
from tests.browser.scene import end
from tests.web.test_pages import read
from tests.web.world import FLOW, World
from web.format import answer

LOOKS, CALLED = "sk-abcdefghijklmnopqrstuvwxyz0123", "geheim123"
PAYLOAD = {"bank": {"password": CALLED}, "amount": 1500, "note": f"by {LOOKS}"}
SLOTS = ("bank.password", "amount", "note")


def mcp(value: object) -> dict[str, Any]:
    """As a tool server sends it that has no structured content."""
    return {"content": [{"type": "text", "text": json.dumps(value)}], "isError": False, "_meta": {"a": 1}}


async def test_nothing_of_a_run_shows_a_secret_and_what_is_none_stays(world: World) -> None:
    house = world.house
    slots = " ".join(f"{{{{trigger_event.payload.{slot}}}}}" for slot in SLOTS)
    head, rest = FLOW.split("prompt: |\n")
    text = f"{head}prompt: 'Use {slots}.'\n{rest[rest.index('tools:') :]}"
    async with world.client(await world.token()) as http:
        (await http.put("/api/v1/flows/process-payment", content=text)).raise_for_status()
    run = await house.running(payload=PAYLOAD)
    call = await house.call(run, "get_contract", id="C-1")
    await house.claim(run, call)
    await house.settle(call, **mcp({"token": CALLED, "transaction_id": "tx_1"}))
    missed = await house.call(run, "get_contract", id="C-2")
    await house.claim(run, missed)
    error = f"no contract for {LOOKS}"
    await house.db.write(lambda tx: house.desk.settle(tx, missed, result=None, is_error=True, error=error))
    id_ = await end(world, run, Cause.TOOL_FAILED, f"Tool 'get_contract' failed with error: {error}")
    paths = (f"/executions/{id_}", "/executions", "/", "/tool-calls", "/audit")
    twins = (f"executions/{id_}", f"executions/{id_}/tool-calls", "executions", "audit", "dashboard")
    shown = [await read(world, path) for path in (*paths, *(f"/api/v1/{twin}" for twin in twins))]
    for path, text in zip((*paths, *twins), shown, strict=True):
        assert (LOOKS in text, CALLED in text) == (False, False), path
    assert f"Use {MASK} 1500 by {MASK}." in json.loads(shown[len(paths)])["prompt"]
    assert "tx_1" in shown[0]
    [row] = await house.db.read(stored(id_))
    assert row.prompt == f"Use {CALLED} 1500 by {LOOKS}.", "the agent gets it as it is"


def stored(id_: str) -> sa.Select[Any]:
    return sa.select(executions).where(executions.c.id == id_)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ('{"password": "a", "n": 1.50}', f'{{"password": "{MASK}", "n": 1.5}}'),
        ('{"n":  1}', '{"n":  1}'),
        (f'["{LOOKS}"]', f'["{MASK}"]'),
        ("{password: a}", "{password: a}"),
        ("[" * 100_000 + "]" * 100_000, "[" * 100_000 + "]" * 100_000),
        (json.dumps({"said": json.dumps({"token": "a"})}), f"""{{"said": "{{\\"token\\": \\"{MASK}\\"}}"}}"""),
    ],
)
def test_a_text_that_is_json_is_looked_into_and_else_left_as_it_is(text: str, shown: str) -> None:
    found = masked(text)
    assert found == shown or json.loads(found) == json.loads(shown)


@pytest.mark.parametrize(
    ("result", "said"),
    [
        (mcp({"transaction_id": "tx"}), {"transaction_id": "tx"}),
        ({**mcp({"a": 1}), "structuredContent": {"b": 2}}, {"b": 2}),
        ({"content": [{"type": "text", "text": "two"}, {"type": "text", "text": "lines"}]}, "two\nlines"),
        ({"content": [{"type": "image", "data": "x"}]}, {"content": [{"type": "image", "data": "x"}]}),
        ({"content": []}, {"content": []}),
        ({"transaction_id": "tx"}, {"transaction_id": "tx"}),
        (None, None),
    ],
)
def test_the_answer_of_a_tool_is_what_is_in_its_envelope(result: object, said: object) -> None:
    assert answer(result) == said
