"""What retention took is told wherever it would have stood: pages, REST, the command line; and the record verifies."""

from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa

from control.executions import logs
from control.identity.principals import Role
from control.retention import deletion
from control.retention.rules import Rules
from control.tables import executions, tool_calls
from kit.errors import Invalid
from preloop.settings import load
from tests.control.house import ACCOUNT, House
from tests.preloop.terminal import Desk

EVERYTHING = Rules(logs_days=1, payloads_days=1, results_days=1)
GONE = "Deleted by retention on "


async def paid(house: House, days: int = 10) -> tuple[str, str]:
    """An execution that paid with somebody's yes and ended so long ago; (its id, the approval's)."""
    principal = await house.gated()
    id_ = principal.execution_id or ""
    call = await house.call(principal, amount=1500, recipient="contractor@example.com")
    await house.decide(call, reason="it is due")
    await house.claim(principal, call)
    await house.settle(call, content=[{"type": "text", "text": "paid it"}])
    lines = [("2026-11-22T10:00:00.000000Z", "agent", "info", "I paid.")]
    await house.db.write(lambda tx: logs.append(tx, ACCOUNT, id_, lines))
    await house.end(id_, None)
    past = sa.update(executions).where(executions.c.id == id_)
    past = past.values(ended_at=datetime.now(UTC) - timedelta(days=days))
    await house.db.write(lambda tx: tx.execute(past))
    return id_, (await house.approval(call)).id


async def forget(house: House) -> None:
    await deletion.delete_due(house.db, house.blobs, EVERYTHING, datetime.now(UTC))


async def test_rest_and_pages_say_when_it_went(desk: Desk) -> None:
    house = desk.world.house
    id_, approval = await paid(house)
    await forget(house)
    async with desk.world.program(await desk.world.token(Role.OPERATOR, "api")) as http:
        run = (await http.get(f"/api/v1/executions/{id_}")).json()
        assert all(run[name] for name in ("logs_deleted_at", "payload_deleted_at", "results_deleted_at"))
        assert (run["trigger_event"], run["prompt"], run["state"]) == (None, "", "SUCCEEDED")
        [call] = (await http.get(f"/api/v1/executions/{id_}/tool-calls")).json()["items"]
        assert (call["arguments"], call["result"], bool(call["content_deleted_at"])) == (None, None, True)
        asked = (await http.get(f"/api/v1/approvals/{approval}")).json()
        assert (asked["arguments"], bool(asked["content_deleted_at"]), len(asked["digest"])) == (None, True, 64)
        again = await http.post(f"/api/v1/executions/{id_}/rerun")
        assert (again.status_code, again.json()["code"], "--payload" in again.json()["hint"]) == (
            409,
            "payload_deleted",
            True,
        )
    async with desk.world.client(await desk.world.token(Role.VIEWER)) as http:
        page = (await http.get(f"/executions/{id_}")).text
        assert page.lower().count(GONE.lower()) == 5  # log, arguments, prompt, event, what the agent left
        assert "contractor@example.com" not in page
        page = (await http.get(f"/approvals/{approval}")).text
        assert (GONE in page, asked["digest"] in page, "contractor@example.com" in page) == (True, True, False)
        raw = await http.get(f"/executions/{id_}/log.txt")
        assert (raw.status_code, "deleted by retention" in raw.text) == (404, True)


async def test_the_approval_after_it_is_not_compared_with_a_call_that_lost_its_arguments(desk: Desk) -> None:
    await paid(desk.world.house)
    await forget(desk.world.house)
    _, approval = await paid(desk.world.house, days=0)
    async with desk.world.client(await desk.world.token(Role.VIEWER)) as http:
        page = await http.get(f"/approvals/{approval}")
        assert (page.status_code, "compared with" in page.text) == (200, False)


async def test_the_command_line_says_why_there_is_no_log_and_the_record_verifies(desk: Desk) -> None:
    id_, _ = await paid(desk.world.house)
    await forget(desk.world.house)
    done = await desk.admin.run("executions", "logs", id_)
    assert (done.code, done.out, "deleted by retention" in done.err) == (0, "", True)
    here = desk.here()
    verified = await here.run("audit", "verify")
    assert (verified.code, "1 approvals were deleted by retention" in verified.err) == (0, True)
    await desk.world.house.db.write(lambda tx: tx.execute(sa.update(tool_calls).values(digest="0" * 64)))
    assert (await here.run("audit", "verify")).code == 1


def test_the_section_of_preloop_toml_becomes_rules() -> None:
    found = load(retention={"logs_days": 30, "keep": "10g"}).retention.rules()
    assert found == Rules(logs_days=30, keep=10 << 30)
    assert load().retention.rules() == Rules()


@pytest.mark.parametrize("given", [{"logs_days": 0}, {"keep": "0g"}, {"keep": "much"}, {"days": 1}])
def test_a_section_that_says_nothing_sensible_is_refused_by_name(given: dict[str, object]) -> None:
    with pytest.raises(Invalid) as caught:
        load(retention=given)
    assert f"retention.{next(iter(given))}" in caught.value.message
