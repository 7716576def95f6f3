"""GitHub and GitLab: proven deliveries start the flows whose triggers let them through."""

import hashlib
import hmac
import json
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
import sqlalchemy as sa

from control.executions.states import Cause
from control.identity.principals import Role
from control.tables import executions, senders
from kit import webhooks
from tests.fakes import code_hosts as sent
from tests.web.world import World, compact, open_world
from web.settings import WebSettings

TRIAGE = """
version: 1
name: triage
agent: {runtime: scripted, model: default}
triggers:
  - {type: github, events: [issue, comment], repositories: ["acme/*"]}
  - {type: gitlab, events: [issue, comment], authors: [maya-lin]}
prompt: "{{trigger_event.repository}}#{{trigger_event.payload.issue.number}} by {{trigger_event.sender}}"
"""
ON_LABEL = """
version: 1
name: on-label
agent: {runtime: scripted, model: default}
triggers: [{type: github, events: [issue, label], labels: [bug, agent]}]
prompt: Look at {{trigger_event.url}}
"""


@pytest.fixture
async def secret(world: World) -> str:
    """Two flows of code hosts, and GitHub's secret."""
    await world.house.apply(TRIAGE)
    await world.house.apply(ON_LABEL)
    return await made(world)


async def made(world: World, kind: str = "github", **asked: Any) -> str:
    """A new secret of a sender."""
    async with world.program(await world.token(kind="api")) as http:
        answer = await http.post(f"/api/v1/senders/{kind}/secret", json=asked)
        assert answer.status_code == 201
        return str(answer.json()["secret"])


async def github(
    world: World,
    secret: str,
    payload: Any,
    kind: str = "issues",
    delivery: str = "9c1c1b10-2f00-11f1-9d5a-3ab1d2a5b0c1",
    **headers: str,
) -> httpx.Response:
    body = payload if isinstance(payload, bytes) else compact(payload)
    signature = "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
    told = {"x-github-event": kind, "x-github-delivery": delivery, "x-hub-signature-256": signature}
    async with world.program() as http:
        return await http.post("/hooks/github", content=body, headers=told | headers)


async def gitlab(world: World, payload: Any, kind: str = "Issue Hook", **headers: str) -> httpx.Response:
    body = payload if isinstance(payload, bytes) else compact(payload)
    told = {"x-gitlab-event": kind, "idempotency-key": "5f3a9a1e", "x-gitlab-event-uuid": "0c1d"}
    async with world.program() as http:
        return await http.post("/hooks/gitlab", content=body, headers=told | headers)


async def stored(world: World) -> list[Any]:
    return list(await world.house.db.read(sa.select(executions).order_by(executions.c.flow_name)))


async def test_one_delivery_starts_every_flow_that_lets_it_through(world: World, secret: str) -> None:
    answer = await github(world, secret, sent.issue())
    told = answer.json()
    assert (answer.status_code, told["event"], told["action"], told["refused"]) == (202, "issue", "opened", [])
    assert [started["flow"] for started in told["executions"]] == ["on-label", "triage"]
    assert told["execution_id"] == told["executions"][0]["execution_id"]
    assert told["url"] == f"http://127.0.0.1:8080/executions/{told['execution_id']}"
    by_label, triage = await stored(world)
    assert (by_label.prompt, triage.prompt) == (f"Look at {sent.ISSUE['html_url']}", "acme/shop#42 by maya-lin")
    assert {row.trigger_type for row in (by_label, triage)} == {"github"}
    assert {row.source_url for row in (by_label, triage)} == {sent.ISSUE["html_url"]}
    async with world.client(await world.token()) as http:
        page = (await http.get(f"/executions/{triage.id}")).text
    assert "github issue opened" in page and f'href="{sent.ISSUE["html_url"]}"' in page


async def test_what_is_known_of_an_event_stands_beside_its_payload(world: World, secret: str) -> None:
    await github(world, secret, sent.labeled())
    [row] = await stored(world)
    event = json.loads(row.trigger_event)
    assert event.pop("payload") == sent.labeled()
    assert event == {
        "type": "github",
        "event": "label",
        "action": "labeled",
        "on": "issue",
        "repository": "acme/shop",
        "sender": "maya-lin",
        "author": "maya-lin",
        "author_association": "MEMBER",
        "number": 42,
        "title": sent.ISSUE["title"],
        "body": sent.ISSUE["body"],
        "labels": ["bug"],
        "changed": ["agent"],
        "url": sent.ISSUE["html_url"],
        "delivery": "9c1c1b10-2f00-11f1-9d5a-3ab1d2a5b0c1",
    }


async def test_a_ping_is_answered_and_starts_nothing(world: World, secret: str) -> None:
    answer = await github(world, secret, sent.ping(), kind="ping")
    assert (answer.status_code, answer.json()) == (200, {"executions": [], "ignored": "Nothing is started by 'ping'."})
    assert await stored(world) == []


