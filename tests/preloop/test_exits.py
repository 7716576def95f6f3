"""Exit codes are the contract's, whatever the command: 2 nobody knows it, 3 refused, 4 nobody answers."""

import json
from pathlib import Path

import anyio
import pytest

from control.identity.principals import Role
from tests.preloop.terminal import Desk, Done, Terminal

UNKNOWN = (
    "run no-such-flow",
    "flows show no-such-flow",
    "flows versions no-such-flow",
    "flows render no-such-flow",
    "flows export no-such-flow",
    "executions show exe_no",
    "executions logs exe_no",
    "executions cancel exe_no",
    "executions rerun exe_no",
    "approvals show apr_no",
    "approvals approve apr_no",
    "approvals decline apr_no --reason no",
    "policy explain no-such-flow --server payments --tool pay",
    "tools diff payments no-such-tool",
    "tools accept payments no-such-tool",
    "sessions revoke ses_no",
    "tokens revoke tok_no",
    "tokens create x --flow no-such-flow",
    "webhooks rotate no-such-flow",
)
REFUSED = (
    "run process-payment",
    "executions cancel exe_no",
    "sessions revoke ses_no",
    "tokens create x",
    "users add a@b.c",
    "users list",
    "webhooks rotate process-payment",
    "settings",
    "settings --set plan=free",
)
LISTS = (
    *("flows list", "executions list", "approvals list", "tools list", "models list", "budgets list"),
    *("sessions list", "tokens list", "users list", "webhooks list", "spend", "settings"),
)


async def all_of(terminal: Terminal, commands: tuple[str, ...]) -> dict[str, Done]:
    found: dict[str, Done] = {}
    room = anyio.CapacityLimiter(3)

    async def one(command: str) -> None:
        async with room:
            found[command] = await terminal.run(*command.split(), "--json", stdin=b"")

    async with anyio.create_task_group() as tasks:
        for command in commands:
            tasks.start_soon(one, command)
    return found


def wrong(found: dict[str, Done], code: int) -> dict[str, tuple[int, str]]:
    """Those that did not end so, or without a sentence and its code as JSON, or for a misspelt command."""
    bad = {}
    for command, done in found.items():
        try:
            told = done.json
        except json.JSONDecodeError:
            told = {}
        if (
            done.code != code
            or told.get("code", "usage") == "usage"
            or not told.get("detail")
            or "Traceback" in done.err
        ):
            bad[command] = (done.code, (done.out + done.err)[:300])
    return bad


@pytest.mark.timeout(300)
async def test_what_nobody_knows_is_2(desk: Desk) -> None:
    assert wrong(await all_of(desk.admin, UNKNOWN), 2) == {}


async def test_what_a_role_may_not_is_3(desk: Desk) -> None:
    assert wrong(await all_of(await desk.of(Role.VIEWER), REFUSED), 3) == {}


async def test_a_token_that_is_none_is_3(desk: Desk) -> None:
    assert wrong(await all_of(desk.admin.at(token="pla_guessed"), LISTS[:3]), 3) == {}


async def test_where_nobody_answers_is_4(tmp_path: Path) -> None:
    nowhere = Terminal(folder=tmp_path).at(url="http://127.0.0.1:9", token="pla_x")
    assert wrong(await all_of(nowhere, LISTS), 4) == {}
