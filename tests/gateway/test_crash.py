"""A SIGKILL in the middle of a stream: the next start settles the call as an estimate, marked, once."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from control.identity.accounts import DEFAULT
from gateway.recovery import settle_lost
from ledger import reports
from ledger.reports import Standing
from tests.gateway.plane import PRICES, open_plane

ROOT = Path(__file__).parents[2]
ASK = {"model": "slow", "stream": True, "messages": [{"role": "user", "content": "Go."}]}


def stream_and_kill(folder: Path, *more: str) -> str:
    """The session whose call was under way when its gateway was killed."""
    command = [sys.executable, "-m", "tests.gateway.victim", str(folder), *more]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as victim:
        assert victim.stdout
        address, session, token = victim.stdout.readline().split()
        headers = {"authorization": f"Bearer {token}"}
        with httpx.stream("POST", f"{address}/openai/v1/chat/completions", json=ASK, headers=headers) as answer:
            assert answer.status_code == 200  # headers are out: it was admitted
            os.kill(victim.pid, signal.SIGKILL)
    return session


async def test_what_a_killed_gateway_was_doing_is_settled_at_the_next_start(tmp_path: Path) -> None:
    session = stream_and_kill(tmp_path)
    async with open_plane(tmp_path, {}) as plane:
        spend = await plane.spend(session)
        assert (spend.calls, spend.estimated, spend.output) == (1, 1, 50)
        assert spend.input == len(json.dumps(ASK, separators=(",", ":")))  # as it was held for: a token for each byte
        assert await plane.standing(session) == Standing(limit_nano=10**9, spent_nano=spend.cost_nano, held_nano=0)
        failed = [data for type_, data in await plane.happened(session) if type_ == "model.failed"]
        assert [(data["status"], data["error"], data["stage"]) for data in failed] == [
            ("lost", "worker_lost", "worker")
        ]
        assert await settle_lost(plane.db, tmp_path / "journals") == 0


async def test_tools_at_the_provider_are_settled_at_what_was_held_for_them(tmp_path: Path) -> None:
    session = stream_and_kill(tmp_path)
    (left,) = (tmp_path / "journals").iterdir()
    opened = json.loads(left.read_bytes().splitlines()[0])
    opened["record"]["intent"] |= {"hosted": {"web_search": 10_000_000}, "hosted_most": 3}
    left.write_bytes(json.dumps(opened).encode() + b"\n")
    async with open_plane(tmp_path, {}) as plane:
        spend = await plane.spend(session)
        assert (spend.hosted_calls, spend.hosted_nano) == (3, 30_000_000)
        assert spend.cost_nano == spend.input * 2_500 + 50 * 10_000 + 30_000_000


async def test_a_stop_waits_for_the_ledger(tmp_path: Path) -> None:
    models = {"default": {"provider": "scripted", "script": "payment", **PRICES}}
    async with open_plane(tmp_path, models) as plane:
        session, token = await plane.session("default")
        answer = await plane.client(token).responses.create(model="default", input="Hello.")
        assert answer.status == "completed"
    async with open_plane(tmp_path, models) as plane:
        spend = await reports.of_session(plane.db, DEFAULT, session)
        assert (spend.calls, spend.estimated) == (1, 0)


async def test_a_clean_stop_leaves_no_journal(tmp_path: Path) -> None:
    async with open_plane(tmp_path, {}):
        assert len(list((tmp_path / "journals").iterdir())) == 1
    assert list((tmp_path / "journals").iterdir()) == []


@pytest.mark.parametrize(
    "poison", [{"open": "att_p", "record": {"intent": {"of": "another version"}}}, {"open": "att_p"}]
)
async def test_a_record_that_nobody_can_read_stops_no_start_and_no_other_settlement(
    tmp_path: Path, poison: dict[str, object]
) -> None:
    session = stream_and_kill(tmp_path)
    journals = tmp_path / "journals"
    (left,) = journals.iterdir()
    left.write_bytes(json.dumps(poison).encode() + b"\n" + left.read_bytes())
    async with open_plane(tmp_path, {}) as plane:
        assert (await plane.spend(session)).calls == 1
        assert await settle_lost(plane.db, journals) == 0
    assert [(kept.suffix, b"att_p" in kept.read_bytes()) for kept in journals.iterdir()] == [(".unsettled", True)]


async def test_an_entry_that_the_database_refuses_is_set_aside_alone(tmp_path: Path) -> None:
    session = stream_and_kill(tmp_path)
    journals = tmp_path / "journals"
    (left,) = journals.iterdir()
    opened = json.loads(left.read_bytes().splitlines()[0])
    intent = opened["record"]["intent"] | {"id": "att_p", "principal": None}
    poison = {"open": "att_p", "record": opened["record"] | {"intent": intent}}
    left.write_bytes(json.dumps(poison).encode() + b"\n" + left.read_bytes())
    async with open_plane(tmp_path, {}) as plane:
        spend = await plane.spend(session)
        assert spend.calls == 1
        assert await plane.standing(session) == Standing(limit_nano=10**9, spent_nano=spend.cost_nano, held_nano=0)
    assert [kept.suffix for kept in journals.iterdir()] == [".unsettled"]
