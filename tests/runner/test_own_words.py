"""What a CLI says of its own end, beside its exit code: recorded, kept through a change of workers, and weighed."""

import json
from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import pytest

from bench.memory_engine import END, Running
from control.executions import logs
from control.identity import sessions
from tests.control.house import ACCOUNT
from tests.runner.station import FLOW, Station, open_station

CLAUDE = FLOW.replace("runtime: scripted", "runtime: claude")
WORDS = {"type": "assistant", "message": {"content": [{"type": "text", "text": "I look.\nI am done."}]}}
WELL = {"type": "result", "is_error": False, "result": "I am done.", "usage": {"input_tokens": 5, "output_tokens": 2}}
BADLY = {"type": "result", "subtype": "success", "is_error": True, "result": "Not logged in"}


@pytest.fixture
async def station(tmp_path: Path) -> AsyncIterator[Station]:
    async with open_station(tmp_path, flow=CLAUDE) as opened:
        opened.engine.name = "docker"
        yield opened


async def begun(station: Station, execution_id: str) -> Running:
    """The agent, which has used its tools and its model."""
    agent = await station.agent(execution_id)
    session = (await station.house.row(execution_id)).session_id
    await station.db.write(lambda tx: sessions.mark_used(tx, session, tools=True, model=True))
    return agent


def ends(agent: Running, *events: object, code: int = 0) -> None:
    for event in events:
        agent.say(json.dumps(event))
    agent.say(END.format(code))
    agent.end(code)


@pytest.mark.parametrize(
    ("events", "code", "cause", "message"),
    [
        ([WORDS, WELL], 0, None, None),
        ([WORDS, BADLY], 0, "agent_error", "The agent ended with exit code 0 and says: Not logged in"),
        ([WORDS, BADLY], 1, "agent_error", "The agent ended with exit code 1 and says: Not logged in"),
        ([WORDS], 0, "agent_unverified", "The agent ended with exit code 0 and never said that it was done."),
        ([BADLY, WORDS, WELL], 0, None, None),
    ],
)
async def test_the_last_event_of_a_cli_counts_beside_its_exit_code(
    station: Station, events: list[object], code: int, cause: str | None, message: str | None
) -> None:
    station.worker()
    execution_id = await station.house.start()
    ends(await begun(station, execution_id), *events, code=code)
    row = await station.ended(execution_id)
    assert (row.cause, row.message or None) == (cause, message)


async def test_who_takes_over_after_the_last_event_knows_it(station: Station) -> None:
    execution_id = await station.house.start()
    station.drive(await station.held("w1"), "w1")
    agent = await begun(station, execution_id)
    agent.say(json.dumps(WELL))
    await station.stored(execution_id, "Tokens, as it counts them: 5 in (0 of them cached), 2 out")
    taken = await station.adopted(execution_id, "w2")
    ends(agent)
    with anyio.fail_after(60):
        await station.drive(taken, "w2").wait()
    assert (await station.house.row(execution_id)).state == "SUCCEEDED"


async def test_the_log_has_words_and_the_file_beside_it_what_was_printed(station: Station) -> None:
    station.worker()
    execution_id = await station.house.start()
    ends(await begun(station, execution_id), WORDS, WELL)
    await station.row_when(execution_id, lambda row: row.cleaned_at is not None, "the clean-up")
    told = [line.text for line in await logs.read(station.db, ACCOUNT, execution_id) if line.source == "agent"]
    assert told == ["I look.", "I am done.", "Tokens, as it counts them: 5 in (0 of them cached), 2 out"]
    raw = await station.parts.blobs.get(logs.file_of(execution_id))
    assert raw
    assert json.dumps(WELL) in raw.decode()
