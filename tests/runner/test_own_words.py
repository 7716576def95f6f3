"""What a CLI says of its own end, beside its exit code: recorded, kept through a change of workers, and weighed."""

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import anyio
import pytest

from bench.memory_engine import END, Running
from control import events as record
from control.executions import logs
from control.identity import sessions
from kit.masking import MASK
from kit.redaction import Redactor
from tests.control.house import ACCOUNT
from tests.runner.station import FLOW, Station, open_station

CLAUDE = FLOW.replace("runtime: scripted", "runtime: claude")
WORDS = {"type": "assistant", "message": {"content": [{"type": "text", "text": "I look.\nI am done."}]}}
WELL = {"type": "result", "is_error": False, "result": "I am done.", "usage": {"input_tokens": 5, "output_tokens": 2}}
SECRET = "sk-provider-0123456789abcdef"
BADLY = {"type": "result", "subtype": "success", "is_error": True, "result": "Not logged in"}


@pytest.fixture
async def station(tmp_path: Path) -> AsyncIterator[Station]:
    async with open_station(tmp_path, flow=CLAUDE) as opened:
        opened.engine.name = "docker"
        opened.parts = replace(opened.parts, redactor=Redactor([SECRET]))
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


async def said_of(station: Station, *printed: str) -> tuple[str, list[str], str]:
    """An execution whose agent printed this, its lines in the log, and the file beside it."""
    station.worker()
    execution_id = await station.house.start()
    agent = await begun(station, execution_id)
    for line in printed:
        agent.say(line)
    ends(agent)
    await station.row_when(execution_id, lambda row: row.cleaned_at is not None, "the clean-up")
    lines = [line.text for line in await logs.read(station.db, ACCOUNT, execution_id) if line.source == "agent"]
    raw = await station.parts.blobs.get(logs.file_of(execution_id))
    assert raw
    return execution_id, lines, raw.decode()


async def test_a_secret_in_pieces_of_words_is_in_no_stored_line(station: Station) -> None:
    await station.house.apply(CLAUDE.replace("claude", "gemini"))
    delta = {"type": "message", "role": "assistant", "delta": True}
    told = [json.dumps(delta | {"content": words}) for words in ("key " + SECRET[:9], SECRET[9:] + " end\n")]
    _, lines, _ = await said_of(station, *told)
    assert lines == [f"key {MASK} end"]


async def test_a_secret_that_an_event_escapes_is_neither_stored_nor_in_the_verdict(station: Station) -> None:
    words = {"type": "assistant", "message": {"content": [{"type": "text", "text": f"key {SECRET}"}]}}
    told = [json.dumps(words), json.dumps(BADLY | {"result": f"Not logged in with {SECRET}"})]
    escaped = [event.replace(SECRET, SECRET.replace("-", "\\u002d")) for event in told]
    execution_id, lines, raw = await said_of(station, *escaped)
    assert lines == [f"key {MASK}", f"Ended: Not logged in with {MASK}"]
    (said,) = [e.data for e in await record.read(station.db, ACCOUNT, execution_id) if e.type == "agent.finished"]
    assert said["message"] == f"Not logged in with {MASK}"
    row = await station.house.row(execution_id)
    assert row.message == f"The agent ended with exit code 0 and says: Not logged in with {MASK}"
    assert "0123456789abcdef" not in raw
    assert raw.count(MASK) == 2


async def test_words_that_no_database_takes_are_stored_without_what_it_refuses(station: Station) -> None:
    words = '{"type":"assistant","message":{"content":[{"type":"text","text":"a \\ud83d b \\u0000 c \\ud83d\\ude00"}]}}'
    execution_id, lines, _ = await said_of(station, words, json.dumps(WELL))
    assert lines[0] == "a \ufffd b \ufffd c \U0001f600"
    assert (await station.house.row(execution_id)).state == "SUCCEEDED"
