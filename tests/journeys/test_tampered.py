"""What somebody with the database changes about an approval, found from the command line while its plane runs."""

import json
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from preloop.demo import decide
from tests.journeys.plane import plane
from tests.journeys.test_bad_input import preloop

TAMPERED = {
    "its row is gone": ("DELETE FROM approvals",),
    "arguments": ("UPDATE tool_calls SET args = '{\"amount\":1}' WHERE id IN (SELECT call_id FROM approvals)",),
    "votes": ("UPDATE votes SET approver = 'mallory'",),
    "reason": ("UPDATE approvals SET reason = 'other'",),
    "decided_at": ("UPDATE approvals SET decided_at = '2020-01-01 00:00:00.000000'",),
    "status, decided_by": ("UPDATE approvals SET status = 'declined', decided_by = 'mallory'",),
}


@pytest.mark.sqlite
async def test_what_was_changed_about_an_approval_is_named(tmp_path: Path) -> None:
    async with plane(tmp_path) as (running, _):
        execution = await running.trigger()
        await decide(await running.link(), "approved")
        assert (await running.ended(execution))["state"] == "SUCCEEDED"
        clean = preloop("audit", "verify", "--json", data=running.folder)
        nothing = {"unlike": {}, "absent": 0, "older": 0}
        assert (clean.returncode, json.loads(clean.stdout)["approvals"]) == (0, nothing), clean.stderr
        for name, changes in TAMPERED.items():
            found = preloop("audit", "verify", data=tampered(running.folder, tmp_path / "copy", *changes))
            assert (found.returncode, f"events say of it: {name}\n" in found.stdout) == (1, True), (name, found.stdout)


def tampered(folder: Path, copy: Path, *changes: str) -> Path:
    """A copy of a live data folder, its database changed."""
    shutil.rmtree(copy, ignore_errors=True)
    copy.mkdir()
    for file in folder.iterdir():
        if file.is_file() and not file.name.startswith(("preloop.db", "plane.json", "up.lock")):
            shutil.copy(file, copy)
    with (
        closing(sqlite3.connect(folder / "preloop.db")) as live,
        closing(sqlite3.connect(copy / "preloop.db")) as other,
    ):
        live.backup(other)
        for change in changes:
            assert other.execute(change).rowcount >= 1
        other.commit()
    return copy
