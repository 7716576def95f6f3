"""The pages of settings, the record, sessions and spend: what they show, and that their forms do what REST does."""

from dataclasses import replace

import pytest
import sqlalchemy as sa

from control.identity.principals import Role
from control.retention.rules import Rules
from control.tables import events
from ledger.limits import Limit, Limits
from preloop.in_force import Setting
from tests.browser.scene import Scene, set_scene
from tests.web.test_people import typed
from tests.web.world import World
from web.parts import Operated

DAYS = ("logs_days", "payloads_days", "results_days", "bodies_days")


@pytest.fixture
async def scene(world: World) -> Scene:
    return await set_scene(world)


async def kept(world: World) -> dict[str, object]:
    async with world.program(await world.token(Role.ADMIN, "api")) as http:
        told: dict[str, object] = (await http.get("/api/v1/settings")).json()["account"]["retention"]
    return told


async def test_retention_is_set_by_form_key_by_key_and_given_back(world: World) -> None:
    world.app.state.parts = replace(world.app.state.parts, operated=Operated(retention=Rules(results_days=90)))
    async with world.client(await world.token()) as http:
        fields = dict.fromkeys(DAYS, "") | {"logs_days": "30", "results_days": "90", "keep": "10G"}
        done = await http.post("/settings/retention", data=fields)
        assert (done.status_code, "Saved." in (await http.get(done.headers["location"])).text) == (303, True)
        now = await kept(world)
        assert (now["logs_days"], now["keep"], now["chosen"]) == (30, 10 << 30, ["keep", "logs_days"])
        assert typed((await http.get("/settings")).text, "keep") == "10g"
        await http.post("/settings/retention", data={"file": "1"})
    assert (await kept(world))["chosen"] == []


@pytest.mark.parametrize("wrong", [{"logs_days": "soon"}, {"logs_days": "0"}, {"keep": "10 pounds"}])
async def test_what_makes_no_sense_stays_in_the_form_and_changes_nothing(world: World, wrong: dict[str, str]) -> None:
    async with world.client(await world.token()) as http:
        answer = await http.post("/settings/retention", data=dict.fromkeys((*DAYS, "keep"), "") | wrong)
        [(name, value)] = wrong.items()
        assert (answer.status_code, typed(answer.text, name)) == (422, value)
        zone = await http.post("/settings/account", data={"plan": "free", "time_zone": "Mars/Base"})
    assert (zone.status_code, typed(zone.text, "time_zone")) == (422, "Mars/Base")
    assert (await kept(world))["chosen"] == []


async def test_every_value_says_where_it_came_from_and_markup_in_it_is_text(world: World) -> None:
    settings = [
        Setting(key="data", value="/srv", source="flag"),
        Setting(key="server.port", value=8080, source="default"),
        Setting(key="server.public_url", value="<b>x</b>", source="environment"),
        Setting(key="log_level", value="info", source="default"),
    ]
    world.app.state.parts = replace(world.app.state.parts, operated=Operated(settings=settings))
    async with world.client(await world.token()) as http:
        html = (await http.get("/settings")).text
    assert "[server]" in html
    assert html.index("<code>data</code>") < html.index("<code>log_level</code>") < html.index("[server]")
    assert html.index("server.port") < html.index("server.public_url")
    assert ("&lt;b&gt;x&lt;/b&gt;" in html, "<b>x</b>" in html) == (True, False)
    assert html.count('<span class="chip">environment</span>') == 1


async def test_the_record_is_shown_with_its_chain_and_a_forged_event_is_seen(world: World, scene: Scene) -> None:
    run = scene.runs["SUCCEEDED"]
    async with world.client(await world.token()) as http:
        html = (await http.get("/audit", params={"stream": run})).text
        assert (html.count("its link holds"), "its link is broken" in html) == (html.count("<li>") - side(html), False)
        assert f'href="/executions/{run}"' in html
        assert 'href="/approvals/apr_' in html
        forged = sa.update(events).where(events.c.stream == run, events.c.type == "tool.asked")
        body = sa.func.replace(events.c.body, "pay", "pray")
        assert await world.house.db.write(lambda tx: tx.changed(forged.values(body=body)))
        html = (await http.get("/audit", params={"stream": run, "limit": "200"})).text
    assert "its link is broken" in html


def side(html: str) -> int:
    """Entries of the sidebar."""
    return html.split("<main")[0].count("<li>")


async def test_the_record_goes_on_and_keeps_its_filter(world: World, scene: Scene) -> None:
    async with world.client(await world.token()) as http:
        html = (await http.get("/audit?type=execution.created&limit=2")).text
        further = html.split('rel="next"')[0].split('href="')[-1].split('"')[0].replace("&amp;", "&")
        older = (await http.get(f"/audit{further}")).text
    assert "type=execution.created" in further
    for page in (html, older):
        assert "<strong>execution.ended</strong>" not in page
    assert html.split("<main")[1].split("#")[1] != older.split("<main")[1]


async def test_sessions_begin_with_those_alive_and_an_operator_ends_one(world: World, scene: Scene) -> None:
    path = f"/sessions/{scene.running.session_id}"
    async with world.client(await world.token(Role.VIEWER)) as http:
        html = (await http.get("/sessions")).text
        assert (path in html, ">Revoke</summary>" in html) == (True, False)
        assert (await http.post(path + "/revoke")).status_code == 403
        assert (await http.get("/sessions?state=dead")).status_code == 422
    async with world.client(await world.token(Role.OPERATOR)) as http:
        assert "payments/pay" in (await http.get(path)).text
        assert (await http.post(path + "/revoke")).headers["location"] == path
        assert path not in (await http.get("/sessions")).text
        assert path in (await http.get("/sessions?state=all")).text


async def test_spend_has_each_budget_beside_its_lines(world: World, scene: Scene) -> None:
    limits = Limits([Limit(scope="account", period="day", limit_nano=5 * 10**9, kind="soft")])
    world.app.state.parts = replace(world.app.state.parts, limits=limits)
    await world.spent(scene.runs["SUCCEEDED"], cost_nano=None, model="mystery")
    async with world.client(await world.token(Role.VIEWER)) as http:
        html = (await http.get("/spend?by=day,model")).text
        download = html.split('href="/api/v1/spend?')[1].split('"')[0].replace("&amp;", "&")
        csv = (await http.get("/api/v1/spend?" + download)).text
    assert ("$5.00" in html, "soft: only tells" in html) == (True, True)
    assert "unpriced</span>" in html
    assert csv.splitlines()[0].startswith("day,model,")