@pytest.mark.parametrize(
    ("kind", "payload"),
    [
        ("workflow_run", sent.github("completed")),
        ("issues", sent.issue("closed")),
        ("issues", sent.issue(author_association="NONE")),
        ("issues", sent.issue() | {"repository": sent.REPOSITORY | {"full_name": "other/shop"}, "label": 1}),
        ("issues", []),
        ("push", sent.push("refs/tags/v1")),
    ],
)
async def test_what_no_trigger_lets_through_starts_nothing(world: World, secret: str, kind: str, payload: Any) -> None:
    if kind == "issues" and payload and payload["repository"]["full_name"] == "other/shop":
        payload["issue"]["labels"] = []
    answer = await github(world, secret, payload, kind=kind)
    assert (answer.status_code, answer.json()["executions"]) == (200, [])
    assert answer.json()["ignored"]
    assert await stored(world) == []


async def test_the_same_body_is_the_same_delivery_whatever_its_header_says(world: World, secret: str) -> None:
    first = (await github(world, secret, sent.issue())).json()["executions"]
    replayed = (await github(world, secret, sent.issue(), delivery="another")).json()["executions"]
    other = (await github(world, secret, sent.issue(title="Another one"))).json()["executions"]
    assert replayed == [started | {"repeated": True} for started in first]
    assert {started["execution_id"] for started in other}.isdisjoint({one["execution_id"] for one in first})
    assert len(await stored(world)) == 4


async def test_who_can_not_show_the_secret_learns_nothing(world: World, secret: str) -> None:
    body = compact(sent.issue())
    sha1 = "sha1=" + hmac.new(secret.encode(), body, hashlib.sha1).hexdigest()
    answers = [
        await github(world, "wrong", sent.issue()),
        await github(world, secret, sent.issue(), **{"x-hub-signature-256": ""}),
        await github(world, secret, sent.issue(), **{"x-hub-signature-256": sha1}),
        await github(world, secret, sent.issue(), **{"x-hub-signature-256": "sha256=" + "0" * 64}),
        await github(world, "wrong", b"not json"),
        await github(world, "wrong", sent.ping(), kind="ping"),
    ]
    async with world.program(secret) as http:
        answers.append(await http.post("/hooks/github", content=body))  # its secret is no bearer token
    assert {answer.status_code for answer in answers} == {401}
    assert len({answer.text for answer in answers}) == 1
    assert await stored(world) == []


async def test_before_a_secret_was_made_nobody_is_let_in(world: World) -> None:
    await world.house.apply(TRIAGE)
    for guess in ("", "None", "whsec_"):
        assert (await github(world, guess, sent.issue())).status_code == 401
        assert (await gitlab(world, sent.gitlab_issue(), **{"x-gitlab-token": guess})).status_code == 401
    assert await stored(world) == []


async def test_two_secrets_of_a_sender_are_good_until_the_day_is_over(world: World, secret: str) -> None:
    newer = await made(world)
    assert (await github(world, secret, sent.issue())).status_code == 202
    assert (await github(world, newer, sent.issue())).status_code == 202
    over = sa.update(senders).values(before_until=datetime.now(UTC))
    await world.house.db.write(lambda tx: tx.execute(over))
    assert (await github(world, secret, sent.issue())).status_code == 401
    newest = await made(world, now=True)
    assert [(await github(world, one, sent.issue())).status_code for one in (newer, newest)] == [401, 202]


@pytest.mark.parametrize("body", [b"", b"payload=%7B%7D", b"\xff", b'{"a":1,"a":2}', b"[" * 5000])
async def test_a_body_that_is_no_json_is_told_to_who_knows_the_secret(world: World, secret: str, body: bytes) -> None:
    answer = await github(world, secret, body)
    assert (answer.status_code, answer.json()["code"]) == (422, "payload_invalid")
    assert "application/json" in answer.json()["hint"]


async def test_a_body_that_is_too_large_is_not_read(world: World, secret: str) -> None:
    read = 0

    async def endless() -> Any:
        nonlocal read
        while True:
            read += 1
            yield b"x" * 65536

    async with world.program() as http:
        answer = await http.post("/hooks/github", content=endless())
    assert (answer.status_code, answer.json()["code"]) == (413, "body_too_large")
    assert read < 40  # of 64 KiB: little more than the megabyte that is taken


async def test_a_flow_that_takes_no_more_keeps_no_other_from_starting(tmp_path: Path) -> None:
    async with open_world(tmp_path, WebSettings(max_pending=1)) as world:
        await world.house.apply(TRIAGE)
        secret = await made(world)
        assert (await github(world, secret, sent.issue())).status_code == 202
        full = await github(world, secret, sent.issue(title="Another one"))
        assert (full.status_code, full.json()["code"], full.headers["retry-after"]) == (429, "queue_full", "60")
        await world.house.apply(ON_LABEL)
        some = await github(world, secret, sent.issue(title="Another one"))
        assert some.status_code == 202
        assert [one["flow"] for one in some.json()["executions"]] == ["on-label"]
        assert [(one["flow"], one["code"]) for one in some.json()["refused"]] == [("triage", "queue_full")]


