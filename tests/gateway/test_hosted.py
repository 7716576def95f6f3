"""Tools that run at the provider: listed, priced and bounded, or refused; counted and billed as the provider counts."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from control.identity import sessions
from control.identity.accounts import DEFAULT
from control.identity.charter import Charter, Gate, ToolGrant
from control.identity.principals import AUDIENCE
from gateway.dialects.hosted import MOST_USES
from tests.fakes import raw_provider as raw
from tests.fakes.raw_provider import Provider, Step
from tests.gateway.hosted_cases import (
    CASES,
    CHAT,
    GEMINI,
    MESSAGES,
    RESPONSES,
    TOKENS_NANO,
    USES_NANO,
    WINDOW,
    Case,
    responded,
)
from tests.gateway.plane import PRICES, Plane, open_plane

GATE = Gate(group="finance")


def _play(case: Case, *, stream: bool, end: bool = True) -> list[Step]:
    if not stream:
        return raw.whole(json.dumps(case.answer).encode())
    events = case.events if end else case.events[:-1]
    return raw.stream([b"data: " + json.dumps(event).encode() + b"\n\n" for event in events], end=end)


@asynccontextmanager
async def opened(
    folder: Path, case: Case, play: list[Step], budgets: tuple[dict[str, str], ...] = (), **alias: Any
) -> AsyncIterator[tuple[Plane, Provider]]:
    async with raw.serve(play) as provider:
        entry: dict[str, Any] = {
            "model": "up",
            "base_url": provider.url,
            "api_key": "k",
            "dialects": [case.wire],
            **PRICES,
        }
        entry |= {"hosted_usd": {case.tool: "0.01"}, "max_input_tokens": WINDOW, "retries": 0} | alias
        async with open_plane(folder, {"m": entry}, budgets=budgets) as plane:
            yield plane, provider


async def session_of(plane: Plane, *grants: ToolGrant, budget_nano: int | None = None) -> tuple[str, str]:
    until = datetime.now(UTC) + timedelta(minutes=10)
    charter = Charter(flow="research", tools=grants, models=("m",), budget_nano=budget_nano)
    id_ = await plane.db.write(
        lambda tx: sessions.open_session(
            tx, DEFAULT, kind="execution", principal="agent", charter=charter, alive_until=until
        )
    )
    return id_, plane.signer.sign(subject=id_, audience=AUDIENCE, expires_at=until)


async def ask(plane: Plane, token: str, case: Case, *, stream: bool = False, **more: Any) -> httpx.Response:
    asked = case.asked | ({"stream": True} if stream and case.wire != "gemini" else {}) | more
    async with httpx.AsyncClient(
        verify=False, base_url=plane.containers, headers={"authorization": f"Bearer {token}"}
    ) as client:
        return await client.post(case.stream_path if stream else case.path, json=asked)


def _listed(case: Case) -> ToolGrant:
    return ToolGrant(server="provider", tool=case.tool)


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("case", CASES, ids=["responses", "messages", "gemini-3", "gemini-2", "chat", "chat-counted"])
async def test_uses_are_counted_and_billed_beside_the_tokens(tmp_path: Path, case: Case, stream: bool) -> None:
    async with opened(tmp_path, case, _play(case, stream=stream)) as (plane, provider):
        session, token = await session_of(plane, _listed(case))
        answer = await ask(plane, token, case, stream=stream)
        assert answer.status_code == 200, answer.text
        assert "So." in answer.text
        assert case.tool in provider.bodies[0].decode()
        spend = await plane.spend(session)
        assert (spend.hosted_calls, spend.hosted_nano) == (case.uses, case.uses * USES_NANO)
        assert (spend.cost_nano, spend.estimated) == (TOKENS_NANO + case.uses * USES_NANO, 0)


@pytest.mark.parametrize("case", [RESPONSES, MESSAGES], ids=["responses", "messages"])
async def test_a_hard_budget_is_held_for_all_it_may_come_to_and_the_provider_is_told_the_bound(
    tmp_path: Path, case: Case
) -> None:
    async with opened(tmp_path, case, _play(case, stream=False)) as (plane, provider):
        session, token = await session_of(plane, _listed(case), budget_nano=10**9)
        more: dict[str, Any] = {"max_tool_calls": 3, "max_output_tokens": 50} if case is RESPONSES else {}
        assert (await ask(plane, token, case, **more)).status_code == 200
        sent = provider.requests[0]
        told = sent["max_tool_calls"] if case is RESPONSES else sent["tools"][0]["max_uses"]
        assert told == 3
        await plane.settled()
        held = next(data["held_nano"] for type_, data in await plane.happened(session) if type_ == "model.requested")
        assert held == 4 * WINDOW * 2_500 + 50 * 10_000 + 3 * USES_NANO
        assert (await plane.standing(session)).spent_nano == TOKENS_NANO + 2 * USES_NANO


async def test_a_client_that_names_no_bound_gets_ours(tmp_path: Path) -> None:
    async with opened(tmp_path, RESPONSES, _play(RESPONSES, stream=False)) as (plane, provider):
        _, token = await session_of(plane, _listed(RESPONSES))
        await ask(plane, token, RESPONSES, max_tool_calls=99)
        await ask(plane, token, RESPONSES)
        assert [sent["max_tool_calls"] for sent in provider.requests] == [MOST_USES, MOST_USES]


@pytest.mark.parametrize(
    ("case", "alias", "hint"),
    [
        (CHAT, {}, "This wire has no bound for the uses of 'web_search'"),
        (GEMINI, {}, "This wire has no bound for the uses of 'googleSearch'"),
        (RESPONSES, {"max_input_tokens": None}, "Set max_input_tokens"),
    ],
    ids=["chat", "gemini", "no window"],
)
async def test_what_has_no_bound_is_refused_under_a_hard_budget_alone(
    tmp_path: Path, case: Case, alias: dict[str, Any], hint: str
) -> None:
    soft = ({"scope": "account", "limit_usd": "1.00", "kind": "soft"},)
    async with opened(tmp_path, case, _play(case, stream=False), soft, **alias) as (plane, provider):
        _, limited = await session_of(plane, _listed(case), budget_nano=10**9)
        refused = await ask(plane, limited, case)
        assert refused.status_code in (400, 403), refused.text
        assert "can't be said, and this run has a hard limit" in refused.text
        assert hint in refused.text
        assert provider.bodies == []
        session, free = await session_of(plane, _listed(case))
        assert (await ask(plane, free, case)).status_code == 200
        assert (await plane.spend(session)).hosted_calls == case.uses


@pytest.mark.parametrize(
    ("grants", "hosted_usd", "code"),
    [
        ((), {"web_search": "0.01"}, "hosted_tool_not_allowed"),
        ((ToolGrant(server="provider", tool="*"),), {"web_search": "0.01"}, "hosted_tool_not_allowed"),
        ((ToolGrant(server="other", tool="web_search"),), {"web_search": "0.01"}, "hosted_tool_not_allowed"),
        ((ToolGrant(server="provider", tool="web_search", approval=GATE),), {"web_search": "0.01"}, "not_allowed"),
        ((ToolGrant(server="provider", tool="web_search"),), {}, "hosted_tool_unpriced"),
    ],
    ids=["not listed", "a pattern", "another server's", "asked first", "no price"],
)
async def test_what_is_not_listed_or_has_no_price_never_reaches_the_provider(
    tmp_path: Path, grants: tuple[ToolGrant, ...], hosted_usd: dict[str, str], code: str
) -> None:
    play = _play(RESPONSES, stream=False)
    async with opened(tmp_path, RESPONSES, play, hosted_usd=hosted_usd) as (plane, provider):
        _, token = await session_of(plane, *grants)
        answer = await ask(plane, token, RESPONSES)
        assert answer.status_code == 400
        assert code in answer.json()["error"]["code"]
        assert provider.bodies == []


@pytest.mark.parametrize(
    ("tool", "said"),
    [
        ({"type": "image_generation"}, "Counting the uses of 'image_generation'"),
        ({"type": "computer"}, "Counting the uses of 'computer'"),
        ({"type": "code_interpreter", "container": {"type": "auto", "memory_limit": "4g"}}, "another price"),
        ({"type": "mcp", "server_label": "x", "server_url": "http://mcp.test/"}, "must begin with https://"),
    ],
    ids=["image", "computer", "large container", "plain http"],
)
async def test_a_listed_tool_that_nobody_counts_is_refused(tmp_path: Path, tool: dict[str, Any], said: str) -> None:
    async with opened(tmp_path, RESPONSES, _play(RESPONSES, stream=False)) as (plane, provider):
        _, token = await session_of(plane, ToolGrant(server="provider", tool=tool["type"]))
        answer = await ask(plane, token, RESPONSES, tools=[tool])
        assert (answer.status_code, said in answer.text) == (400, True)
        assert provider.bodies == []


async def test_a_remote_server_is_listed_by_its_host_and_its_calls_are_counted(tmp_path: Path) -> None:
    calls = [{"type": "mcp_list_tools"}, *({"type": "mcp_call", "server_label": "docs"} for _ in range(3))]
    case = Case(
        wire="responses",
        path=RESPONSES.path,
        tool="mcp:docs.test",
        asked={"model": "m", "input": "Go."},
        answer=responded(output=calls),
        events=(),
    )
    tool = {"type": "mcp", "server_label": "docs", "server_url": "https://docs.test/mcp", "require_approval": "never"}
    async with opened(tmp_path, case, _play(case, stream=False)) as (plane, provider):
        session, token = await session_of(plane, _listed(case))
        refused = await ask(plane, token, case, tools=[tool | {"server_url": "https://evil.test/?docs.test"}])
        assert refused.json()["error"]["code"] == "hosted_tool_not_allowed"
        assert (await ask(plane, token, case, tools=[tool])).status_code == 200
        assert len(provider.bodies) == 1
        assert (await plane.spend(session)).hosted_calls == 3


@pytest.mark.parametrize("case", [RESPONSES, MESSAGES], ids=["responses", "messages"])
async def test_a_cut_answer_is_billed_one_use_at_least_and_marked(tmp_path: Path, case: Case) -> None:
    cut = _play(case, stream=True, end=False)
    async with opened(tmp_path, case, cut) as (plane, _):
        session, token = await session_of(plane, _listed(case))
        await ask(plane, token, case, stream=True)
        spend = await plane.spend(session)
        counted = 2 if case is MESSAGES else 1  # Anthropic says so before its last event
        assert (spend.estimated, spend.hosted_calls, spend.hosted_nano) == (1, counted, counted * USES_NANO)
