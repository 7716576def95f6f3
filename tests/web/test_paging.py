"""Every list, page by page: everything once and in order, also while things come and go; a cursor that is none."""

import base64
import json
from pathlib import Path
from typing import Any

import httpx
import pytest
import sqlalchemy as sa

from control.approvals import pins
from control.approvals.pins import Seen, Trust
from control.identity import accounts
from control.identity import charter as charters
from control.identity.charter import Charter
from control.identity.principals import Role
from control.tables import sessions, users
from kit import canonical
from kit.db import Tx
from kit.ids import new_id
from tests.browser.scene import set_scene
from tests.web.world import FLOW, World, open_world
from web import paging

ACCOUNT = "default"
LISTS = ("executions", "flows", "approvals", "grants", "sessions", "tools", "tokens", "users")
OF_A_RUN = ("tool-calls", "approvals", "model-calls", "logs", "events")


@pytest.fixture
async def http(world: World) -> httpx.AsyncClient:
    return world.program(await world.token(Role.ADMIN, "api"))


async def walk(http: httpx.AsyncClient, path: str, limit: int = 2) -> list[list[dict[str, Any]]]:
    """The pages of a list, followed by `next` alone."""
    pages: list[list[dict[str, Any]]] = []
    cursor: str | None = ""
    while cursor is not None and len(pages) < 50:
        answer = await http.get(f"/api/v1/{path}", params={"limit": limit, "cursor": cursor})
        assert answer.status_code == 200, answer.text
        pages.append(answer.json()["items"])
        cursor = answer.json()["next"]
    return pages