async def test_a_flow_is_started_so_often_by_one_sender(tmp_path: Path) -> None:
    async with open_world(tmp_path, WebSettings(deliveries_per_minute=2)) as world:
        await world.house.apply(TRIAGE)
        secret = await made(world)
        answers = [await github(world, secret, sent.issue(title=str(number))) for number in range(3)]
        assert [answer.status_code for answer in answers] == [202, 202, 429]
        ignored = await github(world, secret, sent.issue("closed"))
        assert ignored.status_code == 200  # what starts nothing uses nothing up


async def test_gitlab_s_secret_token(world: World, secret: str) -> None:
    token = await made(world, "gitlab")
    answer = await gitlab(world, sent.gitlab_issue(), **{"x-gitlab-token": token})
    assert (answer.status_code, [one["flow"] for one in answer.json()["executions"]]) == (202, ["triage"])
    [row] = await stored(world)
    event = json.loads(row.trigger_event)
    assert (event["type"], event["event"], event["action"], event["number"]) == ("gitlab", "issue", "opened", 42)
    assert event["delivery"] == "5f3a9a1e"
    assert row.source_url == "https://gitlab.example.com/acme/shop/-/issues/42"
    again = await gitlab(world, sent.gitlab_issue(), **{"x-gitlab-token": token, "idempotency-key": "other"})
    assert again.json()["executions"][0]["repeated"] is True
    for wrong in (secret, token[:-1], token + "x", ""):
        assert (await gitlab(world, sent.gitlab_issue(), **{"x-gitlab-token": wrong})).status_code == 401


async def test_gitlab_s_signing_token_has_to_hold_where_there_is_a_signature(world: World, secret: str) -> None:
    token = await made(world, "gitlab", secret="whsec_dGVzdHRlc3R0ZXN0dGVzdHRlc3R0ZXN0dGVzdHRlc3Q=")
    payload, now = sent.gitlab_issue(), int(time.time())
    good = webhooks.sign(token, message_id="5f3a9a1e", timestamp=now, body=compact(payload))
    old = webhooks.sign(token, message_id="5f3a9a1e", timestamp=now - 301, body=compact(payload))
    other = webhooks.sign(token, message_id="5f3a9a1e", timestamp=now, body=b"{}")
    assert (await gitlab(world, payload, **good)).status_code == 202
    assert (await gitlab(world, payload, **old)).status_code == 401
    assert (await gitlab(world, payload, **other)).status_code == 401
    assert (await gitlab(world, payload, **{**other, "x-gitlab-token": token})).status_code == 401


async def test_gitlab_starts_only_by_whom_the_flow_names(world: World, secret: str) -> None:
    token = {"x-gitlab-token": await made(world, "gitlab")}
    stranger = sent.gitlab_issue() | {"user": sent.GITLAB_USER | {"username": "stranger"}}
    assert (await gitlab(world, stranger, **token)).json()["executions"] == []
    assert (await gitlab(world, sent.gitlab_push(), kind="Push Hook", **token)).status_code == 200
    assert (await gitlab(world, sent.note(), kind="Note Hook", **token)).status_code == 202


async def test_a_delivery_sent_again_later_names_the_first(world: World, secret: str) -> None:
    first = (await github(world, secret, sent.comment(), kind="issue_comment")).json()["execution_id"]
    await world.house.end(first, Cause.CANCELLED)
    long_ago = sa.update(executions).values(ended_at=datetime(2026, 1, 1, tzinfo=UTC))
    await world.house.db.write(lambda tx: tx.execute(long_ago))
    again = (await github(world, secret, sent.comment(), kind="issue_comment")).json()["execution_id"]
    assert (await world.house.row(again)).resends == first


async def test_senders_are_listed_without_their_secrets_and_made_by_admins(world: World) -> None:
    async with world.program(await world.token(Role.OPERATOR, "api")) as http:
        assert (await http.get("/api/v1/senders")).json() == {"items": [], "next": None}
        assert (await http.post("/api/v1/senders/github/secret")).status_code == 403
    secret = await made(world)
    async with world.program(await world.token(kind="api")) as http:
        listed = (await http.get("/api/v1/senders")).json()["items"]
        unknown = await http.post("/api/v1/senders/bitbucket/secret")
        weak = await http.post("/api/v1/senders/gitlab/secret", json={"secret": "hunter2"})
    assert [(one["kind"], one["url"]) for one in listed] == [("github", "http://127.0.0.1:8080/hooks/github")]
    assert secret not in json.dumps(listed)
    assert (unknown.status_code, weak.status_code) == (404, 422)
