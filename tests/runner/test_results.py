"""What an agent leaves, from its work folder into rows and blobs: what is kept, what is not, and what is said of it."""

import hashlib
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Row

from control import events
from control.executions import logs
from control.executions import results as rows
from control.identity import sessions
from control.tables import accounts, artifacts, executions
from kit.blobs import Blobs, Content
from kit.errors import Fault, Unavailable
from kit.redaction import Redactor
from runner import results
from runner.agents.script import WORK
from runner.cleanup import clean
from tests.control.house import ACCOUNT
from tests.runner.station import FLOW, Station, open_station
from tests.runner.test_tar import HOSTILE, entry, tar

SCHEMA = {"type": "object", "properties": {"paid": {"type": "integer"}}, "required": ["paid"]}
ASKED = FLOW.replace(", approval: {group: finance}", "") + f"result_schema: {json.dumps(SCHEMA)}\n"
SECRET = "sk-provider-0123456789"


@pytest.fixture(params=["read", "handed over"])
async def station(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Station]:
    """Out of the engine, and brought by the job itself where its engine can't read it."""
    async with open_station(tmp_path) as opened:
        opened.parts = replace(opened.parts, redactor=Redactor([SECRET]))
        opened.engine.gives_files = request.param == "read"
        opened.worker()
        yield opened


async def ran(station: Station, left: dict[str, bytes], *, flow: str = FLOW, code: int = 0) -> str:
    """An execution whose agent left these files and ended, cleaned up after."""
    await station.house.apply(flow)
    id_ = await station.house.start()
    agent = await station.agent(id_)
    row = await station.house.row(id_)
    await station.db.write(lambda tx: sessions.mark_used(tx, row.session_id, tools=True, model=True))
    agent.left |= {name if name.startswith(".") else f"{WORK}/{name}": content for name, content in left.items()}
    await hand_over(station, row)
    agent.say(f"PRELOOP_AGENT_EXEC_END {code}")
    agent.end(code)
    await station.row_when(id_, lambda row: row.cleaned_at is not None, "the container's removal")
    assert not [name for name in await station.parts.blobs.here(rows.folder_of(id_)) if "handed" in name]
    return id_


async def hand_over(station: Station, row: Row[Any]) -> None:
    """What the entry script does before it tells the end, where it is to."""
    job = station.engine.jobs[row.job].job
    assert (".preloop/hand.sh" in job.files) is not station.engine.gives_files
    for path, name in results.HANDED_OVER.items() if ".preloop/hand.sh" in job.files else ():
        if packed := b"".join([chunk async for chunk in station.engine.archive(row.job, path)]):
            await station.parts.blobs.put(rows.handed_of(row.id, name), packed)


async def kept(station: Station, execution_id: str) -> dict[str, bytes | None]:
    its = sa.select(artifacts).where(artifacts.c.execution_id == execution_id, artifacts.c.account_id == ACCOUNT)
    found: dict[str, bytes | None] = {}
    for row in await station.db.read(its):
        content = await station.parts.blobs.get(rows.file_of(execution_id, row.sha256))
        assert content is not None
        assert (len(content), hashlib.sha256(content).hexdigest()) == (row.size, row.sha256)
        found[row.name] = content
    return found


async def warned(station: Station, execution_id: str) -> list[str]:
    lines = await logs.read(station.db, ACCOUNT, execution_id)
    return [line.text for line in lines if line.source == "preloop" and line.level == "warning"]


async def told(station: Station, execution_id: str) -> list[dict[str, Any]]:
    return [e.data for e in await events.read(station.db, ACCOUNT, execution_id) if e.type == rows.KEPT]


async def test_artifacts_the_result_and_the_diff_are_kept_and_the_record_says_so(station: Station) -> None:
    left = {
        "artifacts/report.csv": b"a,b\n\xff\x00",
        "artifacts/deep/er/empty": b"",
        "result.json": b'{"paid": 5}',
        ".preloop/changes.patch": b"--- a\n+++ b\n",
        "notes.txt": b"not asked for",
    }
    id_ = await ran(station, left)
    assert await kept(station, id_) == {
        "artifacts/report.csv": b"a,b\n\xff\x00",
        "artifacts/deep/er/empty": b"",
        "result.json": b'{"paid": 5}',
        "changes.patch": b"--- a\n+++ b\n",
    }
    [event] = await told(station, id_)
    assert (event["files"], event["bytes"], len(event["digest"])) == (4, 6 + 0 + 11 + 12, 64)
    assert await warned(station, id_) == []


async def test_a_run_that_failed_keeps_what_it_left_and_one_that_left_nothing_has_no_event(station: Station) -> None:
    failed = await ran(station, {"artifacts/a": b"1"}, code=3)
    assert await kept(station, failed) == {"artifacts/a": b"1"}
    nothing = await ran(station, {})
    assert (await kept(station, nothing), await told(station, nothing)) == ({}, [])


