"""What people see of schedules: the next three times, in REST and on the flow's page."""

from datetime import UTC, datetime, timedelta

import httpx
import pytest

from tests.web.world import World

DAILY = """
version: 1
name: report
agent: {runtime: scripted, model: default}
triggers:
  - {type: schedule, cron: "0 9 * * *", zone: Asia/Kolkata}
  - {type: schedule, cron: "*/15 * * * *", missed: skip}
prompt: Report.
"""


@pytest.fixture
async def flow(world: World) -> dict[str, object]:
    await world.house.apply(DAILY)
    async with world.program(await world.token(kind="api")) as http:
        answer: httpx.Response = await http.get("/api/v1/flows/report")
        return dict(answer.json())


def times(found: object) -> list[datetime]:
    assert isinstance(found, dict)
    return [datetime.fromisoformat(text) for text in found["next"]]


async def test_the_next_three_times_of_each_schedule_are_told(flow: dict[str, object]) -> None:
    assert isinstance(flow["schedules"], list)
    [daily, often] = flow["schedules"]
    assert (daily["cron"], daily["zone"], daily["missed"]) == ("0 9 * * *", "Asia/Kolkata", "run_once")
    assert (often["zone"], often["missed"]) == ("UTC", "skip")
    assert {(at.astimezone(UTC).hour, at.astimezone(UTC).minute) for at in times(daily)} == {(3, 30)}
    for found, step in ((daily, timedelta(days=1)), (often, timedelta(minutes=15))):
        first, second, third = times(found)
        assert second - first == third - second == step
        assert timedelta() < first - datetime.now(UTC) <= step


async def test_an_older_version_fires_no_more(world: World, flow: dict[str, object]) -> None:
    await world.house.apply(DAILY.replace("Report.", "Report again."))
    async with world.program(await world.token(kind="api")) as http:
        older = (await http.get("/api/v1/flows/report?version=1")).json()
    assert (older["prompt"], older["schedules"]) == ("Report.", [])


async def test_the_flow_s_page_shows_them(world: World, flow: dict[str, object]) -> None:
    async with world.client(await world.token()) as http:
        page = (await http.get("/flows/report")).text
    assert "Asia/Kolkata" in page
    assert page.count("<time") >= 6
