"""Rules tried out and the record checked from the command line, against a plane that runs."""

import sqlite3
from pathlib import Path

import pytest

from preloop.demo import decide
from tests.journeys.plane import FLOW, Plane, plane
from tests.journeys.test_bad_input import preloop, told

CALL = ("--server", "payments", "--tool", "pay", "--args", '{"amount": 1500, "currency": "USD"}')


def test_explain_says_which_rule_decides_and_over_what(shared_plane: Plane) -> None:
    asked = preloop("policy", "explain", "process-payment", *CALL, data=shared_plane.folder)
    assert asked.returncode == 0, asked.stderr
    assert "ask finance: when: args.amount > 100" in asked.stdout
    assert "args.amount = 1500" in asked.stdout
    unlisted = ("--server", "payments", "--tool", "drain")
    denied = preloop("policy", "explain", "process-payment", *unlisted, data=shared_plane.folder)
    assert (denied.returncode, denied.stdout.startswith("deny: no entry")) == (1, True)


def test_what_can_be_wrong_with_a_question_is_usage(shared_plane: Plane, tmp_path: Path) -> None:
    data = shared_plane.folder
    assert told(preloop("policy", "explain", "no-such-flow", *CALL, data=data), 2, "no flow 'no-such-flow'")
    assert told(preloop("policy", "explain", "process-payment", *CALL[:-1], "[1]", data=data), 2, "is no JSON object")
    assert told(preloop("policy", "replay", str(tmp_path / "none.yaml"), data=data), 2, "can't be read")
    assert told(preloop("audit", "verify", "exe_none", data=data), 2, "no stream exe_none")


@pytest.mark.sqlite
async def test_replay_and_verify_after_a_payment(tmp_path: Path) -> None:
    async with plane(tmp_path) as (running, _):
        data = running.folder
        execution = await running.trigger()
        await decide(await running.link(), "approved")
        assert (await running.ended(execution))["state"] == "SUCCEEDED"
        changed = tmp_path / "changed.yaml"
        changed.write_text(FLOW.read_text().replace("args.amount > 100", "args.amount > 5000"))
        same = preloop("policy", "replay", str(FLOW), data=data)
        assert "No verdict changes." in same.stderr, same.stderr
        would = preloop("policy", "replay", str(changed), data=data)
        assert "1 of" in would.stderr and "would be judged differently" in would.stderr, would.stderr
        assert "ask finance" in would.stdout and "allow" in would.stdout
        whole = preloop("audit", "verify", data=data)
        assert (whole.returncode, "Every stream is whole" in whole.stdout) == (0, True)
        ends = str(tmp_path / "ends.json")
        assert preloop("audit", "export", ends, data=data).returncode == 0
        assert preloop("audit", "verify", "--heads", ends, data=data).returncode == 0
        with sqlite3.connect(data / "preloop.db") as store:
            store.execute("UPDATE approvals SET decided_by = 'mallory'")
        store.close()
        assert told(preloop("audit", "verify", "--heads", str(FLOW), data=data), 2, "can't be read")
        other = preloop("audit", "verify", data=data)
        assert (other.returncode, "does not say what its events say" in other.stdout) == (1, True)
        with sqlite3.connect(data / "preloop.db") as store:
            store.execute("UPDATE events SET body = body || ' ' WHERE stream = ? AND seq = 2", [execution])
        store.close()
        broken = preloop("audit", "verify", data=data)
        assert broken.returncode == 1
        assert f"{execution}: event 2 or one before it was changed" in broken.stdout
