"""The tables of docs/capacity.md, as bench/capacity.toml and the models say them.

python -m bench.capacity_page       puts them into the page, between its marks
"""

import re
import tomllib
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from bench.capacity_model import BUSY, streamed
from bench.capacity_scale import ROLES, load, scaled, wall

ROOT = Path(__file__).parents[1]
DATA, PAGE = ROOT / "bench" / "capacity.toml", ROOT / "docs" / "capacity.md"
MARKED = "<!-- {name}: by python -m bench.capacity_page -->\n\n{table}\n\n<!-- end -->"
AGENTS = (50, 500, 2_000, 10_000)
CONTAINERS, RATE, SECONDS = 50, 200, 10
"""Of the run that the model is compared with, bench/recovery_streams.py."""


def costs() -> dict[str, float]:
    return {name: float(one["value"]) for name, one in _data()["cost"].items()}


def measured() -> dict[str, float]:
    """The run of 50 containers that is on the page."""
    return {name: float(value) for name, value in _data()["streams"].items() if name != "from"}


def figures() -> str:
    rows = [
        (str(one["what"]), f"{float(one['value']):g} {one['unit']}".strip(), str(one["from"]))
        for one in _data()["cost"].values()
    ]
    return _table(("what", "", "from"), rows)


def compared() -> str:
    """The run of 50 containers: predicted, measured, error."""
    expected, seen = streamed(costs(), CONTAINERS, RATE, SECONDS), measured()
    rows = [
        (what, f"{predicted:{form}}", f"{seen[name]:{form}}", f"{(predicted / seen[name] - 1) * 100:+.0f} %")
        for what, name, predicted, form in (
            ("containers that begin, a second", "starts_per_s", expected.starts_per_s, ".2f"),
            ("lines stored, a second", "lines_per_s", expected.lines_per_s, ",.0f"),
            ("from line to row, median, s", "p50_s", expected.p50_s, ".3f"),
            ("from line to row, p99, s", "p99_s", expected.p99_s, ".3f"),
            ("CPU of the plane, s", "cpu_s", expected.cpu_s, ".1f"),
        )
    ]
    return _table(("", "predicted", "measured", "error"), rows)


def walls() -> str:
    """What one of each holds."""
    found, one = costs(), load(costs(), 1)
    rows = [
        (f"one {role}" if role != "database" else "one processor of PostgreSQL", f"{wall(found, role):,}")
        for role in ROLES
    ]
    rows.append(("one host that starts containers", f"{int(BUSY / one.hosts):,}"))
    rows.append(("1 GB of an `mcp`, agents that wait for a person", f"{int(1000 / found['waiting_call_kb'] * 1000):,}"))
    rows.append(("one host's range of networks (`agent_networks`)", f"{int(found['agent_networks']):,}"))
    return _table(("", "agents"), rows)


def grown() -> str:
    """So many agents at once."""
    rows = []
    for agents in AGENTS:
        of = scaled(costs(), agents)
        needs = " · ".join(str(of.needs[role]) for role in ROLES)
        busy = " · ".join(f"{of.busy[role]:.0%}" for role in ROLES)
        late = " · ".join(f"{value * 1000:.0f}" for value in (of.line_p99_s, of.model_p99_s, of.tool_p99_s))
        rows.append((f"{agents:,}", f"{of.load.steps:,.1f}", f"{of.load.writes:,.0f}", needs, busy, late))
    names = " · ".join(ROLES)
    head = ("agents", "steps/s", "writes/s", f"needs: {names}", "busy", "p99 ms: line to row · model call · tool call")
    return _table(head, rows)


TABLES = {"figures": figures, "compared": compared, "walls": walls, "grown": grown}


def filled(page: str) -> str:
    """The page with its tables as they would be now."""
    for name, table in TABLES.items():
        marked = re.compile(rf"<!-- {name}: .*? -->.*?<!-- end -->", re.DOTALL)
        page = marked.sub(lambda _, name=name, table=table: MARKED.format(name=name, table=table()), page)  # type: ignore[misc]
    return page


@cache
def _data() -> dict[str, Any]:
    found: dict[str, Any] = tomllib.loads(DATA.read_text())
    return found


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


if __name__ == "__main__":
    PAGE.write_text(filled(PAGE.read_text()))
