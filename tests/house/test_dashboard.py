"""The dashboard and the alerts that we ship: well formed, each panel in its place, each query readable."""

import json
from itertools import pairwise, product
from typing import Any

import yaml

from tests.house.plan import ROOT
from tests.promql import Read, read

DEPLOY = ROOT / "deploy"
COLUMNS = 24


def board() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((DEPLOY / "grafana" / "preloop.json").read_text())
    return found


def queries() -> list[str]:
    return [target["expr"] for panel in board()["panels"] for target in panel.get("targets", [])]


def alerts() -> list[dict[str, Any]]:
    groups = yaml.safe_load((DEPLOY / "prometheus" / "alerts.yml").read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def test_the_names_in_a_query_are_found() -> None:
    query = 'quantile(0.9, sum by (le, door) (rate(a_bucket{b="c{d}",e=~"$f"}[$__rate_interval]))) / max(g) or i'
    selected = frozenset({("a_bucket", "b"), ("a_bucket", "e")})
    assert read(query) == Read(frozenset({"a_bucket", "g", "i"}), frozenset({"le", "door"}), selected)


def test_a_board_that_grafana_takes() -> None:
    """grafana.com/docs/grafana/latest/dashboards/build-dashboards/view-dashboard-json-model"""
    found = board()
    assert (found["uid"], found["title"]) == ("preloop", "Preloop")
    assert isinstance(found["schemaVersion"], int) and found["schemaVersion"] >= 36
    assert found["time"] == {"from": "now-6h", "to": "now"}
    assert [one["name"] for one in found["templating"]["list"]] == ["datasource", "job", "instance"]
    ids = [panel["id"] for panel in found["panels"]]
    assert len(set(ids)) == len(ids) > 30
    for panel in found["panels"]:
        assert panel["type"] in ("row", "stat", "timeseries") and panel["title"]
        if panel["type"] != "row":
            assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
            assert panel["fieldConfig"]["defaults"]["unit"]
            references = [target["refId"] for target in panel["targets"]]
            assert references and len(set(references)) == len(references)


def test_no_panel_lies_over_another_or_beside_the_board() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in board()["panels"]:
        at = panel["gridPos"]
        cells = set(product(range(at["x"], at["x"] + at["w"]), range(at["y"], at["y"] + at["h"])))
        assert cells and at["x"] >= 0 and at["x"] + at["w"] <= COLUMNS
        assert not cells & taken, panel["title"]
        taken |= cells
    rows = [panel["gridPos"]["y"] for panel in board()["panels"] if panel["type"] == "row"]
    assert all(above < below for above, below in pairwise(rows))


def test_each_alert_says_what_and_how_bad() -> None:
    names = [rule["alert"] for rule in alerts()]
    assert len(set(names)) == len(names) > 10
    for rule in alerts():
        assert rule["labels"]["severity"] in ("info", "warning", "critical")
        assert {"summary", "description"} == set(rule["annotations"])
        assert rule["expr"].count("(") == rule["expr"].count(")")


def test_what_is_true_of_the_whole_plane_is_never_summed() -> None:
    """Each replica of role web shows it."""
    whole = ("preloop_executions{", "preloop_queue_oldest", "preloop_approvals_pending", "preloop_approvals_oldest")
    for query in [*queries(), *(rule["expr"] for rule in alerts())]:
        for name in (*whole, "preloop_outbox_waiting"):
            assert query.count(name) == query.count(f"max({name}"), query