async def test_what_pages_show_holds_no_known_secret_and_artifacts_are_as_they_were(station: Station) -> None:
    text = f"+key = {SECRET}\n".encode() + b"\xff\n"
    id_ = await ran(station, {"artifacts/a": text, "result.json": text, ".preloop/changes.patch": text})
    found = await kept(station, id_)
    assert found["artifacts/a"] == text
    for shown in ("result.json", "changes.patch"):
        assert SECRET.encode() not in (found[shown] or b"")
        assert (found[shown] or b"").endswith(b"\xff\n")


ODD = {
    "artifacts/../../etc/passwd": "an odd name",
    "artifacts//a": "an odd name",
    "artifacts/a\\b": "an odd name",
    "artifacts/line\nbreak": "an odd name",
    "artifacts/\u202egpj.exe": "an odd name",
    "artifacts/" + "n" * 250: "an odd name",
    f"artifacts/of-{SECRET}/a": "a name holds a known secret",
    "artifacts/" + "d/" * 16 + "file": "more than 16 folders deep",
}


def archived(station: Station, *chunks: bytes) -> None:
    """Let the engine give this for `artifacts`, in the place of what it has."""

    class Giving(type(station.engine)):  # type: ignore[misc]
        async def archive(self, handle: str, path: str) -> AsyncIterator[bytes]:
            for chunk in chunks if path == f"{WORK}/artifacts" else ():
                yield chunk

    station.engine.__class__ = Giving


@pytest.mark.parametrize("name", ODD)
async def test_an_odd_name_is_left_out_and_counted(station: Station, name: str) -> None:
    archived(station, tar(entry(name, b"x"), entry("artifacts/good", b"y")))
    id_ = await ran(station, {})
    assert await kept(station, id_) == {"artifacts/good": b"y"}
    assert await warned(station, id_) == [f"1 in artifacts/ left out: {ODD[name]}."]
    assert not (station.parts.blobs.root / "etc").exists()


async def test_links_and_devices_are_left_out(station: Station) -> None:
    link, _ = entry("artifacts/link", kind=b"2", linkname="/etc/passwd")
    hard, _ = entry("artifacts/hard", kind=b"1", linkname="artifacts/good")
    device, _ = entry("artifacts/device", kind=b"3")
    archived(station, tar((link, b""), (hard, b""), (device, b""), entry("artifacts/good", b"y")))
    id_ = await ran(station, {})
    assert await kept(station, id_) == {"artifacts/good": b"y"}
    assert await warned(station, id_) == ["3 in artifacts/ left out: a link, a device or a pipe."]


@pytest.mark.parametrize("made", HOSTILE.values(), ids=HOSTILE)
async def test_a_hostile_tar_ends_the_reading_and_not_the_run(station: Station, made: bytes) -> None:
    archived(station, tar(entry("artifacts/first", b"1"))[:1024] + made)
    id_ = await ran(station, {})
    assert await kept(station, id_) == {"artifacts/first": b"1"}
    [said] = await warned(station, id_)
    assert said.startswith("Not all of artifacts/ is kept: its tar can't be read")
    assert (await station.house.row(id_)).state == "SUCCEEDED"