def still(items: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Without the times that grow while one looks."""
    return [{key: value for key, value in item.items() if not key.endswith("_ms")} for item in items]


async def fill(world: World) -> None:
    """Five of whatever a list may hold, with names that need quoting; two definitions of every other tool."""
    for n in range(5):
        await world.house.apply(FLOW.replace("process-payment", f"flow-{n}"))
        await world.token(Role.OPERATOR, "api")

    def unit(tx: Tx) -> None:
        for n in range(5):
            accounts.add_user(tx, ACCOUNT, email=f'"o\'{n}"@exämple.com', name="O", role=Role.VIEWER)
        for turn in range(2):
            raws = [{"name": f"files/read 100%/{n}", "description": str(turn * (n % 2))} for n in range(5)]
            found = [Seen(tool=r["name"], digest=canonical.digest(r), raw=canonical.dumps(r)) for r in raws]
            pins.see(tx, ACCOUNT, "payments", found, Trust(first_use=True))

    await world.house.db.write(unit)


async def wrong(world: World, http: httpx.AsyncClient) -> list[str]:
    """The lists whose pages don't give everything once, in the order of the whole, two at a time."""
    await set_scene(world)
    await fill(world)
    found = []
    for name in LISTS:
        whole = (await http.get(f"/api/v1/{name}?limit=200")).json()
        pages = await walk(http, name)
        once = still([item for page in pages for item in page]) == still(whole["items"])
        if whole["next"] is not None or not once or any(len(page) != 2 for page in pages[:-1]):
            found.append(name)
    return found


async def test_pages_give_everything_once_in_the_order_of_the_whole(world: World, http: httpx.AsyncClient) -> None:
    assert await wrong(world, http) == []


async def test_postgres_pages_as_sqlite_does(tmp_path: Path, postgres_tables: str) -> None:
    async with open_world(tmp_path, url=postgres_tables) as world:
        assert await wrong(world, world.program(await world.token(Role.ADMIN, "api"))) == []


@pytest.mark.parametrize("name", OF_A_RUN)
async def test_what_a_run_holds_is_paged_too(world: World, http: httpx.AsyncClient, name: str) -> None:
    scene = await set_scene(world)
    run = scene.runs["WAITING_FOR_APPROVAL"]
    for _ in range(3):
        await world.spent(run)
    path = f"executions/{run}/{name}"
    whole = (await http.get(f"/api/v1/{path}")).json()["items"]
    assert still([item for page in await walk(http, path, limit=1) for item in page]) == still(whole)


async def test_what_comes_and_goes_meanwhile_repeats_and_hides_nothing_else(
    world: World, http: httpx.AsyncClient
) -> None:
    await fill(world)
    first = (await http.get("/api/v1/users?limit=3")).json()
    later = [item["email"] for item in (await http.get("/api/v1/users")).json()["items"]][3:]

    def unit(tx: Tx) -> None:
        tx.execute(sa.delete(users).where(users.c.email == first["items"][2]["email"]))
        accounts.add_user(tx, ACCOUNT, email="!first@example.com", name="F", role=Role.VIEWER)

    await world.house.db.write(unit)
    second = (await http.get("/api/v1/users", params={"cursor": first["next"]})).json()
    assert [item["email"] for item in second["items"]] == later


async def test_a_list_longer_than_one_read_is_whole(world: World, http: httpx.AsyncClient) -> None:
    def unit(tx: Tx) -> None:
        now = tx.now()
        same = {
            "account_id": ACCOUNT,
            "kind": "enrolled",
            "principal": "agent:a",
            "charter": charters.dumps(Charter(flow="f", tools=(), models=())),
            "created_at": now,
            "opened_at": now,
        }
        tx.execute(sa.insert(sessions), [same | {"id": new_id("ses"), "alive_until": now} for _ in range(601)])

    await world.house.db.write(unit)
    found = [item["id"] for page in await walk(http, "sessions", limit=999) for item in page]
    assert len(set(found)) == len(found) == 601


@pytest.mark.parametrize("name", [*LISTS, "flows/process-payment/executions"])
@pytest.mark.parametrize(
    "cursor", ["exe_1", "%%%", "WzFd", "e30", "bnVsbA", base64.urlsafe_b64encode(b'["a","b","c"]').decode(), "é", "[]"]
)
async def test_a_cursor_that_is_none_is_refused_with_a_hint(http: httpx.AsyncClient, name: str, cursor: str) -> None:
    answer = await http.get(f"/api/v1/{name}", params={"cursor": cursor})
    assert (answer.status_code, answer.json()["code"]) == (400, "cursor_invalid")
    assert "`next`" in answer.json()["hint"]


@pytest.mark.parametrize("name", OF_A_RUN)
async def test_so_is_one_inside_a_run(world: World, http: httpx.AsyncClient, name: str) -> None:
    run = await world.house.start()
    answer = await http.get(f"/api/v1/executions/{run}/{name}", params={"cursor": "exe_1"})
    assert (answer.status_code, answer.json()["code"]) == (400, "cursor_invalid")


async def test_a_forged_cursor_shows_nothing_of_another_account(world: World, http: httpx.AsyncClient) -> None:
    def unit(tx: Tx) -> None:
        now = tx.now()
        other = {
            "account_id": "other",
            "kind": "enrolled",
            "principal": "agent:b",
            "charter": charters.dumps(Charter(flow="f", tools=(), models=())),
            "created_at": now,
            "opened_at": now,
        }
        tx.execute(sa.text("insert into accounts (id, name, created_at) values ('other', 'other', :now)"), {"now": now})
        tx.execute(sa.insert(sessions).values(other | {"id": "ses_other", "alive_until": now}))

    await world.house.db.write(unit)
    forged = base64.urlsafe_b64encode(json.dumps(["zzz"]).encode()).decode().rstrip("=")
    assert (await http.get("/api/v1/sessions", params={"cursor": forged})).json()["items"] == []


async def test_every_list_of_the_document_takes_a_cursor(http: httpx.AsyncClient) -> None:
    document = (await http.get("/api/openapi.json")).json()
    for path, item in document["paths"].items():
        schema = item.get("get", {}).get("responses", {}).get("200", {}).get("content", {})
        named = str(schema.get("application/json", {}).get("schema", {}).get("$ref", ""))
        if "Listed" in named:
            taken = {parameter["name"] for parameter in item["get"]["parameters"] if parameter["in"] == "query"}
            assert taken >= set(paging.QUERY), path


async def test_pages_for_people_lead_on(world: World, http: httpx.AsyncClient) -> None:
    await fill(world)
    async with world.client(await world.token(Role.ADMIN)) as browser:
        first = (await browser.get("/flows?limit=3")).text
        address = first.split('rel="next"')[0].rsplit('href="', 1)[1].split('"')[0]
        second = (await browser.get(f"/flows{address}")).text
    assert "flow-2" in first
    assert "flow-4" not in first
    assert "flow-4" in second
    assert "flow-2" not in second
