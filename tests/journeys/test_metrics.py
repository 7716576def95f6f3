"""Every figure that dashboard, alerts and docs name is there, when each role is a process and did its work."""

import re
from collections.abc import AsyncIterator

import pytest
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from preloop.demo import decide
from tests.fakes.collector import collector
from tests.house.plan import ROOT
from tests.house.test_dashboard import alerts, queries
from tests.journeys.plane import Plane
from tests.journeys.test_traces import four
from tests.postgres import Cluster
from tests.promql import read

Figures = dict[str, Metric]
TARGET = {"job", "instance"}
"""Labels that Prometheus puts on what it reads."""
OF_PLANE = {
    "preloop_executions",
    "preloop_queue_oldest_seconds",
    "preloop_approvals_pending",
    "preloop_approvals_oldest_seconds",
    "preloop_outbox_waiting",
}
pytestmark = pytest.mark.postgres


@pytest.fixture(scope="module")
async def scraped(
    anyio_backend: str, tmp_path_factory: pytest.TempPathFactory, postgres_cluster: Cluster
) -> AsyncIterator[dict[str, Figures]]:
    """Each role's figures after a run with an approval."""
    database = postgres_cluster.make_database("figures", postgres_cluster.newest)
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("COLLECTOR_TOKEN", "token")
        patched.setenv("OTEL_BSP_SCHEDULE_DELAY", "100")
        async with collector() as seen, four(tmp_path_factory.mktemp("roles"), seen, database) as roles:
            web = roles["web"]
            execution_id = await web.trigger()
            await web.waiting(execution_id)
            await decide(await web.link(), "approved")
            await web.ended(execution_id)
            await seen.has("execution process-payment")
            waits = await web.trigger()
            await web.waiting(waits)
            yield {role: await figures(process, web) for role, process in roles.items()}


async def figures(process: Plane, web: Plane) -> Figures:
    url = (await process.said("Preloop listens on")).split()[-1]
    async with web.http() as http:
        answer = await http.get(f"{url}/metrics")
    answer.raise_for_status()
    return {family.name: family for family in text_string_to_metric_families(answer.text)}


def samples(figures: Figures) -> dict[str, list[dict[str, str]]]:
    """The labels of each series, by its name."""
    found: dict[str, list[dict[str, str]]] = {}
    for family in figures.values():
        for sample in family.samples:
            found.setdefault(sample.name, []).append(dict(sample.labels))
    return found


def names(figures: Figures) -> set[str]:
    """The names of all series that there may be: one with labels has none before something happened."""
    ends = {"histogram": ("_bucket", "_count", "_sum"), "counter": ("_total",)}
    return {family.name + end for family in figures.values() for end in ends.get(family.type, ("",))}


def value(figures: Figures, name: str, **labels: str) -> float:
    return sum(
        sample.value
        for family in figures.values()
        for sample in family.samples
        if sample.name == name and labels.items() <= sample.labels.items()
    )


async def test_every_query_reads_figures_that_there_are(scraped: dict[str, Figures]) -> None:
    there = set.union(*map(names, scraped.values())) | {"up"}
    asked = {query: read(query) for query in [*queries(), *(rule["expr"] for rule in alerts())]}
    assert {query: sorted(one.metrics - there) for query, one in asked.items() if one.metrics - there} == {}


async def test_every_query_groups_and_selects_by_labels_that_they_have(scraped: dict[str, Figures]) -> None:
    known: dict[str, set[str]] = {}
    for figures in scraped.values():
        for name, found in samples(figures).items():
            known.setdefault(name, set()).update(*found)
    wrong = []
    for query in [*queries(), *(rule["expr"] for rule in alerts())]:
        one = read(query)
        its = set.union(set(), *(known[name] for name in one.metrics if name in known)) | TARGET
        if one.metrics <= known.keys() and not one.labels <= its:
            wrong.append(query)
        wrong += [query for name, label in one.selected if name in known and label not in known[name] | TARGET]
    assert wrong == []
    assert len([query for query in queries() if read(query).metrics <= known.keys()]) > 35


async def test_what_each_role_counted_is_there_once(scraped: dict[str, Figures]) -> None:
    counted = {
        role: {
            "made": value(figures, "preloop_executions_created_total", trigger="manual"),
            "claimed": value(figures, "preloop_executions_claimed_total"),
            "waited": value(figures, "preloop_queue_wait_seconds_count"),
            "ended": value(figures, "preloop_executions_ended_total", state="SUCCEEDED", cause=""),
            "asked models": value(figures, "preloop_model_attempts_total", alias="default", status="answered"),
            "called tools": value(figures, "preloop_tool_calls_total", server="payments", status="succeeded"),
            "decided": value(figures, "preloop_approvals_total", outcome="approved"),
        }
        for role, figures in scraped.items()
    }
    wanted = {
        "web": {"made": 2, "decided": 1},
        "runner": {"claimed": 2, "waited": 2, "ended": 1},
        "gateway": {"asked models": 3},
        "mcp": {"called tools": 1},
    }
    assert {role: {name: one for name, one in found.items() if one} for role, found in counted.items()} == wanted
    assert value(scraped["runner"], "preloop_log_lines_total") > 0
    assert value(scraped["runner"], "preloop_runner_executions") == 1
    assert all(value(scraped[role], "preloop_role", role=role) == 1 for role in scraped)
    assert all(value(figures, "preloop_db_write_seconds_count") > 0 for figures in scraped.values())
    assert value(scraped["web"], "preloop_notices_total", channel="console", outcome="sent") >= 1
    answered = "preloop_http_response_seconds_count"
    doors = {role: {one["door"] for one in samples(its).get(answered, [])} for role, its in scraped.items()}
    assert doors["gateway"] >= {"gateway"} and doors["mcp"] >= {"mcp", "containers"} and doors["web"] == {"people"}


async def test_the_planes_own_figures_are_shown_by_one_role(scraped: dict[str, Figures]) -> None:
    shown = {role: {name for name in figures if name in OF_PLANE} for role, figures in scraped.items()}
    assert shown == {"web": OF_PLANE, "gateway": set(), "mcp": set(), "runner": set()}
    web = scraped["web"]
    assert value(web, "preloop_executions", state="waiting_for_approval") == 1
    assert value(web, "preloop_executions", state="running") == value(web, "preloop_executions", state="pending") == 0
    assert value(web, "preloop_approvals_pending") == 1
    assert value(web, "preloop_approvals_oldest_seconds") > 0


async def test_the_docs_list_every_figure_and_no_other(scraped: dict[str, Figures]) -> None:
    listed = set(re.findall(r"^\| `(preloop_\w+)", (ROOT / "docs" / "observability.md").read_text(), re.MULTILINE))
    families = [one for figures in scraped.values() for one in figures.values() if one.name.startswith("preloop_")]
    assert listed == {one.name + ("_total" if one.type == "counter" else "") for one in families}