async def test_there_is_an_end_to_files_and_to_bytes(station: Station, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(results, "ENTRIES", 3)
    many = await ran(station, {f"artifacts/{number}": b"x" for number in range(9)})
    assert len(await kept(station, many)) == 2  # the folder is one
    assert await warned(station, many) == ["Not all of artifacts/ is kept: it has more than 3 files and folders."]
    monkeypatch.setattr(results, "ENTRIES", 100)
    monkeypatch.setattr(results, "BYTES", 1 << 20)
    large = await ran(station, {"artifacts/a": bytes(600_000), "artifacts/b": bytes(600_000)})
    assert [name for name in await kept(station, large)] == ["artifacts/a"]
    [said] = await warned(station, large)
    assert "artifacts/b does not fit into 1 MB" in said


async def test_a_size_that_never_comes_is_not_waited_for(station: Station) -> None:
    sparse = tar(entry("artifacts/a", b""))[:512]
    info, _ = entry("artifacts/a")
    info.size = 1 << 40
    archived(station, sparse, info.tobuf())
    id_ = await ran(station, {})
    assert set(await kept(station, id_)) == {"artifacts/a"}
    assert "does not fit" in (await warned(station, id_))[0]


async def test_without_room_in_the_plan_nothing_is_kept_and_that_is_said(station: Station) -> None:
    full = sa.update(accounts).where(accounts.c.id == ACCOUNT).values(storage_bytes=0)
    await station.db.write(lambda tx: tx.execute(full))
    id_ = await ran(station, {"artifacts/a": b"1"})
    assert await kept(station, id_) == {}
    assert "what the agent left is not kept" in (await warned(station, id_))[-1]


async def test_a_clean_up_that_runs_again_keeps_and_says_nothing_twice(station: Station) -> None:
    id_ = await ran(station, {"artifacts/a": b"1"})
    again = sa.update(executions).where(executions.c.id == id_).values(cleaned_at=None)
    await station.db.write(lambda tx: tx.execute(again))
    await clean(station.parts, await station.house.row(id_), "gone-by-now")
    assert (await kept(station, id_), len(await told(station, id_))) == ({"artifacts/a": b"1"}, 1)


WRONG = {
    "none": ({}, "The agent left no result.json, which its flow asks for."),
    "no JSON": ({"result.json": b"{'paid': 1}"}, "result.json can't be read. That is not JSON"),
    "empty": ({"result.json": b""}, "result.json can't be read. That is not JSON"),
    "another type": ({"result.json": b'{"paid": "a lot"}'}, "result_schema says: paid: 'a lot' is not of type"),
    "something missing": ({"result.json": b"{}"}, "result_schema says: 'paid' is a required property"),
    "twice": ({"result.json": b'{"paid": 1, "paid": 2}'}, "the same key twice"),
    "too large": ({"result.json": b" " * (1 << 20) + b"{}"}, "result.json can't be taken: it is larger than 1 MB."),
    "a folder": ({"result.json/a": b"{}"}, "result.json can't be taken: it is no regular file."),
}


@pytest.mark.parametrize("case", WRONG)
async def test_a_result_that_is_not_what_was_asked_for_fails_the_run(station: Station, case: str) -> None:
    left, said = WRONG[case]
    row = await station.house.row(await ran(station, left, flow=ASKED))
    assert (row.state, row.cause) == ("FAILED", "result_invalid")
    assert said in row.message


async def test_a_result_that_fits_is_a_success_and_the_one_that_was_checked_is_kept(station: Station) -> None:
    await station.house.apply(ASKED)
    id_ = await station.house.start()
    agent = await station.agent(id_)
    row = await station.house.row(id_)
    await station.db.write(lambda tx: sessions.mark_used(tx, row.session_id, tools=True, model=True))
    agent.left[f"{WORK}/result.json"] = b'{"paid": 5}'
    await hand_over(station, row)
    agent.say("PRELOOP_AGENT_EXEC_END 0")
    assert (await station.ended(id_)).state == "SUCCEEDED"
    agent.left[f"{WORK}/result.json"] = b'{"paid": 500}'
    agent.end(0)
    await station.row_when(id_, lambda row: row.cleaned_at is not None, "the container's removal")
    assert (await kept(station, id_))["result.json"] == b'{"paid": 5}'


async def test_an_agent_that_failed_is_not_asked_for_its_result(station: Station) -> None:
    row = await station.house.row(await ran(station, {}, flow=ASKED, code=3))
    assert row.cause == "agent_error"


async def test_a_complaint_quotes_no_secret(station: Station) -> None:
    left = {"result.json": json.dumps({"paid": SECRET}).encode()}
    row = await station.house.row(await ran(station, left, flow=ASKED))
    assert row.cause == "result_invalid"
    assert SECRET not in row.message


@pytest.mark.parametrize("schema", ["{type: 3}", '{"$ref": "https://example.com/a"}', '{pattern: "(?=a)b"}'])
async def test_a_schema_that_nothing_can_be_checked_against_is_refused_with_its_flow(
    station: Station, schema: str
) -> None:
    with pytest.raises(Fault, match="schema of the result"):
        await station.house.apply(FLOW + f"result_schema: {schema}\n")


async def test_a_store_that_is_away_at_the_verdict_is_waited_for(station: Station) -> None:
    class Away:
        """A far store that answers the third time."""

        def __init__(self) -> None:
            self.asked = 0

        async def open(self, name: str) -> Content | None:
            self.asked += 1
            if self.asked < 3:
                raise Unavailable("storage_unavailable", "The object store is out of reach.")
            return Content(len(PACKED), pieces())

    async def pieces() -> AsyncIterator[bytes]:
        yield PACKED

    far = Away()
    station.engine.gives_files = False
    parts = replace(station.parts, blobs=Blobs(station.parts.blobs.root, far, far_from=1 << 30))  # type: ignore[arg-type]
    wrong, [kept] = await results.checked(parts, "exe_1", "job", SCHEMA)
    assert (wrong, kept.name, far.asked) == ("", "result.json", 3)


PACKED = tar(entry("result.json", b'{"paid": 1}'))
